"""Counts whose variance is their mean."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from scipy.special import pdtr
from torch import Tensor, nn

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
    """What families of counts share: values, what the encoder sees, the mean's start, offsets."""

    standardised = False
    scales_features: ClassVar[bool] = True
    fit_rule = score_rule = "be whole numbers of at least 0"

    offset: str | None = None  # also of what was pickled before there was one

    def __init__(self, offset: str | None = None):
        self.offset = offset

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Log of the mean counts, which nothing is learned of."""
        if self.offset not in (None, "total"):
            raise ValueError(
                f"{type(self).__name__} needs offset=None or 'total' (a row's outputs are "
                f"relative to its total count), got offset={self.offset!r}."
            )
        if self.offset is None:
            return {}
        return {"log_mean": nn.Parameter(torch.zeros(n_columns), requires_grad=False)}

    def row_offset(
        self, x: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor | None:
        """``log sum_j x_j - log sum_j m_j`` over the observed cells, with the columns' means m.

        Where all counts are 0, as if half a count had been seen; 0 where none was observed.
        """
        if self.offset is None:
            return None
        means = parameters["log_mean"].exp()
        if mask is None:
            total, expected = x.sum(-1, keepdim=True), means.sum(-1, keepdim=True)
            return total.clamp(min=0.5).log() - expected.log()
        total = (x * mask).sum(-1, keepdim=True).clamp(min=0.5)
        expected = (means * mask).sum(-1, keepdim=True)
        return torch.where(expected > 0, total.log() - expected.log(), 0.0)

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: the logarithm of its mean."""
        return n_columns

    def features(self, x: Tensor) -> Tensor:
        """``log(1 + x)``; of 0 where x is less."""
        return x.clamp(min=0).log1p()

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> ConstantModel:
        """Log of the mean count; where all counts are 0, as if half a count had been seen."""
        n, mean, _ = column_moments(x, mask)
        outputs = mean.maximum(0.5 / n.clamp(min=1)).log()
        return ConstantModel(outputs, {} if self.offset is None else {"log_mean": outputs.clone()})

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

    Parameters
    ----------
    offset : {None, "total"}, default=None
        "total" adds to each output of a row the log of its total observed count, over the columns
        that have this likelihood (two at least) and relative to what they count on average: the
        code then speaks of shares, not of how much was counted (the offset of a log-linear model;
        the library size of a cell). Scores take the total for given, as an exposure, and are no
        match for scores without an offset. Rows that come from codes alone have the average total.
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
