"""KL(q(z)||p(z)), the term that the objective is derived with."""

import math

import torch
from torch import Tensor

from sk_infovae._base.posterior import LOG_2PI, standard_normal_log_density
from sk_infovae.divergences.base import Codes, Divergence, no_estimate


class KL(Divergence):
    r"""KL(q(z)||p(z)) in nats, q(z) being a mixture of the batch's own q(z|x).

    For row i of a batch of M rows out of N

    .. math::

        \log q(z_i) \approx \log \left[ \frac1N q(z_i|x_i)
        + \frac{N - 1}{N (M - 1)} \sum_{j \ne i} q(z_i|x_j) \right],

    stratified weights (Chen et al., arXiv 1802.04942, appendix C) under which the sum itself is
    unbiased. Its logarithm is not: a small batch knows few of the places that q(z) covers,
    the estimate then lies below the truth, and it is far below for many components. For the full
    batch, M = N, the mixture is exact.
    """

    unbiased = False

    def __call__(self, codes: Codes) -> Tensor:
        """Estimate of KL(q(z)||p(z)), see `Divergence`."""
        z, n = codes.z, codes.z.shape[-2]
        if n < 2:
            return no_estimate(z)
        total = max(n, codes.n_rows or n)
        log_pairs = log_density_of_pairs(codes)
        # The diagonal gets its own weight by a shift of its logarithm.
        among_others = math.log((total - 1) / (total * (n - 1)))
        own_extra = -math.log(total) - among_others
        shift = own_extra * torch.eye(n, dtype=z.dtype, device=z.device)
        log_q = torch.logsumexp(log_pairs + shift, -1) + among_others
        return (log_q - standard_normal_log_density(z)).mean(-1)


def log_density_of_pairs(codes: Codes) -> Tensor:
    """log q(z_i|x_j), nats, ``(..., n, n)``."""
    mean, log_variance = codes.posterior
    # Differences first: the expanded square would lose its digits where variances are small.
    steps = codes.z[..., :, None, :] - mean[..., None, :, :]
    squares = (steps * torch.exp(-0.5 * log_variance)[..., None, :, :]).square().sum(-1)
    constant = log_variance.sum(-1) + mean.shape[-1] * LOG_2PI
    return -0.5 * (squares + constant[..., None, :])
