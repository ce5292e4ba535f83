"""Normal noise, its scale calibrated, learned, optimal or fixed."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from sk_infovae._base.posterior import LOG_2PI
from sk_infovae.likelihoods.base import Likelihood
from sk_infovae.likelihoods.numerics import weighted_sum

MIN_ROWS = 32
"""Rows that an optimal noise is measured on at least; fewer would say far too little."""


class Gaussian(Likelihood):
    r"""x_j = N(output_j, v_j), with a noise variance that does not depend on z.

    .. math::

        \log p(x | z) = -\tfrac12 \sum_j \left[ (x_j - o_j)^2 / v_j + \log v_j + \log 2 \pi
        \right], \qquad v_j = \text{floor} + e^{\rho_j} \text{ or fixed}

    A learned scale balances the reconstruction against the other terms by itself (sigma-VAE,
    Rybkin et al., arXiv 2006.13202). It starts at the column's own spread and falls slowly, which
    keeps codes smooth; a density needs it where the errors are. And a noise of each column's own
    lets a few columns that are known almost exactly weigh more than all others. So the default
    parts the two: one noise for all columns while the networks train, and what is measured of each
    when they are done. The floor keeps a constant column finite.

    Parameters
    ----------
    scale : {"calibrated", "learned", "optimal"} or float, default="calibrated"
        Standard deviation of the noise. "learned" follows the gradient with the networks.
        "calibrated" does too, one for all columns; when they are trained, each column's is set in
        closed form, to its mean squared error under p(z|x), held-out rows included.
        "optimal" is the one that suits each training batch best, in closed form: the variance
        :math:`v_j` is the batch's mean squared error; after each epoch that of (up to 4096)
        training rows is kept for everything else, and for batches of fewer than 32 rows. A number
        fixes it for all columns, in units of the column's own standard deviation.
    shared : bool, default=False
        Whether one noise serves all columns that have this likelihood, in the end too.
    standardised : bool, default=True
        Whether columns are brought to mean 0 and variance 1 first. False keeps their own units and
        origin, for scale and floor too: together with shared, for pictures with values between 0
        and 1, where a pixel counts by how much it varies.
    floor : float, default=1e-4
        Smallest noise variance, in units of the column's own variance.
    """

    def __init__(
        self,
        scale: str | float = "calibrated",
        *,
        shared: bool = False,
        standardised: bool = True,
        floor: float = 1e-4,
    ):
        self.scale = scale
        self.shared = shared
        self.standardised = standardised
        self.floor = floor

    @property
    def has_closed_form(self) -> bool:  # type: ignore[override]
        """True for the optimal scale."""
        return self.scale == "optimal"

    @property
    def is_calibrated(self) -> bool:  # type: ignore[override]
        """True for the calibrated scale."""
        return self.scale == "calibrated"

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: its mean."""
        return n_columns

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Log-variance 0: noise as large as a standardised column's own spread."""
        if not 0 < self.floor < math.inf:
            raise ValueError(
                f"Gaussian needs a positive and finite floor, got floor={self.floor!r}. It is a "
                "variance in units of the column's own; 1e-4 is the default."
            )
        start = torch.zeros(1 if self.shared else n_columns)
        if self.scale == "calibrated":
            correction = nn.Parameter(start, requires_grad=False)
            return {"log_variance": torch.zeros(1), "correction": correction}
        if self.scale == "learned":
            return {"log_variance": start}
        if self.scale != "optimal":
            scale: Any = self.scale
            if not (isinstance(scale, Real) and 0 < float(scale) < math.inf):
                raise ValueError(
                    "Gaussian needs scale='calibrated', 'learned', 'optimal' or a positive number "
                    "(the noise's standard deviation in units of the column's own), got "
                    f"scale={self.scale!r}."
                )
            start += 2 * math.log(scale)
        return {"log_variance": nn.Parameter(start, requires_grad=False)}

    def closed_form_update(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Mapping[str, Tensor]:
        """For the optimal scale: variances equal to the mean squared errors, or to the floor.

        No gradient flows through them: at the optimum it is 0.
        """
        squares = (x - outputs).detach().square()
        if not self.has_closed_form or squares.shape[-2] < MIN_ROWS:
            return parameters
        seen = torch.ones_like(squares) if mask is None else mask.expand_as(squares)
        # To the parameter's shape, so over columns too where they share it, and never over models.
        shape = parameters["log_variance"].shape
        variance = (squares * seen).sum_to_size(shape) / seen.sum_to_size(shape).clamp(min=1)
        return {"log_variance": self._rho(variance)}

    def calibrated(
        self, variance: Tensor | None, parameters: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """The correction that makes each noise this variance; None leaves it as it was learned."""
        correction = parameters["correction"]
        if variance is None:
            return {"correction": torch.zeros_like(correction)}
        if self.shared:
            variance = variance.mean(-1, keepdim=True)
        return {"correction": self._rho(variance) - parameters["log_variance"]}

    def _rho(self, variance: Tensor) -> Tensor:
        """rho of a noise variance; one at the floor, or below it, is a little above."""
        return (variance - self.floor).clamp(min=1e-3 * self.floor).log()

    def noise_variance(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Noise variance per column in the model's units."""
        return self.log_variance(parameters).exp()

    def log_variance(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """``log v = log(floor + exp(rho))``, in one stable step; a fixed scale has no floor."""
        rho = parameters["log_variance"]
        if self.is_calibrated:
            rho = rho + parameters["correction"]
        if not isinstance(self.scale, str):
            return rho
        return torch.logaddexp(rho, rho.new_full((), math.log(self.floor)))

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log density, see `Likelihood.log_prob`."""
        log_variance = self.log_variance(parameters)
        log_variance = log_variance.expand(*log_variance.shape[:-1], x.shape[-1])
        precision = torch.exp(-log_variance)
        squares = (x - outputs).square()
        if mask is None:
            constant = log_variance.sum(-1) + x.shape[-1] * LOG_2PI
            return -0.5 * (weighted_sum(squares, precision) + constant)
        constant = weighted_sum(mask, log_variance + LOG_2PI)
        return -0.5 * (weighted_sum(squares * mask, precision) + constant)

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The outputs themselves."""
        return outputs

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """``output + sqrt(v) * quantile(uniform)``."""
        return outputs + self.noise_variance(parameters).sqrt() * torch.special.ndtri(uniform)

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``1 / v``, the same for every row."""
        return (1 / self.noise_variance(parameters)).expand_as(outputs)
