"""Counts whose variance is their mean."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from scipy.special import pdtr
from torch import Tensor

from sk_infovae.likelihoods.base import ConstantModel, Likelihood
from sk_infovae.likelihoods.numerics import (
    VALUE_LIMIT,
    by_scipy,
    column_moments,
    count_quantile,
    fill_missing,
    observed_sum,
)


class Counts(Likelihood):
    """What families of counts share: their values, what the encoder sees, and the mean's start."""

    standardised = False
    scales_features: ClassVar[bool] = True
    fit_rule = score_rule = "be whole numbers of at least 0"

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: the logarithm of its mean."""
        return n_columns

    def features(self, x: Tensor) -> Tensor:
        """``log(1 + x)``; of 0 where x is less."""
        return x.clamp(min=0).log1p()

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> ConstantModel:
        """Log of the mean count; where all counts are 0, as if half a count had been seen."""
        n, mean, _ = column_moments(x, mask)
        return ConstantModel(mean.maximum(0.5 / n.clamp(min=1)).log(), {})

    def in_fit_domain(self, x: Tensor) -> Tensor:
        """0, 1, 2, ..."""
        return (x >= 0) & (x == x.floor())

    def in_support(self, x: Tensor) -> Tensor:
        """0, 1, 2, ..."""
        return self.in_fit_domain(x)

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``exp(output)``, at most e^80."""
        return outputs.clamp(max=VALUE_LIMIT).exp()


class Poisson(Counts):
    r"""Counts with log-rate output_j: log p(x|z) = sum_j [ x_j o_j - exp(o_j) - log x_j! ].

    Outputs above 80 count as 80, so that float32 holds the rate; they have no gradient. Training
    starts at the log of the mean count. Draws are at most 2^53 - 1.
    """

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log probability, see `Likelihood.log_prob`."""
        x, log_rate = fill_missing(x, mask, 0.0), outputs.clamp(max=VALUE_LIMIT)
        return observed_sum(x * log_rate - log_rate.exp() - torch.lgamma(x + 1), mask)

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """The least count whose distribution function reaches ``uniform``."""
        return by_scipy(
            lambda rate, u: count_quantile(lambda k: pdtr(k, rate), u),
            outputs,
            self.mean(outputs, parameters),
            uniform,
        )

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The rate."""
        return self.mean(outputs, parameters)
