"""Adam on one flat tensor that holds every parameter."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

FUSED = getattr(torch, "_fused_adam_", None)
"""What `torch.optim.Adam` itself calls in the end; its checks before that take twice as long."""

FLAT_OPTIONS = ("betas", "eps", "weight_decay", "maximize")
"""Options of `torch.optim.Adam` that `FlatAdam` takes."""

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def fused_adam(
    values: Tensor, gradient: Any, mean: Tensor, square: Tensor, step: Tensor, **settings: Any
) -> None:
    """One step of torch's fused Adam on one tensor, in place."""
    tensors = [values], [gradient], [mean], [square], [], [step]
    if FUSED is None:
        adam(*tensors, amsgrad=False, fused=True, **settings)
        return
    step.add_(1)
    FUSED(*tensors, amsgrad=False, grad_scale=None, found_inf=None, **settings)


class FlatAdam(torch.optim.Adam):
    r"""`torch.optim.Adam`, with the parameters side by side in one tensor.

    Adam works element by element, so it gives bit for bit what it would give on the parameters one
    by one, in a single call. Each parameter becomes a view of `values`, and `gradients` has a view
    of a tensor beside it, into which a backward pass may write. Optimizer state, and
    ``param_groups``, are those of the flat tensor.

    Many models: parameters ``(n_members, ...)``, where member k moves at its own rate,

    .. math::

        \theta_k \leftarrow \theta_k
        - \eta\, r_k\, s\, \frac{\hat m_k}{\sqrt{\hat v_k} + \epsilon}.

    torch's Adam has one rate for a whole tensor: where the :math:`r_k` or the parameters' shares s
    differ, it steps from 0 at rate 1, which gives minus the fraction, and each number goes that way
    at its own rate.

    Parameters
    ----------
    params : iterable of Parameter
        Of one dtype and device.
    lr : float
        :math:`\eta`, which schedules move.
    rates : sequence of float or None
        :math:`r_k` of each member.
    shares : sequence of float or None
        s of each parameter.
    **options
        As in `torch.optim.Adam`.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        rates: Sequence[float] | None = None,
        shares: Sequence[float] | None = None,
        **options: Any,
    ):
        self.parameters = list(params)
        self.rates = None if rates is None else list(rates)
        self.shares = [1.0] * len(self.parameters) if shares is None else list(shares)
        n_numbers = sum(p.numel() for p in self.parameters)
        self.moved = nn.Parameter(self.parameters[0].detach().new_zeros(n_numbers))
        self._lay_out()
        super().__init__([self.moved], lr=lr, fused=True, **options)

    def _lay_out(self) -> None:
        """Views of the flat tensors, one for each parameter, and the parameters in these."""
        moved = self.moved.detach()
        self.one_rate = len(set(self.rates or [1.0])) == 1 and set(self.shares) <= {1.0}
        self.values = moved if self.one_rate else torch.empty_like(moved)
        self.moved.grad = torch.zeros_like(moved)
        self._views = _split(self.values, self.parameters)
        self._starts = [view.data_ptr() for view in self._views]
        self.gradients = dict(
            zip(self.parameters, _split(self.moved.grad, self.parameters), strict=True)
        )
        if not self.one_rate:
            self._own_rates = torch.empty_like(self.values)
            for view, share in zip(
                _split(self._own_rates, self.parameters), self.shares, strict=True
            ):
                view.fill_(share)
                if self.rates is not None:
                    rates = torch.tensor(self.rates, dtype=view.dtype, device=view.device)
                    view.mul_(rates.view(-1, *[1] * (view.ndim - 1)))
        self.adopt()

    @torch.no_grad()
    def adopt(self) -> None:
        """Take in parameters whose memory is their own, as they are: at first all of them."""
        for parameter, view, start in zip(self.parameters, self._views, self._starts, strict=True):
            if parameter.data_ptr() != start:
                view.copy_(parameter)
                parameter.data = view

    def release(self) -> None:
        """Give each parameter memory of its own; a later step takes them in again.

        A pickle of a view holds everything that it is a view of.
        """
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.data.clone(), None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: a backward pass then writes them instead of adding to them."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the parameters by their gradients; one without a gradient has a gradient of 0."""
        if self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks:
            return self.profile_hook_step(FlatAdam._step)(self, closure)
        return self._step(closure)

    # torch would wrap it in a record for its profiler, at the cost of the step itself.
    step.hooked = True  # type: ignore[attr-defined]

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        self._advance()
        return result

    @torch.no_grad()
    def _advance(self) -> None:
        self.adopt()
        self._gather()
        rate, decay = (self.param_groups[0][name] for name in ("lr", "weight_decay"))
        if self.one_rate:
            self._adam(rate * (self.rates or [1.0])[0], decay)
            return
        if decay:  # of the values, which are not what is moved
            gradient: Any = self.moved.grad
            gradient.add_(self.values, alpha=-decay if self.param_groups[0]["maximize"] else decay)
        self.moved.zero_()
        self._adam(1.0, 0.0)
        self.values.addcmul_(self.moved, self._own_rates, value=rate)

    def _gather(self) -> None:
        """Copy the gradients that aren't in their places yet."""
        strays = [
            (place, parameter.grad)
            for parameter, place in self.gradients.items()
            if parameter.grad is not place
        ]
        found = [(place, grad) for place, grad in strays if grad is not None]
        if found:
            places, grads = zip(*found, strict=True)
            torch._foreach_copy_(places, grads)  # type: ignore[attr-defined]
        for place, grad in strays:
            if grad is None:
                place.zero_()

    def _begin(self) -> None:
        """Moments of 0."""
        state = self.state[self.moved]
        state["step"] = self.moved.new_zeros((), dtype=torch.float32)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros(2, *self.moved.shape).to(self.moved)

    def _adam(self, rate: float, decay: float) -> None:
        """One step of torch's Adam at this rate, with this weight decay."""
        group, state = self.param_groups[0], self.state[self.moved]
        if not state:
            self._begin()
        settings = {"weight_decay": decay, **{name: group[name] for name in ("eps", "maximize")}}
        fused_adam(
            *(self.moved.detach(), self.moved.grad, *(state[name] for name in MOMENTS)),
            **{"lr": rate, "beta1": group["betas"][0], "beta2": group["betas"][1], **settings},
        )

    def moments(self) -> dict[int, dict[str, Tensor]]:
        """The optimizer's state by number of the parameter, as torch's Adam has it."""
        state = self.state.get(self.moved)
        if not state:
            return {}
        parts = {n: _split(state[n], self.parameters) for n in MOMENTS if state[n].ndim}
        steps = {n: state[n] for n in MOMENTS if not state[n].ndim}
        return {
            number: {**steps, **{n: part[number] for n, part in parts.items()}}
            for number in range(len(self.parameters))
        }

    @torch.no_grad()
    def load_moments(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Take over what `moments` gave of some parameters; the others begin anew."""
        self._begin()
        for number, own in self.moments().items():
            for name, value in moments.get(number, {}).items():
                own[name].copy_(value)

    @torch.no_grad()
    def keep(self, chosen: Sequence[int]) -> None:
        """Go on with some of the members only, which bring their moments along."""
        index, state = list(chosen), self.state.pop(self.moved, None)
        if state is not None:
            state = {
                name: v if v.ndim == 0 else _rows(v, self.parameters, index)
                for name, v in state.items()
            }
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.data[index], None
        self.rates = None if self.rates is None else [self.rates[k] for k in index]
        n_numbers = sum(p.numel() for p in self.parameters)
        self.moved = nn.Parameter(self.moved.detach().new_zeros(n_numbers))
        self.param_groups[0]["params"] = [self.moved]
        self._lay_out()
        if state is not None:
            self.state[self.moved] = state

    def __getstate__(self) -> dict[str, Any]:
        """torch's own, and what it doesn't know of; a copy takes its parameters in anew."""
        own = ("parameters", "rates", "shares", "moved")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Lay the copy out."""
        super().__setstate__(state)
        if "parameters" in state:  # torch's load_state_dict comes here too
            self._lay_out()


def thin_out(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], chosen: list[int]
) -> None:
    """Leave some models of a stack: their parameters, and what the optimizer knows of these."""
    flat = isinstance(optimizer, FlatAdam)
    if flat:
        optimizer.keep(chosen)
    done = set(map(id, optimizer.parameters)) if flat else set()
    for parameter in parameters:
        if id(parameter) not in done:
            parameter.data, parameter.grad = parameter.data[chosen].clone(), None
    for state in [] if flat else optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.ndim:
                state[name] = value[chosen].clone()


def _split(flat: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Views of a flat tensor with the parameters' shapes."""
    parts = flat.split([p.numel() for p in parameters])
    return [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]


def _rows(flat: Tensor, parameters: Sequence[Tensor], chosen: list[int]) -> Tensor:
    """Some members of a flat tensor of parameters ``(n_members, ...)``."""
    return torch.cat([part[chosen].flatten() for part in _split(flat, parameters)])
