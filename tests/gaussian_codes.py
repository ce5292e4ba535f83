"""Codes of a Gaussian q(z) as a divergence sees them, and D(q(z), p(z)) worked out for them.

Each row has its own q(z|x) = N(m_i, e I) and one draw z_i of it, with m_i ~ N(mean, covariance -
e I), so that q(z) = N(mean, covariance).
"""

import math

import numpy as np
import torch
from scipy.integrate import quad

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import KSD, MMD, Codes


def learns(divergence):
    """Whether it has parameters of its own."""
    return bool(divergence.init_parameters(2, torch.Generator().manual_seed(0)))


def normals(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def correlation(rho, d):
    """The matrix with 1 on the diagonal and rho elsewhere."""
    return torch.full((d, d), rho).fill_diagonal_(1.0).double()


def gaussian_codes(divergence, noise, mean, covariance, own=0.5, n_rows=None, seed=99):
    """Codes of q(z) = N(mean, covariance) made of ``noise (2, ..., n, d)``.

    ``own`` is the variance e of each q(z|x), as a part of the smallest variance of q(z).
    """
    d = covariance.shape[-1]
    own = own * torch.linalg.eigvalsh(covariance).min()
    factor = torch.linalg.cholesky(covariance - own * torch.eye(d, dtype=covariance.dtype))
    posterior = Posterior(mean + noise[0] @ factor.mT, own.log().expand_as(noise[0]))
    shape = *noise.shape[1:-2], divergence.noise_rows(noise.shape[-2]), d
    further = normals(*shape, seed=seed, dtype=noise.dtype)
    return Codes(posterior.rsample(noise[1]), posterior, further, n_rows)


def mean_and_error(values):
    """Mean of independent values and its standard error."""
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


# Exact values of D


def over_gaussians(function, kernel, bandwidth, power=1.0):
    """Integral of w(t) function(t) where the kernel is the integral of w(t) exp(-t r^2).

    (1 + r^2 / C)^(-power) is E exp(-g r^2 / C) for g ~ Gamma(power); g = u^2 takes the pole at 0
    out of the density.
    """
    if kernel == "gaussian":
        return function(0.5 / bandwidth)

    def integrand(u):
        density = 2 * u ** (2 * power - 1) * math.exp(-(u**2)) / math.gamma(power)
        return density * function(u**2 / bandwidth)

    return quad(integrand, 0, 7, epsabs=1e-14, epsrel=1e-11, limit=200)[0]


def gaussian_mean(rate, mean, covariance):
    """E exp(-t |r|^2) for r ~ N(mean, covariance)."""
    spread = np.eye(len(mean)) + 2 * rate * covariance
    exponent = rate * mean @ np.linalg.solve(spread, mean)
    return np.linalg.det(spread) ** -0.5 * math.exp(-exponent)


def tilted_scores(rate, mean, covariance):
    """E exp(-t |x - y|^2) f(x)' f(y) for x, y ~ q = N(mean, covariance), f the scores' difference.

    f(x) = -x + S^-1 (x - m) = A (x - m) - m is linear, and the kernel tilts the law of the pair
    (x - m, y - m) to another centred Gaussian, so only its cross-covariance is needed.
    """
    d = len(mean)
    identity, precision = np.eye(d), np.linalg.inv(covariance)
    own, cross = precision + 2 * rate * identity, -2 * rate * identity
    together = np.linalg.inv(np.block([[own, cross], [cross, own]]))[:d, d:]
    slope = precision - identity
    weight = np.linalg.det(identity + 4 * rate * covariance) ** -0.5
    return weight * (np.trace(slope @ together @ slope.T) + mean @ mean)


def exact_mmd(divergence, mean, covariance):
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    d = len(mean)
    default = {"gaussian": d, "imq": 2 * d}[divergence.kernel]
    bandwidths = default if divergence.bandwidth is None else divergence.bandwidth

    def at_rate(rate):
        qq = gaussian_mean(rate, 0 * mean, 2 * covariance)
        qp = gaussian_mean(rate, mean, covariance + np.eye(d))
        return qq - 2 * qp + gaussian_mean(rate, 0 * mean, 2 * np.eye(d))

    return np.mean([over_gaussians(at_rate, divergence.kernel, c) for c in np.ravel(bandwidths)])


def exact_ksd(divergence, mean, covariance):
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    default = {"gaussian": 1, "imq": 0.25}[divergence.kernel] * len(mean)
    bandwidth = default if divergence.bandwidth is None else divergence.bandwidth

    def at_rate(rate):
        return tilted_scores(rate, mean, covariance)

    return over_gaussians(at_rate, divergence.kernel, bandwidth, power=0.5)


EXACT = {MMD: exact_mmd, KSD: exact_ksd}
"""D(N(mean, covariance), N(0, I)) where it is known in closed form or by one integral."""
