"""Normal noise with a learned scale per column."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sk_infovae.likelihoods.base import Likelihood

LOG_2PI = math.log(2 * math.pi)


class Gaussian(Likelihood):
    r"""x_j = N(output_j, v_j), one noise variance per column, learned with the network.

    .. math::

        \log p(x | z) = -\tfrac12 \sum_j \left[ (x_j - o_j)^2 / v_j + \log v_j + \log 2 \pi
        \right], \qquad v_j = \text{floor} + e^{\rho_j}

    A learned scale balances the reconstruction against the other terms by itself (sigma-VAE,
    Rybkin et al., arXiv 2006.13202). The floor keeps a constant column finite.

    Parameters
    ----------
    floor : float, default=1e-4
        Smallest noise variance, in units of the column's own variance.
    """

    standardised = True

    def __init__(self, floor: float = 1e-4):
        self.floor = floor

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: its mean."""
        return n_columns

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Log-variance 0: noise as large as the column's own spread."""
        if not 0 < self.floor < float("inf"):
            raise ValueError(
                f"Gaussian needs a positive and finite floor, got floor={self.floor!r}. It is a "
                "variance in units of the column's own; 1e-4 is the default."
            )
        return {"log_variance": torch.zeros(n_columns)}

    def noise_variance(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Noise variance per column in standardised units."""
        return self.log_variance(parameters).exp()

    def log_variance(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """``log v = log(floor + exp(rho))``, in one stable step."""
        rho = parameters["log_variance"]
        return torch.logaddexp(rho, rho.new_tensor(math.log(self.floor)))

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log density, see `Likelihood.log_prob`."""
        log_variance = self.log_variance(parameters)
        precision = torch.exp(-log_variance)
        squares = (x - outputs).square()
        if mask is None:
            constant = log_variance.sum(-1, keepdim=True) + x.shape[-1] * LOG_2PI
            return -0.5 * (squares @ precision + constant)
        return -0.5 * ((squares * mask) @ precision + mask @ (log_variance + LOG_2PI))

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The outputs themselves."""
        return outputs

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """``output + sqrt(v) * quantile(uniform)``."""
        return outputs + self.noise_variance(parameters).sqrt() * torch.special.ndtri(uniform)

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``1 / v``, the same for every row."""
        return (1 / self.noise_variance(parameters)).expand_as(outputs)
