"""Adam for many models at once, each at a learning rate of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor


class StackedAdam:
    r"""`torch.optim.Adam` on tensors ``(n_members, ...)``, with a learning rate for each member.

    Member k follows its own moments at its own rate,

    .. math::

        \theta_k \leftarrow \theta_k
        - \eta_k\, \frac{\hat m_k}{\sqrt{\hat v_k} + \epsilon}.

    Adam works element by element, so on the stack it does what it would do for each alone. torch's
    own has one rate for a whole tensor: where the members' differ, it steps from 0 at rate 1, which
    gives minus the fraction, and each member goes that way at its own rate.

    Parameters
    ----------
    parameters : sequence of Tensor, each of shape (n_members, ...)
    rates : sequence of float
        :math:`\eta_k` before any schedule.
    """

    def __init__(self, parameters: Sequence[Tensor], rates: Sequence[float]):
        self.parameters, self.rates = list(parameters), list(rates)
        self.one_rate = len(set(self.rates)) == 1
        self.moved = self.parameters if self.one_rate else list(map(torch.zeros_like, parameters))
        self.adam = torch.optim.Adam(self.moved, fused=True)
        self.follow(1.0)

    def follow(self, part: float) -> None:
        """Go on at this part of the rates."""
        rates = [part * rate for rate in self.rates]
        self.adam.param_groups[0]["lr"] = rates[0] if self.one_rate else 1.0
        self.member_rates = [
            torch.tensor(rates, dtype=p.dtype, device=p.device).view(-1, *[1] * (p.ndim - 1))
            for p in self.parameters
        ]

    def zero_grad(self) -> None:
        """Forget the gradients: right before a backward pass, which then finds their memory."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters by their gradients."""
        if not self.one_rate:
            for direction, parameter in zip(self.moved, self.parameters, strict=True):
                direction.zero_().grad = parameter.grad
        self.adam.step()
        if not self.one_rate:
            moves = zip(self.parameters, self.moved, self.member_rates, strict=True)
            for parameter, direction, rate in moves:
                parameter.addcmul_(direction, rate)

    def keep(self, parameters: Sequence[Tensor], chosen: list[int]) -> "StackedAdam":
        """One for some of the members only, which brings their moments along."""
        kept = StackedAdam(parameters, [self.rates[k] for k in chosen])
        moments = {
            number: {name: v if v.ndim == 0 else v[chosen].clone() for name, v in one.items()}
            for number, one in self.adam.state_dict()["state"].items()
        }
        kept.adam.load_state_dict({**kept.adam.state_dict(), "state": moments})
        return kept
