"""Counts that vary more than their mean."""

from collections.abc import Mapping

import torch
from scipy.special import betainc
from torch import Tensor
from torch.nn.functional import softplus

from sk_infovae.likelihoods.base import ConstantModel
from sk_infovae.likelihoods.numerics import (
    SHAPE_LIMIT,
    by_scipy,
    column_moments,
    count_quantile,
    fill_missing,
    log_gamma_ratio,
    observed_sum,
    where_positive,
)
from sk_infovae.likelihoods.poisson import Counts

START_LIMIT = 5.0


class NegativeBinomial(Counts):
    r"""Counts with log-mean output_j and variance mu_j + mu_j^2 / r_j.

    .. math::

        \log p(x | z) = \sum_j \left[ x_j o_j - (x_j + r_j) \log\left(1 + \frac{\mu_j}{r_j}\right)
        + \log \frac{\Gamma(r_j + x_j)}{\Gamma(r_j) r_j^{x_j}} - \log x_j! \right],
        \qquad \mu_j = e^{o_j}, \quad r_j = e^{\rho_j}

    The dispersion r is learned for each column, with rho between -20 and 20. As it grows the
    second term tends to mu and the third to 0, which is Poisson. Training starts at the mean, and
    at the r that gives the variance; r starts between e^-5 and e^5. Expected counts are at most
    e^80 and draws 2^53 - 1.

    Parameters
    ----------
    offset : {None, "total"}, default=None
        "total" counts relative to a row's total, see `Poisson`.
    """

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Log-dispersion 0, and what the offset needs."""
        return {"log_dispersion": torch.zeros(n_columns), **super().init_parameters(n_columns)}

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> ConstantModel:
        """By moments: 1 / r = sum_i [(x_i - mu_i)^2 - mu_i] / sum_i mu_i^2.

        All mu_i are the mean, but for what an offset adds to its logarithm.
        """
        outputs, own = super().init_from_data(x, mask)
        offset = self.row_offset(x, own, mask)
        _, mean, variance = column_moments(x, mask)
        excess, squares = variance - mean, 2 * outputs
        if offset is not None:
            mu, seen = (outputs + offset).exp(), torch.ones_like(x) if mask is None else mask
            excess = (((x - mu).square() - mu) * seen).sum(0)
            squares = (mu.square() * seen).sum(0).log()
        log_r = squares - excess.clamp(min=torch.finfo(x.dtype).tiny).log()
        own["log_dispersion"] = log_r.clamp(-START_LIMIT, START_LIMIT).nan_to_num()
        return ConstantModel(outputs, own)

    def log_dispersion(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """``log r``, between -20 and 20."""
        return parameters["log_dispersion"].clamp(-SHAPE_LIMIT, SHAPE_LIMIT)

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log probability, see `Likelihood.log_prob`."""
        log_r = self.log_dispersion(parameters)
        x, r = fill_missing(x, mask, 0.0), log_r.exp()
        of_x = where_positive(lambda x, r: log_gamma_ratio(x, r) - torch.lgamma(x + 1), x, r)
        return observed_sum(x * outputs - (x + r) * softplus(outputs - log_r) + of_x, mask)

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """The least count whose distribution function reaches ``uniform``."""
        log_r = self.log_dispersion(parameters)
        return by_scipy(
            lambda r, p, u: count_quantile(lambda k: betainc(r, k + 1, p), u),
            outputs,
            log_r.exp(),
            (log_r - outputs).sigmoid(),
            uniform,
        )

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``mu r / (mu + r)``."""
        log_r = self.log_dispersion(parameters)
        return log_r.exp() * (outputs - log_r).sigmoid()
