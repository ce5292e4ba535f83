"""One of several levels with an order."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from sk_infovae.likelihoods.base import ConstantModel
from sk_infovae.likelihoods.levels import Levels
from sk_infovae.likelihoods.numerics import look_up, observed_sum

BEYOND = 1e30
"""Stands for an infinite cut, whose sigmoid is exactly 0 or 1 and has no gradient."""


class Ordinal(Levels):
    r"""P(x_j <= k) = sigmoid(c_jk - output_j): proportional odds (McCullagh 1980).

    A logistic variable around the output is cut at learned points, which are in order by
    :math:`c_{j,k} = c_{j,k-1} + \log(1 + e^{\rho_{j,k}})`. A difference of sigmoids is a product,

    .. math::

        P(x_j = k) = \sigma(c_{j,k} - o_j) \, \sigma(o_j - c_{j,k-1}) \, \sigma(\rho_{j,k}),

    without the first factor for the last level, and without the others for the first one; the
    third is there for the levels between. So its logarithm is exact however far out.

    Training starts at output 0 with cuts at the frequencies of the levels, half an observation
    added to each.

    Parameters
    ----------
    n_levels : int or None, default=None
        How many levels the columns have; None leaves it to the table seen in fit.

    References
    ----------
    McCullagh, P. (1980). Regression models for ordinal data. Journal of the Royal Statistical
    Society B 42, 109-142.
    """

    is_ordered: ClassVar[bool] = True

    def __init__(self, n_levels: int | None = None):
        self.n_levels = n_levels

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: its place on the scale of the cuts."""
        return n_columns

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Cuts that make the levels equally probable at output 0."""
        equal = torch.ones(n_columns, self.bound_levels, dtype=torch.float64)
        return {"cuts": self._cuts_at(equal).float()}

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> ConstantModel:
        """Output 0, and cuts at the frequencies."""
        cuts = self._cuts_at(self.counts(x, mask) + 0.5)
        return ConstantModel(x.new_zeros(x.shape[1]), {"cuts": cuts.to(x.dtype)})

    def _cuts_at(self, counts: Tensor) -> Tensor:
        """First cut and every rho that give the levels these frequencies at output 0."""
        below, above = counts.cumsum(-1)[:, :-1], counts.flip(-1).cumsum(-1).flip(-1)[:, 1:]
        cuts = below.log() - above.log()
        steps = cuts.diff(dim=-1)
        return torch.cat([cuts[:, :1], steps + torch.log(-torch.expm1(-steps))], -1)

    def _bounds(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Cut below, cut above and rho of every level, each ``(..., n_columns, n_levels)``."""
        cuts = parameters["cuts"]
        first, rho = cuts[..., :1], cuts[..., 1:]
        inner = torch.cat([first, softplus(rho)], -1).cumsum(-1)
        end = inner.new_full((*inner.shape[:-1], 1), BEYOND)
        between = torch.cat([end, rho, end], -1)[..., : self.bound_levels]
        return torch.cat([-end, inner], -1), torch.cat([inner, end], -1), between

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log probability, see `Likelihood.log_prob`."""
        lower, upper, rho = look_up(self.codes(x), *self._bounds(parameters))
        log_p = logsigmoid(upper - outputs) + logsigmoid(outputs - lower) + logsigmoid(rho)
        return observed_sum(log_p, mask)

    def _probabilities(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        lower, upper, rho = self._bounds(parameters)
        o = outputs[..., None]
        return (upper - o).sigmoid() * (o - lower).sigmoid() * rho.sigmoid()

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Probability of every level."""
        return self._probabilities(outputs, parameters).flatten(-2)

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """How many cuts lie below the logistic variable."""
        lower, _, _ = self._bounds(parameters)
        variable = outputs + torch.logit(uniform)
        return (lower[..., 1:] < variable[..., None]).sum(-1).to(outputs.dtype)

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Mean square of the score: ``sum_k p_k (P(x < k) - P(x > k))^2``."""
        lower, upper, _ = self._bounds(parameters)
        o = outputs[..., None]
        score = (lower - o).sigmoid() - (o - upper).sigmoid()
        return (self._probabilities(outputs, parameters) * score.square()).sum(-1)
