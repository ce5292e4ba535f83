"""Positive numbers whose logarithm is normal."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sk_infovae._base.posterior import LOG_2PI
from sk_infovae.likelihoods.base import ConstantModel, Likelihood
from sk_infovae.likelihoods.numerics import (
    VALUE_LIMIT,
    bounded_exp,
    check_floor,
    column_moments,
    floored_log,
    observed_sum,
)


class LogNormal(Likelihood):
    r"""log x_j = N(output_j, v_j) for positive x, with a variance that does not depend on z.

    .. math::

        \log p(x | z) = -\sum_j \left[ \tfrac12 (\log x_j - o_j)^2 / v_j
        + \tfrac12 \log (2 \pi v_j) + \log x_j \right], \qquad v_j = \text{floor} + e^{\rho_j}

    The noise is a share of x, about sqrt(v), whatever the unit of x. Training starts at mean and
    variance of log x. Expected values and draws lie between e^-80 and e^80, so that float32 holds
    them.

    Parameters
    ----------
    floor : float, default=1e-4
        Smallest variance of log x: x is known to about 1 % at best. It keeps a constant column
        finite.
    """

    standardised = False
    scales_features: ClassVar[bool] = True
    fit_rule = score_rule = "be positive"

    def __init__(self, *, floor: float = 1e-4):
        self.floor = floor

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: the mean of log x."""
        return n_columns

    def features(self, x: Tensor) -> Tensor:
        """``log x``; of the least positive number where x is less."""
        return x.clamp(min=torch.finfo(x.dtype).tiny).log()

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Log-variance 0: noise by a factor of e."""
        check_floor(self, self.floor)
        return {"log_variance": torch.zeros(n_columns)}

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> ConstantModel:
        """Mean and variance of log x, the variance a little above the floor at least."""
        _, mean, variance = column_moments(self.features(x), mask)
        above_floor = (variance - self.floor).clamp(min=1e-3 * self.floor)
        return ConstantModel(mean, {"log_variance": above_floor.log()})

    def log_variance(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """``log v = log(floor + exp(rho))``."""
        return floored_log(parameters["log_variance"], self.floor)

    def in_fit_domain(self, x: Tensor) -> Tensor:
        """Positive numbers."""
        return x > 0

    def in_support(self, x: Tensor) -> Tensor:
        """Positive numbers."""
        return x > 0

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log density, see `Likelihood.log_prob`."""
        log_v, log_x = self.log_variance(parameters), self.features(x)
        squares = (log_x - outputs).square() * torch.exp(-log_v)
        return observed_sum(-0.5 * (squares + log_v + LOG_2PI) - log_x, mask)

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``exp(output + v / 2)``."""
        return bounded_exp(outputs + 0.5 * self.log_variance(parameters).exp(), VALUE_LIMIT)

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """``exp(output + sqrt(v) * quantile(uniform))``, with the normal quantile."""
        scale = torch.exp(0.5 * self.log_variance(parameters))
        return bounded_exp(outputs + scale * torch.special.ndtri(uniform), VALUE_LIMIT)

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``1 / v``, the same for every row."""
        return torch.exp(-self.log_variance(parameters)).expand_as(outputs)
