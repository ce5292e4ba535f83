r"""One batch over several processes: each has all weights, and its share of the rows.

Every process is given the whole batch and the same noise. It encodes and decodes its own rows; the
codes, which D and the neighbour term compare, are then gathered. So each process knows the loss of
the whole batch, L, and the part of its gradient that passes through its own rows r:

.. math::

    \frac{dL}{d\theta} = \sum_r \frac{\partial L}{\partial z_r} \frac{dz_r}{d\theta},

which is why a gathered code hands each process the gradient of its own rows as it is, and why the
gradients of the weights are summed over the processes at last.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from sk_infovae._base.posterior import Posterior

ROUNDING = 1e-6
"""Sums that processes on other machines make of the same numbers may differ by so much."""


class ProcessesDifferError(ValueError):
    """Processes that should train one model were given different things."""


class Shares(NamedTuple):
    """How many processes train together, and which one this is.

    Parameters
    ----------
    rank, size : int
    group : ProcessGroup or None
        Of torch; None is the default one.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    def rows(self, n: int) -> slice:
        """The own ones of n rows."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def mean(self, own: Tensor, n: int) -> Tensor:
        """Mean over the last axis, of all n values, of which these are the own ones."""
        return own.mean(-1) if self.size == 1 else Total.apply(own.sum(-1), self) / n

    def gather(self, own: Tensor, n: int) -> Tensor:
        """All n rows ``(..., n, d)``."""
        return own if self.size == 1 else Gathered.apply(own, n, self)

    def gather_codes(self, posterior: Posterior, z: Tensor, n: int) -> tuple[Posterior, Tensor]:
        """q(z|x) and z of all rows."""
        if self.size == 1:
            return posterior, z
        mean, log_variance, z = self.gather(torch.cat([*posterior, z], -1), n).chunk(3, -1)
        return Posterior(mean, log_variance), z

    def sum_gradients(self, own: Iterable[Tensor], whole: Iterable[Tensor]) -> None:
        """Gradients of the whole batch, the same in every process.

        Parameters
        ----------
        own : iterable of Parameter
            Whose gradients pass through the own rows: they are summed.
        whole : iterable of Parameter
            Whose gradients each process has as a whole: their mean keeps the last digit equal.
        """
        if self.size == 1:
            return
        for parameters, share in ((own, 1.0), (whole, 1 / self.size)):
            found = [p.grad for p in parameters if p.grad is not None]
            if found:
                joined = share * torch.cat([gradient.flatten() for gradient in found])
                dist.all_reduce(joined, group=self.group)
                sizes = [gradient.numel() for gradient in found]
                for gradient, part in zip(found, joined.split(sizes), strict=True):
                    gradient.copy_(part.view_as(gradient))

    def first_of(self, values: Tensor) -> Tensor:
        """What the first process has."""
        if self.size == 1:
            return values
        found = values.clone() if self.rank == 0 else torch.zeros_like(values)
        dist.all_reduce(found, group=self.group)
        return found

    def check_agreement(self, numbers: dict[str, float], device: Any) -> None:
        """Refuse processes that are about to train different things.

        Raises
        ------
        ProcessesDifferError
            In all of them.
        """
        own = torch.tensor(list(numbers.values()), dtype=torch.float64, device=device)
        every = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(every, own, group=self.group)
        differ = [
            f"{name} {[one[k].item() for one in every]}"
            for k, name in enumerate(numbers)
            if any(not torch.isclose(one[k], own[k], rtol=ROUNDING, atol=0) for one in every)
        ]
        if differ:
            raise ProcessesDifferError(
                "Processes that train one model must be given the same table, parameters and "
                f"integer random_state; by process they differ in {', '.join(differ)}."
            )


class Gathered(torch.autograd.Function):
    """The rows of all processes; backwards, the own ones."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, n: int, shares: Shares) -> Tensor:
        """Every process adds its rows to zeros."""
        ctx.rows = shares.rows(n)
        whole = own.new_zeros(*own.shape[:-2], n, own.shape[-1])
        whole[..., ctx.rows, :] = own
        dist.all_reduce(whole, group=shares.group)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """See the top of this file."""
        return gradients[0][..., ctx.rows, :], None, None


class Total(torch.autograd.Function):
    """Sum over the processes; backwards, each own part's gradient is that of the sum."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, shares: Shares) -> Tensor:
        """Add up."""
        total = own.clone()
        dist.all_reduce(total, group=shares.group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """See the top of this file."""
        return gradients[0], None


ALONE = Shares()

CURRENT: ContextVar[Shares] = ContextVar("CURRENT", default=ALONE)
"""Set by `sk_infovae.parallel.data_parallel`."""


def refuse_memory() -> None:
    """Refuse a folder of earlier work, which processes might take up at different places.

    Raises
    ------
    ValueError
        Where several train together.
    """
    if CURRENT.get().size > 1:
        raise ValueError(
            "memory and data_parallel don't go together: the processes would go on from different "
            "epochs. Set memory=None."
        )
