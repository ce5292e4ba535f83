"""What families of levels share."""

import copy
import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_infovae.likelihoods.base import Likelihood


class Levels(Likelihood):
    """p(x | outputs) on the levels 0, 1, ..., n_levels - 1 of a column."""

    standardised = False
    has_levels: ClassVar[bool] = True
    fit_rule = score_rule = "be codes of levels: 0, 1, ... and less than n_levels"
    n_levels: int | None

    def bind(self, n_levels: int) -> Self:
        """A copy for columns that had this many levels in fit."""
        return copy.copy(self).set_params(n_levels=n_levels)

    @property
    def bound_levels(self) -> int:
        """``n_levels``, where it is known."""
        if self.n_levels is None or self.n_levels < 1:
            raise ValueError(
                f"{self!r} does not know how many levels its columns have: n_levels must be 1 or "
                "more. Take likelihood.bind(n_levels)."
            )
        return self.n_levels

    def in_fit_domain(self, x: Tensor) -> Tensor:
        """0, 1, ... up to the last level."""
        n_levels = math.inf if self.n_levels is None else self.n_levels
        return (x >= 0) & (x < n_levels) & (x == x.floor())

    def in_support(self, x: Tensor) -> Tensor:
        """0, 1, ... up to the last level."""
        return self.in_fit_domain(x)

    def mode(self, mean: Tensor) -> Tensor:
        """The most probable level; of equal ones the first."""
        return mean.unflatten(-1, (-1, self.bound_levels)).argmax(-1).to(mean.dtype)

    def codes(self, x: Tensor) -> Tensor:
        """x as integers; whatever fills a missing cell becomes one of the levels."""
        return x.clamp(0, self.bound_levels - 1).long()

    def counts(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """How often each level was observed in rows x, ``(n_columns, n_levels)`` float64."""
        seen = torch.ones_like(x) if mask is None else mask
        zeros = torch.zeros(x.shape[1], self.bound_levels, dtype=torch.float64, device=x.device)
        return zeros.scatter_add_(1, self.codes(x).mT, seen.mT.double())
