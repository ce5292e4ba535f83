"""Gaussian arithmetic: the prior N(0, I) and q(z|x) = N(mean, diag exp(log_variance))."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)

MOST_LOG_VARIANCE = 2.0
"""Of q(z|x). The prior's is 0, and a code needs no more; a row unlike all others had 40."""


def standard_normal_log_density(z: Tensor) -> Tensor:
    """log N(z; 0, I) = -1/2 (|z|^2 + d log 2 pi) for z ``(..., d)``, nats."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * LOG_2PI)


class Posterior(NamedTuple):
    """Mean and log-variance of q(z|x), each ``(..., n_samples, n_components)``."""

    mean: Tensor
    log_variance: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        """Reparametrised draw ``mean + std * noise`` (Kingma and Welling, arXiv 1312.6114)."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) = 1/2 sum_l (m_l^2 + v_l - log v_l - 1), nats, ``(..., n)``."""
        mean, log_variance = self
        terms = mean.square() + log_variance.exp() - log_variance
        return 0.5 * (terms.sum(-1) - mean.shape[-1])
