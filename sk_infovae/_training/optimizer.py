"""Adam for many models at once, each at a learning rate of its own."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class RatedAdam(torch.optim.Adam):
    r"""`torch.optim.Adam` on tensors ``(K, ...)``, with a learning rate for each model.

    Model k follows its own moments at its own rate,

    .. math::

        \theta_k \leftarrow \theta_k
        - \eta_k\, \frac{\hat m_k}{\sqrt{\hat v_k} + \epsilon}.

    Adam works element by element, so on the stack it does what it would do for each alone. torch's
    own has one rate for a whole tensor: it steps from 0 at rate 1, which gives minus the fraction,
    and each model goes that way at its own rate. A schedule moves the rate 1, and so all of them.

    Parameters
    ----------
    parameters : iterable of Tensor, each of shape (K, ...)
    rates : sequence of float
        :math:`\eta_k`.
    """

    def __init__(self, parameters: Iterable[Tensor], rates: Sequence[float]):
        self.moved = list(parameters)
        self.rates = torch.tensor(rates, device=self.moved[0].device)
        super().__init__([torch.zeros_like(p) for p in self.moved], lr=1.0, fused=True)

    @property
    def directions(self) -> list[Tensor]:
        """What Adam itself steps, a tensor for each parameter."""
        return self.param_groups[0]["params"]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.moved:
            parameter.grad = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move the parameters by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for direction, parameter in zip(self.directions, self.moved, strict=True):
            direction.zero_().grad = parameter.grad
        super().step()
        for direction, parameter in zip(self.directions, self.moved, strict=True):
            parameter.addcmul_(direction, self.rates.view(-1, *[1] * (parameter.ndim - 1)))
        return loss


def thin_out(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], chosen: list[int]
) -> None:
    """Leave some models of a stack: their parameters, and what the optimizer knows of these."""
    for parameter in parameters:
        _keep_rows(parameter, chosen)
    if isinstance(optimizer, RatedAdam):
        optimizer.rates = optimizer.rates[chosen]
        for direction in optimizer.directions:
            _keep_rows(direction, chosen)
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.ndim:
                state[name] = value[chosen].clone()


def _keep_rows(tensor: Tensor, chosen: list[int]) -> None:
    tensor.data, tensor.grad = tensor.data[chosen].clone(), None
