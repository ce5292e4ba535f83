"""Noise with heavy tails."""

import math
from collections.abc import Mapping

import torch
from scipy.special import stdtrit
from torch import Tensor

from sk_infovae._base.posterior import LOG_2PI
from sk_infovae.likelihoods.base import Likelihood
from sk_infovae.likelihoods.numerics import (
    SHAPE_LIMIT,
    bounded_exp,
    by_scipy,
    check_floor,
    floored_log,
    log_gamma_ratio,
    observed_sum,
)

START_DEGREES = 5.0


class StudentT(Likelihood):
    r"""x_j = output_j + sqrt(v_j) t, with Student's t of nu_j degrees of freedom.

    .. math::

        \log p(x | z) = \sum_j \left[ \log \frac{\Gamma((\nu_j + 1) / 2)}
        {\Gamma(\nu_j / 2) \sqrt{\pi \nu_j v_j}} - \frac{\nu_j + 1}{2}
        \log\left(1 + \frac{(x_j - o_j)^2}{\nu_j v_j}\right) \right]

    Squared scale :math:`v_j = \text{floor} + e^{\rho_j}` and degrees of freedom
    :math:`\nu_j = 1 + e^{\eta_j}` are learned for each column. So a few values far out pull the
    output less than under Gaussian noise, to which this one tends as nu grows. More than one
    degree of freedom is kept, so that the noise has a mean; its variance is infinite up to two.

    Parameters
    ----------
    floor : float, default=1e-4
        Smallest squared scale, in units of the column's own variance. It keeps a constant column
        finite.
    """

    standardised = True

    def __init__(self, *, floor: float = 1e-4):
        self.floor = floor

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: its location."""
        return n_columns

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Scale 1 and five degrees of freedom."""
        check_floor(self, self.floor)
        return {
            "log_square_scale": torch.zeros(n_columns),
            "log_degrees": torch.full((n_columns,), math.log(START_DEGREES - 1)),
        }

    def log_square_scale(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """``log v = log(floor + exp(rho))``."""
        return floored_log(parameters["log_square_scale"], self.floor)

    def degrees(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """``nu = 1 + exp(eta)``, with eta between -20 and 20."""
        return 1 + bounded_exp(parameters["log_degrees"], SHAPE_LIMIT)

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log density, see `Likelihood.log_prob`; its constant is Gaussian plus a correction."""
        log_v, nu = self.log_square_scale(parameters), self.degrees(parameters)
        correction = log_gamma_ratio(torch.full_like(nu, 0.5), nu / 2)
        constant = correction - 0.5 * (log_v + LOG_2PI)
        squares = (x - outputs).square() * torch.exp(-log_v)
        return observed_sum(constant - (nu + 1) / 2 * torch.log1p(squares / nu), mask)

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The outputs themselves."""
        return outputs

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """``output + sqrt(v) * quantile(uniform)``."""
        t = by_scipy(stdtrit, outputs, self.degrees(parameters), uniform)
        return outputs + torch.exp(0.5 * self.log_square_scale(parameters)) * t

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``(nu + 1) / ((nu + 3) v)``, the same for every row."""
        log_v, nu = self.log_square_scale(parameters), self.degrees(parameters)
        return ((nu + 1) / (nu + 3) * torch.exp(-log_v)).expand_as(outputs)

    def noise_variance(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """``v nu / (nu - 2)``, infinite for up to two degrees of freedom."""
        v, nu = self.log_square_scale(parameters).exp(), self.degrees(parameters)
        return v * nu / (nu - 2).clamp(min=0)
