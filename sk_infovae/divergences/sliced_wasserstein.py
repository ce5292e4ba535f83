"""Sliced Wasserstein distance to the prior."""

import math
from numbers import Integral

import torch
from torch import Tensor

from sk_infovae.divergences.base import Codes, Divergence, no_estimate


class SlicedWasserstein(Divergence):
    r"""Squared 2-Wasserstein distance of one-dimensional shadows, on average over directions.

    A direction :math:`\theta` turns the prior into N(0, 1) and the batch into numbers
    :math:`u_{(1)} \le \dots \le u_{(n)}`, whose distance is exact, no prior sample being drawn:

    .. math::

        W_2^2 = \int_0^1 \left( u_{(\lceil n t \rceil)} - \Phi^{-1}(t) \right)^2 dt
        = \frac1n \sum_i u_{(i)}^2 + 1 - 2 \sum_i u_{(i)}
        \left[ \varphi(\Phi^{-1}(\tfrac{i-1}{n})) - \varphi(\Phi^{-1}(\tfrac{i}{n})) \right].

    Unlike a kernel's, its pull grows with the distance (Kolouri et al., arXiv 1804.01947). A batch
    of n draws of the prior itself is on average about 3 / n away from it, so the estimate is biased
    upwards. A shift of all codes by m costs :math:`|m|^2 / d`.

    Parameters
    ----------
    n_projections : int, default=64
        Random directions a batch, new ones for each.
    """

    unbiased = False

    def __init__(self, n_projections: int = 64):
        self.n_projections = n_projections

    def noise_rows(self, n_rows: int) -> int:
        """One normal draw for each direction."""
        if not (isinstance(self.n_projections, Integral) and self.n_projections > 0):
            raise ValueError(
                "SlicedWasserstein needs a positive number of directions, got "
                f"n_projections={self.n_projections!r}. 64 is the default."
            )
        return int(self.n_projections)

    def __call__(self, codes: Codes) -> Tensor:
        """Squared distance averaged over the directions of ``codes.noise``, see `Divergence`."""
        assert codes.noise is not None
        n = codes.z.shape[-2]
        if n < 2:
            return no_estimate(codes.z)
        directions = torch.nn.functional.normalize(codes.noise, dim=-1)
        shadows = (codes.z @ directions.mT).sort(-2).values
        overlap = cell_means(n, codes.z) @ shadows
        return (shadows.square().mean(-2) + 1 - 2 * overlap).mean(-1)


def cell_means(n: int, like: Tensor) -> Tensor:
    """Integral of the normal quantile over each ((i - 1) / n, i / n), ``(n,)``."""
    levels = torch.linspace(0, 1, n + 1, dtype=torch.float64, device=like.device)
    density = torch.exp(-0.5 * torch.special.ndtri(levels).square()) / math.sqrt(2 * math.pi)
    return (density[:-1] - density[1:]).to(like.dtype)
