"""Kernels: derivatives, and what they are on average over Gaussians, exactly and by sampling."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from gaussian_codes import over_gaussians
from scipy.integrate import quad
from scipy.stats import chi2, ncx2

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import KSD, MMD, Codes
from sk_infovae.divergences.kernels import (
    KERNELS,
    GaussianKernel,
    InverseMultiquadric,
    squared_distances,
)

DIMENSIONS = [1, 2, 8, 64, 128]
RULE_ERROR = 1e-6
"""Absolute error of the inverse multiquadric's mean, of values at most 1; 5.5e-7 was measured."""


def make(name, bandwidth, power=1.0):
    return (
        GaussianKernel(bandwidth) if name == "gaussian" else InverseMultiquadric(bandwidth, power)
    )


over_kernels = pytest.mark.parametrize(
    ("name", "power"), [("gaussian", 1.0), ("imq", 1.0), ("imq", 0.5)]
)
over_dimensions = pytest.mark.parametrize("d", DIMENSIONS)


def phi(name, bandwidth, power, r2):
    """The kernel by its definition."""
    return np.exp(-r2 / (2 * bandwidth)) if name == "gaussian" else (1 + r2 / bandwidth) ** -power


def bandwidths(d):
    """Small, about the default, large."""
    return sorted({0.5, 1.0, d / 2, float(d), 2.0 * d, 4.0 * d})


def gaussian(d, seed=0):
    """A mean and variances that are neither equal nor 1."""
    rng = np.random.default_rng(seed)
    return rng.normal(scale=0.6, size=d), rng.uniform(0.2, 2.5, size=d)


def double(value):
    return torch.as_tensor(value, dtype=torch.float64)


@over_kernels
def test_derivatives_are_those_of_autograd(name, power):
    kernel = make(name, 1.7, power)
    r2 = torch.tensor([0.0, 0.01, 0.5, 3.0, 40.0], dtype=torch.float64, requires_grad=True)
    value, first = kernel.value_and_slope(r2)
    torch.testing.assert_close(value, double(phi(name, 1.7, power, r2.detach().numpy())))
    (slope,) = torch.autograd.grad(value.sum(), r2, create_graph=True)
    torch.testing.assert_close(first, slope, rtol=1e-13, atol=0)
    (curvature,) = torch.autograd.grad(slope.sum(), r2)
    torch.testing.assert_close(kernel.curvature(r2), curvature, rtol=1e-13, atol=0)


@over_kernels
def test_kernel_is_its_mixture_of_gaussians(name, power):
    """The weights are those of a law, at rates from 0 on."""
    rates, weights = np.array(make(name, 1.7, power).nodes()).T / [[1.7], [1.0]]
    assert rates.min() >= 0
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-15)
    r2 = np.geomspace(1e-3, 1e3, 50)
    found = np.exp(-r2[:, None] * rates) @ weights
    np.testing.assert_allclose(found, phi(name, 1.7, power, r2), rtol=0, atol=RULE_ERROR)


@over_kernels
@over_dimensions
@pytest.mark.parametrize("variance", [1.0, 2.0])
@pytest.mark.parametrize("norm", [0.0, 1.3])
def test_isotropic_mean_is_the_integral_over_the_law_of_r2(name, power, d, variance, norm):
    """|r|^2 / variance has d degrees of freedom: no mixture of Gaussians in this answer."""
    squared = norm**2 * d
    shift = squared / variance
    law = ncx2(d, shift) if norm else chi2(d)
    ends = np.clip(law.mean() + law.std() * np.array([-12, -4, 0, 4, 12, 24]), 0, None)
    for bandwidth in bandwidths(d):
        if name == "gaussian" and bandwidth < d / 2:
            continue  # All that counts lies in the far tail, where quad finds nothing.

        def integrand(u, bandwidth=bandwidth):
            return phi(name, bandwidth, power, variance * u * u) * law.pdf(u * u) * 2 * u

        # In u = r, since the density of r^2 has a pole at 0 in one dimension.
        cuts = np.sqrt(np.unique(ends))
        exact = sum(
            quad(integrand, a, b, epsabs=0, epsrel=1e-11, limit=200)[0]
            for a, b in zip([0.0, *cuts], cuts, strict=False)
            if b > a
        )
        found = make(name, bandwidth, power).isotropic_mean(double(squared), variance, d).item()
        assert found == pytest.approx(exact, rel=1e-9, abs=RULE_ERROR if name == "imq" else 1e-12)


@over_kernels
@over_dimensions
def test_diagonal_mean_is_the_product_over_dimensions(name, power, d):
    mean, variances = gaussian(d)

    def at_rate(rate):
        shrink = 1 + 2 * rate * variances
        return math.exp(-np.sum(0.5 * np.log(shrink) + rate * mean**2 / shrink))

    for bandwidth in bandwidths(d):
        exact = over_gaussians(at_rate, name, bandwidth, power)
        kernel = make(name, bandwidth, power)
        found = kernel.diagonal_mean(double(mean**2), double(variances)).item()
        tolerance = {"rel": 1e-11} if name == "gaussian" else {"abs": RULE_ERROR}
        assert found == pytest.approx(exact, **tolerance)


@over_kernels
def test_the_two_means_agree_on_isotropic_gaussians(name, power):
    kernel, mean = make(name, 3.0, power), double([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]])
    for variance in (1.0, 2.0):
        torch.testing.assert_close(
            kernel.diagonal_mean(mean.square(), torch.full_like(mean, variance)),
            kernel.isotropic_mean(mean.square().sum(-1), variance, 3),
            rtol=1e-13,
            atol=0,
        )


@lru_cache
def sampled_squares(d, n_draws=1_000_000):
    """|r|^2 for r ~ N(mean, diag variances), and for N(mean, 2 I)."""
    rng = np.random.default_rng(d)
    mean, variances = gaussian(d)
    general, isotropic = np.zeros(n_draws), np.zeros(n_draws)
    for m, v in zip(mean, variances, strict=True):
        noise = rng.standard_normal(n_draws, dtype=np.float32)
        general += (m + math.sqrt(v) * noise) ** 2
        isotropic += (m + math.sqrt(2) * noise) ** 2
    return general, isotropic


@over_kernels
@over_dimensions
def test_means_agree_with_a_million_draws(name, power, d):
    mean, variances = gaussian(d)
    general, isotropic = sampled_squares(d)
    for bandwidth in bandwidths(d):
        if name == "gaussian" and bandwidth < d / 2:
            continue  # A few draws in the tail make the mean; its error isn't to be trusted.
        kernel = make(name, bandwidth, power)
        pairs = [
            (kernel.diagonal_mean(double(mean**2), double(variances)), general),
            (kernel.isotropic_mean(double(mean @ mean), 2.0, d), isotropic),
        ]
        for found, squares in pairs:
            values = phi(name, bandwidth, power, squares)
            error = values.std() / math.sqrt(len(values))
            assert abs(found.item() - values.mean()) < 4 * error + RULE_ERROR


@over_kernels
def test_gradients_of_the_means(name, power):
    kernel = make(name, 1.3, power)
    squares, variances = double([[0.4, 2.0, 0.1], [1.0, 0.0, 3.0]]), double([0.3, 1.0, 2.2])
    squares, variances = squares.requires_grad_(), variances.requires_grad_()
    assert torch.autograd.gradcheck(kernel.diagonal_mean, (squares, variances))
    assert torch.autograd.gradcheck(lambda m2: kernel.isotropic_mean(m2, 2.0, 3), (squares,))


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_squared_distances(shift):
    z = shift + np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = ((z[:, :, None] - z[:, None]) ** 2).sum(-1)
    np.testing.assert_allclose(squared_distances(double(z)).numpy(), expected, rtol=0, atol=1e-10)
    narrow = squared_distances(torch.tensor(z, dtype=torch.float32)).double().numpy()
    rounded = z.astype(np.float32).astype(float)
    expected = ((rounded[:, :, None] - rounded[:, None]) ** 2).sum(-1)
    np.testing.assert_allclose(narrow, expected, rtol=0, atol=1e-5)


# What is refused


def of_draws(divergence):
    z = torch.zeros(4, 2)
    return divergence(Codes(z, Posterior(z, z)))


over_users = pytest.mark.parametrize("make_divergence", [MMD, KSD])


@over_users
@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize("bandwidth", [0, 0.0, -1.0, math.inf, math.nan])
def test_bandwidth_must_be_positive_and_finite(make_divergence, kernel, bandwidth):
    with pytest.raises(ValueError, match=rf"positive and finite.*bandwidth={bandwidth!r}.*None"):
        of_draws(make_divergence(kernel, bandwidth))


@over_users
@pytest.mark.parametrize("kernel", ["rbf", "", "IMQ"])
def test_kernel_must_be_known(make_divergence, kernel):
    says = rf"kernel must be one of \['gaussian', 'imq'\], got kernel={kernel!r}\."
    with pytest.raises(ValueError, match=says):
        of_draws(make_divergence(kernel))
