"""MMD against values known in closed form, by quadrature, or from its definition."""

import math

import numpy as np
import pytest
import torch
from gaussian_codes import EXACT, gaussian_codes, mean_and_error, normals

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import MMD, Codes
from sk_infovae.divergences.kernels import GaussianKernel, InverseMultiquadric


def mmd(z, bandwidth=None, kernel="gaussian"):
    """MMD of the rows of z; it does not look at the posterior."""
    return MMD(kernel, bandwidth)(Codes(z, None))


def draws(n_batches, n, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n_batches, n, d), generator=generator, dtype=torch.float64)


def kernel_mean(mean, variance, s2):
    """E exp(-|r|^2 / (2 s2)) for r ~ N(mean, diag variance), a product over the dimensions.

    Completing the square in one dimension: sqrt(s2 / (s2 + v)) exp(-m^2 / (2 (s2 + v))).
    """
    mean, variance = np.broadcast_arrays(mean, variance)
    total = s2 + variance
    return math.exp(np.sum(0.5 * np.log(s2 / total) - mean**2 / (2 * total)))


def exact(mean, variance, s2):
    """Squared MMD between N(mean, diag variance) and N(0, I)."""
    zero, one = np.zeros_like(mean), np.ones_like(variance)
    return (
        kernel_mean(zero, 2 * variance, s2)
        - 2 * kernel_mean(mean, variance + one, s2)
        + kernel_mean(zero, 2 * one, s2)
    )


def gauss_hermite(function, n_nodes=80):
    """E function(t) for t ~ N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    return float(weights @ function(nodes)) / math.sqrt(2 * math.pi)


def null_variance(n, d, s2):
    """Variance of the estimate for n draws of the prior (fact 5 of the design)."""
    second = (s2 / (s2 + 4)) ** (d / 2)
    mixed = (s2 / (s2 + 1)) ** d * ((s2 + 3) / (s2 + 1)) ** (-d / 2)
    first = (s2 / (s2 + 2)) ** d
    return 2 / (n * (n - 1)) * (second - 2 * mixed + first)


@pytest.mark.parametrize("d", [1, 2, 8, 64, 128])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_prior_terms_equal_their_quadrature(d, factor):
    """Two equal rows y give D = 1 - 2 E_p k(., y) + E_pp k: the prior terms alone."""
    s2 = factor * d
    y = np.random.default_rng(0).normal(size=d)
    qp = math.prod(gauss_hermite(lambda t, c=c: np.exp(-((t - c) ** 2) / (2 * s2))) for c in y)
    pp = gauss_hermite(lambda t: np.exp(-((math.sqrt(2) * t) ** 2) / (2 * s2))) ** d
    value = mmd(torch.tensor(np.stack([y, y])), s2)
    assert value.item() == pytest.approx(1 - 2 * qp + pp, rel=1e-11)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (6, 1), (7, 3), (5, 8)])
def test_equals_the_double_loop_over_pairs(n, d):
    z = 0.3 + 0.7 * draws(1, n, d)[0]
    s2 = 1.7

    def kernel(x, y):
        return math.exp(-sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / (2 * s2))

    rows = z.tolist()
    qq = sum(kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j)
    qp = sum(kernel_mean(np.array(row), np.ones(d), s2) for row in rows)
    pp = kernel_mean(np.zeros(d), np.full(d, 2.0), s2)
    expected = qq / (n * (n - 1)) - 2 * qp / n + pp
    assert mmd(z, s2).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 8, 64, 128])
@pytest.mark.parametrize("factor", [None, 0.5])
def test_is_unbiased_for_gaussian_q(d, factor):
    """Batches of 4 average to the exact value; with the pairs i = j they would not.

    Those pairs would add (1 - E_qq k) / 4, so the test also says that it could see that.
    """
    n, n_batches = 4, 10_000
    rng = np.random.default_rng(d)
    mean, variance = rng.normal(scale=0.4, size=d), rng.uniform(0.2, 1.5, size=d)
    z = torch.tensor(mean) + torch.tensor(variance).sqrt() * draws(n_batches, n, d)
    s2 = d if factor is None else factor * d
    values = mmd(z, None if factor is None else s2)
    error = (values.std() / math.sqrt(n_batches)).item()
    assert abs(values.mean().item() - exact(mean, variance, s2)) < 4 * error
    bias = (1 - kernel_mean(np.zeros(d), 2 * variance, s2)) / n
    assert bias > 20 * error


@pytest.mark.parametrize(("n", "d", "s2"), [(16, 1, 1.0), (16, 4, 4.0), (6, 8, 3.0), (32, 2, 9.0)])
def test_variance_on_the_prior(n, d, s2):
    values = mmd(draws(20_000, n, d), s2)
    centred = values - values.mean()
    variance = centred.square().mean()
    error = ((centred**4).mean() - variance**2).sqrt() / math.sqrt(len(values))
    assert abs(variance - null_variance(n, d, s2)) < 4 * error


def test_default_bandwidth_is_the_dimension():
    z = draws(1, 10, 6)[0]
    assert torch.equal(mmd(z), mmd(z, 6))


def test_total_collapse_costs_enough_in_64_dimensions():
    """With s2 = d it costs .156; with the authors' s2 = d^2 / 2 it would cost .00025."""
    collapsed = torch.zeros(256, 64, dtype=torch.float64)
    assert mmd(collapsed).item() == pytest.approx(0.156, abs=5e-4)
    assert mmd(collapsed, 64**2 / 2).item() == pytest.approx(0.00025, abs=5e-6)


@pytest.mark.parametrize(("s2", "seen"), [(64.0, True), (1.0, False)])
def test_a_bandwidth_that_does_not_grow_goes_blind(s2, seen):
    """Every code one standard deviation off in all of 64 dimensions, at batch 256.

    With s2 = d that is far above the deviation of D on the prior, with s2 = 1 below it.
    """
    d, n = 64, 256
    deviation = math.sqrt(null_variance(n, d, s2))
    by_formula = exact(np.ones(d), np.ones(d), s2) / deviation
    by_sample = mmd(1 + draws(20, n, d), s2).mean().item() / deviation
    for found in (by_formula, by_sample):
        assert found > 100 if seen else abs(found) < 1


@pytest.mark.parametrize(("d", "cost", "half_digit"), [(1, 0.163, 5e-4), (8, 0.0040, 5e-5)])
def test_cost_of_one_collapsed_dimension(d, cost, half_digit):
    z = draws(20_000, 8, d)
    z[..., 0] = 0.0
    variance = np.ones(d)
    variance[0] = 0.0
    value = exact(np.zeros(d), variance, d)
    assert value == pytest.approx(cost, abs=half_digit)
    values = mmd(z)
    error = (values.std() / math.sqrt(len(values))).item()
    assert abs(values.mean().item() - value) < 4 * error + 1e-12


def test_one_collapsed_dimension_of_64_is_below_the_noise():
    """Why the per-dimension KL and the active units are reported beside D."""
    variance = np.ones(64)
    variance[0] = 0.0
    assert exact(np.zeros(64), variance, 64) < math.sqrt(null_variance(256, 64, 64))


def test_gradient_equals_autograd_through_the_definition():
    """The custom backward pass against autograd, with the pairs taken one by one."""
    z = (0.5 + 0.8 * draws(1, 9, 4)[0]).requires_grad_()
    s2, (n, d) = 2.3, z.shape
    differences = z[:, None, :] - z[None, :, :]
    kernel = torch.exp(-differences.square().sum(-1) / (2 * s2))
    qq = (kernel.sum() - n) / (n * (n - 1))
    qp = (s2 / (s2 + 1)) ** (d / 2) * torch.exp(-z.square().sum(-1) / (2 * (s2 + 1))).mean()
    (expected,) = torch.autograd.grad(qq - 2 * qp, z)
    (gradient,) = torch.autograd.grad(mmd(z, s2), z)
    torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-14)


def test_is_invariant_under_rotations():
    z = 0.4 + draws(1, 12, 5)[0]
    rotation, _ = torch.linalg.qr(draws(1, 5, 5, seed=1)[0])
    torch.testing.assert_close(mmd(z @ rotation), mmd(z), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("distance", [1e2, 1e3, 1e5])
def test_float32_survives_codes_far_from_the_prior(distance):
    """q-q depends on differences only, so distance from the origin must not cost digits.

    The codes are rounded to float32 first; both sides see the same codes.
    """
    z = (distance + draws(1, 200, 2)[0]).float().requires_grad_()
    exact = z.detach().double().requires_grad_()
    value, expected = mmd(z), mmd(exact)
    unit = 100 * torch.finfo(torch.float32).eps
    assert abs(value.item() - expected.item()) < unit
    (gradient,), (slope,) = torch.autograd.grad(value, z), torch.autograd.grad(expected, exact)
    assert (gradient - slope).abs().max() < unit * slope.abs().max()


# Kernels and bandwidths


@pytest.mark.parametrize(("n", "d", "c"), [(2, 1, 0.8), (7, 3, 1.7), (5, 8, 16.0)])
def test_imq_equals_the_double_loop_over_pairs(n, d, c):
    """The prior terms from the kernel's own means, which test_kernels holds to an integral."""
    z = 0.3 + 0.7 * draws(1, n, d)[0]
    kernel = InverseMultiquadric(c)
    distances = ((z[:, None] - z[None]) ** 2).sum(-1)
    pairs = c / (c + distances)
    qq = (pairs.sum() - pairs.trace()) / (n * (n - 1))
    qp = kernel.diagonal_mean(z.square(), torch.ones_like(z)).mean()
    pp = kernel.diagonal_mean(torch.zeros(d).double(), torch.full((d,), 2.0).double())
    assert mmd(z, c, "imq").item() == pytest.approx((qq - 2 * qp + pp).item(), rel=1e-11)


@pytest.mark.parametrize(("kernel", "factor"), [("gaussian", 1), ("imq", 2)])
@pytest.mark.parametrize("estimator", ["samples", "mixture"])
def test_default_bandwidth_by_kernel_and_several_are_averaged(kernel, factor, estimator):
    q = torch.full((3,), 0.4).double(), 0.6 * torch.eye(3).double()
    codes = gaussian_codes(MMD(), normals(2, 10, 3), *q)

    def of(bandwidth):
        return MMD(kernel, bandwidth, estimator)(codes)

    assert torch.equal(of(None), of(3.0 * factor))
    torch.testing.assert_close(of((0.7, 2.0, 9.0)), (of(0.7) + of(2.0) + of(9.0)) / 3)
    torch.testing.assert_close(of([0.7]), of(0.7))


@pytest.mark.parametrize("kernel", ["gaussian", "imq"])
def test_gradient_of_several_bandwidths_is_the_mean_of_theirs(kernel):
    z = (0.5 + 0.8 * draws(1, 9, 4)[0]).requires_grad_()
    each = [torch.autograd.grad(mmd(z, s2, kernel), z)[0] for s2 in (1.0, 6.0)]
    (together,) = torch.autograd.grad(mmd(z, (1.0, 6.0), kernel), z)
    torch.testing.assert_close(together, (each[0] + each[1]) / 2)


# The estimator on q(z|x) itself


def posteriors(n, d):
    """Fixed ones, all different."""
    mean, log_variance = normals(2, n, d, seed=3)
    return Posterior(0.3 + 0.8 * mean, -0.7 + 0.5 * log_variance)


@pytest.mark.parametrize("bandwidth", [None, (0.5, 4.0)])
@pytest.mark.parametrize("kernel", ["gaussian", "imq"])
def test_mixture_is_the_mean_of_the_samples_over_their_noise(kernel, bandwidth):
    posterior = posteriors(6, 3)
    z = posterior.rsample(draws(40_000, 6, 3))
    average, error = mean_and_error(mmd(z, bandwidth, kernel))
    found = MMD(kernel, bandwidth, "mixture")(Codes(z[0], posterior)).item()
    assert abs(found - average) < 4 * error
    # It looks at the posterior only.
    assert MMD(kernel, bandwidth, "mixture")(Codes(z[1], posterior)).item() == found


@pytest.mark.parametrize("kernel", ["gaussian", "imq"])
def test_mixture_equals_the_double_loop_over_posteriors(kernel):
    n, d, c = 5, 3, 1.7
    mean, log_variance = posteriors(n, d)
    of = (GaussianKernel if kernel == "gaussian" else InverseMultiquadric)(c).diagonal_mean
    rows = list(zip(mean, log_variance.exp(), strict=True))
    qq = sum(
        of((a - b) ** 2, v + w)
        for i, (a, v) in enumerate(rows)
        for b, w in rows[:i] + rows[i + 1 :]
    )
    qp = sum(of(a**2, v + 1) for a, v in rows)
    pp = of(torch.zeros(d).double(), torch.full((d,), 2.0).double())
    expected = qq / (n * (n - 1)) - 2 * qp / n + pp
    found = MMD(kernel, c, "mixture")(Codes(mean, Posterior(mean, log_variance)))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kernel", ["gaussian", "imq"])
@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_mixture_has_less_variance(kernel, mean):
    """Over rows and noise; what the noise adds is left out, so it is less for any q(z|x)."""
    q = torch.full((3,), mean).double(), torch.eye(3).double()
    codes = gaussian_codes(MMD(), normals(2, 3000, 6, 3), *q)
    variances, errors = [], []
    for estimator in ("samples", "mixture"):
        squares = (values := MMD(kernel, None, estimator)(codes)) - values.mean()
        average, error = mean_and_error(squares.square())
        variances.append(average)
        errors.append(error)
    assert variances[1] + 4 * math.hypot(*errors) < variances[0]


@pytest.mark.parametrize("kernel", ["gaussian", "imq"])
@pytest.mark.parametrize("own", [0.02, 0.5, 0.98])
def test_mixture_is_unbiased_whatever_the_width_of_the_posteriors(kernel, own):
    divergence = MMD(kernel, estimator="mixture")
    q = torch.tensor([0.5, -0.2]).double(), torch.tensor([[0.8, 0.3], [0.3, 0.6]]).double()
    average, error = mean_and_error(
        divergence(gaussian_codes(divergence, normals(2, 5000, 4, 2), *q, own=own))
    )
    assert abs(average - EXACT[MMD](divergence, *q)) < 4 * error


# What is refused; kernel and bandwidth are refused by test_kernels


@pytest.mark.parametrize("estimator", ["sample", "", None])
def test_estimator_must_be_known(estimator):
    z = draws(1, 4, 2)[0]
    says = rf"estimator must be one of \['samples', 'mixture'\], got estimator={estimator!r}\."
    with pytest.raises(ValueError, match=says):
        MMD(estimator=estimator)(Codes(z, Posterior(z, z)))


@pytest.mark.parametrize("bandwidth", [(1.0, -2.0), [math.nan, 1.0]])
def test_every_bandwidth_of_a_sequence_must_be_positive(bandwidth):
    with pytest.raises(ValueError, match=r"positive and finite.*got bandwidth="):
        mmd(draws(1, 4, 2)[0], bandwidth)


@pytest.mark.parametrize("bandwidth", [(), []])
def test_a_sequence_needs_a_bandwidth(bandwidth):
    with pytest.raises(ValueError, match="at least one bandwidth"):
        mmd(draws(1, 4, 2)[0], bandwidth)


@pytest.mark.parametrize("arguments", [{"kernel": "rbf"}, {"bandwidth": -1.0}])
def test_a_bad_argument_is_refused_even_where_nothing_is_estimated(arguments):
    """On a batch of one row, too."""
    z = draws(1, 1, 2)[0]
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
        MMD(**arguments)(Codes(z, Posterior(z, z)))
