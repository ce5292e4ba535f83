"""KSD against its definition by automatic differentiation, and what its kernels can see."""

import pytest
import torch
from gaussian_codes import exact_ksd, mean_and_error, normals
from torch.func import grad, jacfwd, vmap

from sk_infovae.divergences import KSD, Codes


def ksd(z, *arguments):
    """KSD of the rows of z; it does not look at the posterior."""
    return KSD(*arguments)(Codes(z, None))


def kernel_of(name, bandwidth):
    if name == "gaussian":
        return lambda x, y: torch.exp(-(x - y).square().sum() / (2 * bandwidth))
    return lambda x, y: (1 + (x - y).square().sum() / bandwidth) ** -0.5


def by_definition(z, name, bandwidth):
    """Every derivative of the kernel by torch.func, every pair by itself."""
    n = len(z)
    kernel = kernel_of(name, bandwidth)

    def stein(x, y):
        of_x, of_y = grad(kernel, 0)(x, y), grad(kernel, 1)(x, y)
        mixed = jacfwd(grad(kernel, 0), 1)(x, y).trace()
        return (x @ y) * kernel(x, y) - x @ of_y - y @ of_x + mixed

    pairs = vmap(vmap(stein, (None, 0)), (0, None))(z, z)
    return (pairs.sum() - pairs.trace()) / (n * (n - 1))


@pytest.mark.parametrize("name", ["imq", "gaussian"])
@pytest.mark.parametrize(("n", "d", "bandwidth"), [(2, 1, 0.4), (7, 3, 1.7), (6, 8, 20.0)])
def test_value_and_gradient_are_those_of_the_definition(name, n, d, bandwidth):
    z = (0.3 + 0.7 * normals(n, d)).requires_grad_()
    value, expected = ksd(z, name, bandwidth), by_definition(z, name, bandwidth)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        torch.autograd.grad(value, z)[0],
        torch.autograd.grad(expected, z)[0],
        rtol=1e-11,
        atol=1e-13,
    )


@pytest.mark.parametrize(("name", "factor"), [("imq", 0.25), ("gaussian", 1)])
def test_default_bandwidth_grows_with_the_dimension(name, factor):
    z = normals(10, 6)
    assert torch.equal(ksd(z, name), ksd(z, name, factor * 6.0))


@pytest.mark.parametrize("name", ["imq", "gaussian"])
@pytest.mark.parametrize("d", [1, 8, 64])
def test_is_unbiased_for_gaussian_q(name, d):
    """Batches of 4 average to the exact value; with the pairs i = j they would not."""
    rng = torch.Generator().manual_seed(d)
    mean = 0.2 * torch.randn(d, generator=rng).double()
    variance = 0.5 + torch.rand(d, generator=rng).double()
    values = ksd(mean + variance.sqrt() * normals(10_000, 4, d), name)
    average, error = mean_and_error(values)
    assert abs(average - exact_ksd(KSD(name), mean, torch.diag(variance))) < 4 * error
    # A pair i = j is |x|^2 - 2 d phi'(0): the bias that the U-statistic leaves out.
    rate = {"imq": 2.0, "gaussian": 0.5}[name] / d
    assert (variance.sum() + mean @ mean + 2 * d * rate) / 4 > 20 * error


def test_total_collapse_is_seen_by_the_kernels_curvature_only():
    """At z = 0 only tr of the mixed derivative is left: 2 d / (2 C) for imq, d / s^2 else."""
    collapsed = torch.zeros(256, 64, dtype=torch.float64)
    assert ksd(collapsed).item() == pytest.approx(4.0, rel=1e-12)
    assert ksd(collapsed, "gaussian").item() == pytest.approx(1.0, rel=1e-12)


def test_far_codes_are_seen_by_imq_and_not_by_the_gaussian():
    """N(0, s^2 I) in 64 dimensions: from s = 2 on one grows, the other falls to nothing."""
    z = normals(256, 64)
    for name in ("imq", "gaussian"):
        sampled = [ksd(s * z, name).item() for s in (2, 3.5, 6)]
        exact = [exact_ksd(KSD(name), 0 * z[0], s**2 * torch.eye(64)) for s in (2, 3.5, 6)]
        for found in (sampled, exact):
            assert found == sorted(found, reverse=name == "gaussian")
            assert found[-1] > 4 * found[0] if name == "imq" else abs(found[-1]) < 1e-6


def test_is_invariant_under_rotations():
    z = 0.4 + normals(12, 5)
    rotation, _ = torch.linalg.qr(normals(5, 5, seed=1))
    torch.testing.assert_close(ksd(z @ rotation), ksd(z), rtol=1e-11, atol=1e-13)
