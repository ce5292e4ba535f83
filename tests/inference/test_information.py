"""The parts of `Information`, against closed forms, quadrature and many draws."""

import math

import numpy as np
import pytest
import torch

from sk_infovae._base.posterior import Posterior
from sk_infovae._inference import information
from sk_infovae._inference.information import (
    active_dimensions,
    decompose,
    kl_per_dimension,
    log_density_under_each,
    log_det_covariance,
    mean_divergence,
    mmd_null_deviation,
)
from sk_infovae._model.objective import InfoVAELoss
from sk_infovae.divergences import DIVERGENCES, MMD, Codes

SURE = 4.0
"""Standard errors that an estimate may be off: one run in 16,000."""


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def some_posterior(n=60, d=3, seed=0):
    return Posterior(normal(n, d, seed=seed), normal(n, d, seed=seed + 1) - 1.5)


def noise_for(posterior, n_draws, seed=0):
    return normal(n_draws, *posterior.mean.shape, seed=1_000_000 + seed)


def draws(posterior, n_draws, seed=0):
    return posterior.rsample(noise_for(posterior, n_draws, seed))


def mean_and_error(values):
    """Mean of independent replicates, and its standard error."""
    values = np.asarray(values)
    return values.mean(), values.std(ddof=1) / math.sqrt(len(values))


# The decomposition


@pytest.mark.parametrize("log_variance", [0.0, -8.0, -80.0])
@pytest.mark.parametrize("n_draws", [1, 3])
def test_kl_is_mutual_information_plus_marginal_kl(n_draws, log_variance):
    posterior = some_posterior()
    posterior = Posterior(posterior.mean, posterior.log_variance + log_variance)
    parts = decompose(posterior, noise_for(posterior, n_draws))
    torch.testing.assert_close(
        parts.kl, parts.mutual_information + parts.marginal_kl, rtol=1e-12, atol=1e-12
    )


def test_pair_densities_are_those_of_normals():
    posterior, z = some_posterior(), normal(7, 3, seed=5)
    law = torch.distributions.Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    torch.testing.assert_close(
        log_density_under_each(z, posterior), law.log_prob(z[:, None]).sum(-1), rtol=1e-12, atol=0
    )


def test_one_dimension_by_quadrature():
    """The rows being all there is, the draws have the exact integrals as their mean."""
    posterior = Posterior(
        torch.tensor([[-1.5], [0.0], [0.4], [2.0]]).double(),
        torch.tensor([[-1.0], [-4.0], [0.5], [-2.0]]).double(),
    )
    grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    law = torch.distributions.Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    of_rows = law.log_prob(grid)
    log_q = of_rows.logsumexp(0) - math.log(4)
    log_p = -0.5 * (grid.square() + math.log(2 * math.pi))
    step = grid[1] - grid[0]
    exact = {
        "mutual_information": (of_rows.exp() * (of_rows - log_q)).sum() * step / 4,
        "marginal_kl": (log_q.exp() * (log_q - log_p)).sum() * step,
        "kl": posterior.kl().mean(),
    }
    replicates = [decompose(posterior, noise_for(posterior, 100, seed)) for seed in range(100)]
    for name, truth in exact.items():
        mean, error = mean_and_error([getattr(parts, name).mean().item() for parts in replicates])
        assert abs(mean - truth.item()) < SURE * error, name


class LinearGaussian:
    """x ~ N(0, S) and q(z|x) = N(A x + b, V): q(z) = N(b, C) with C = A S A' + V."""

    def __init__(self, strength):
        self.root = torch.tensor(np.random.default_rng(1).normal(size=(2, 4))) * strength
        self.variance = torch.tensor([0.3, 0.5]).double()
        self.shift = torch.tensor([0.4, -0.2]).double()
        covariance = self.root @ self.root.T + self.variance.diag()
        self.marginal = torch.distributions.MultivariateNormal(self.shift, covariance)
        own = torch.distributions.Independent(
            torch.distributions.Normal(torch.zeros(2).double(), self.variance.sqrt()), 1
        )
        self.information = (self.marginal.entropy() - own.entropy()).item()
        prior = torch.distributions.MultivariateNormal(
            *(f(2).double() for f in (torch.zeros, torch.eye))
        )
        self.marginal_kl = torch.distributions.kl_divergence(self.marginal, prior).item()

    def table(self, n, n_draws, seed):
        """Posteriors of n rows, noise, and its draws' exact log q(z|x) / q(z) on average."""
        mean = normal(n, 4, seed=seed) @ self.root.T + self.shift
        posterior = Posterior(mean, self.variance.log().expand_as(mean))
        noise = noise_for(posterior, n_draws, seed)
        z = posterior.rsample(noise)
        own = torch.distributions.Normal(mean, self.variance.sqrt()).log_prob(z).sum(-1)
        return posterior, noise, (own - self.marginal.log_prob(z)).mean().item()


@pytest.mark.parametrize(
    ("strength", "n", "n_draws"), [(0.35, 300, 1), (0.35, 60, 4), (0.6, 100, 1)]
)
def test_linear_gaussian_truth_and_the_bias_of_the_plug_in(strength, n, n_draws):
    """I and KL(q(z)||p), less and plus a bias.

    The estimate averages n densities, one of them the draw's own. So its mean ratio to q(z) is
    1 + chi^2 / n, where chi^2 = E q(z|x) / q(z) - 1 = exp(2 I) - 1 under Gaussians, and by Jensen
    the bias lies between 0 and log(1 + chi^2 / n). The same draws' exact ratios make it visible.
    """
    world = LinearGaussian(strength)
    found, excess, marginal = [], [], []
    for seed in range(300):
        posterior, noise, exact = world.table(n, n_draws, seed)
        parts = decompose(posterior, noise)
        found.append(parts.mutual_information.mean().item())
        marginal.append(parts.marginal_kl.mean().item())
        excess.append(found[-1] - exact)
    chi2 = math.exp(2 * world.information) - 1
    most = math.log(1 + chi2 / n)
    bias, error = mean_and_error(excess)
    assert -most + SURE * error < bias < -SURE * error
    for values, truth in ((found, world.information + bias), (marginal, world.marginal_kl - bias)):
        mean, error = mean_and_error(values)
        assert abs(mean - truth) < SURE * error


@pytest.mark.parametrize(("strength", "n_draws"), [(0.35, 1), (0.6, 1), (0.6, 4), (3.0, 8)])
def test_error_of_the_mutual_information_is_its_spread_over_tables(strength, n_draws):
    """Within a quarter, from half a nat to where log n is near; 300 tables tell to 4 %."""
    world = LinearGaussian(strength)
    tables = [decompose(*world.table(200, n_draws, seed)[:2]) for seed in range(300)]
    spread = np.std([one.mutual_information.mean() for one in tables], ddof=1)
    reported = np.mean([one.mutual_information_error for one in tables])
    print(f"\nspread {spread:.4f}, reported {reported:.4f}")
    assert reported == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("shift", [3.0, 0.0, -4.0, -20.0, -40.0, -80.0])
def test_mutual_information_never_exceeds_log_n_and_reaches_it(shift):
    posterior = some_posterior()
    posterior = Posterior(posterior.mean, posterior.log_variance + shift)
    information = decompose(posterior, noise_for(posterior, 4)).mutual_information
    assert (information <= math.log(60) + 1e-12).all()
    if shift <= -20:
        torch.testing.assert_close(information.mean().item(), math.log(60), rtol=1e-12, atol=0)


@pytest.mark.parametrize("log_variance", [-20.0, -40.0, -80.0])
def test_narrow_posteriors_lose_no_digits(log_variance):
    """KL by draws differs from the closed form by (d - |noise|^2) / 2, whatever the width."""
    n, d = 2000, 3
    posterior = Posterior(normal(n, d), torch.full((n, d), log_variance).double())
    parts = decompose(posterior, noise_for(posterior, 2))
    off = parts.kl - posterior.kl()
    assert abs(off.mean()) < SURE * math.sqrt(d / 2 / (2 * n))
    assert parts.mutual_information_error < 1e-9


def test_order_of_the_rows_changes_nothing():
    posterior = some_posterior()
    noise, order = noise_for(posterior, 2), normal(60).argsort()
    plain = decompose(posterior, noise)
    moved = decompose(Posterior(*(part[order] for part in posterior)), noise[:, order])
    for name in ("kl", "mutual_information", "marginal_kl"):
        torch.testing.assert_close(getattr(moved, name), getattr(plain, name)[order])
    torch.testing.assert_close(moved.mutual_information_error, plain.mutual_information_error)


def test_chunks_of_rows_change_nothing(monkeypatch):
    posterior = some_posterior()
    whole = decompose(posterior, noise_for(posterior, 2))
    monkeypatch.setattr(information, "PAIR_CELLS", 7 * 60)
    for ours, theirs in zip(decompose(posterior, noise_for(posterior, 2)), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


# Per dimension


def test_kl_per_dimension_sums_to_the_kl():
    posterior = some_posterior()
    parts = kl_per_dimension(posterior)
    assert parts.shape == (3,)
    torch.testing.assert_close(parts.sum(), posterior.kl().mean(), rtol=1e-12, atol=0)
    law = torch.distributions.Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    exact = torch.distributions.kl_divergence(law, torch.distributions.Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(parts, exact, rtol=1e-12, atol=0)


def test_log_det_is_that_of_the_mixtures_covariance():
    posterior = some_posterior()
    value = log_det_covariance(posterior).item()
    covariance = np.cov(posterior.mean.T, bias=True)
    covariance += np.diag(posterior.log_variance.exp().mean(0))
    assert value == pytest.approx(np.linalg.slogdet(covariance)[1], rel=1e-12)
    batches = [draws(posterior, 200, seed).reshape(-1, 3).T.cov().logdet() for seed in range(30)]
    mean, error = mean_and_error(batches)
    # The log of a covariance of N draws is low by d (d + 1) / 2N or so.
    assert abs(value - mean) < SURE * error + 12 / (2 * 200 * 60)


def test_log_det_of_the_prior_is_0():
    prior = Posterior(torch.zeros(9, 4).double(), torch.zeros(9, 4).double())
    assert log_det_covariance(prior).item() == pytest.approx(0, abs=1e-14)


def test_a_dimension_is_active_where_its_means_vary_by_a_hundredth():
    """The variance of +-a is a^2; neither the place of the means nor the variances count."""
    signs = torch.tensor([1.0, -1.0] * 20, dtype=torch.float64)[:, None]
    means = signs * torch.tensor([0.0, 0.0999, 0.1001, 2.0]) + torch.tensor([3.0, 0, 0, 0])
    for log_variance in (-9.0, 3.0):
        posterior = Posterior(means, torch.full_like(means, log_variance))
        assert active_dimensions(posterior).tolist() == [False, False, True, True]


# D


@pytest.mark.parametrize("d", [1, 2, 6])
def test_mmd_null_deviation_is_that_of_the_centred_kernel(d):
    """Var = 2 / (n (n - 1)) E h^2 with h the kernel less its means over the prior, by draws."""
    x, y = normal(2, 400_000, d)
    scale = (d / (d + 1)) ** (d / 2)
    h = torch.exp(-(x - y).square().sum(-1) / (2 * d)) + (d / (d + 2)) ** (d / 2)
    for z in (x, y):
        h -= scale * torch.exp(-z.square().sum(-1) / (2 * (d + 1)))
    squares = h.square()
    variance = mmd_null_deviation(50, d) ** 2 * 50 * 49 / 2
    assert abs(squares.mean() - variance) < SURE * squares.std() / math.sqrt(len(squares))


@pytest.mark.parametrize("n_blocks", [1, 4])
def test_standardised_mmd_of_the_prior_has_mean_0_and_deviation_1(monkeypatch, n_blocks):
    n, d = 120, 2
    monkeypatch.setattr(information, "PAIR_CELLS", d * (n // n_blocks) ** 2)
    loss, posterior = InfoVAELoss(1, 1, MMD(bandwidth=1.0)), Posterior(*torch.zeros(2, n, d))
    generator, values, own = torch.Generator().manual_seed(0), [], []
    for seed in range(600):
        divergence, standardised = mean_divergence(
            loss, posterior, normal(n, d, seed=seed), generator
        )
        values.append(standardised)
        own.append(divergence)
    mean, error = mean_and_error(values)
    assert abs(mean) < SURE * error
    variance, error = mean_and_error(np.square(values))
    assert abs(variance - 1) < SURE * error
    mean, error = mean_and_error(own)
    assert abs(mean) < SURE * error


@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergence_is_a_direct_call_on_every_block(monkeypatch, name, n_blocks):
    """Further draws come after the order of the rows, from the same generator."""
    n, d, size = 60, 3, 60 // n_blocks
    monkeypatch.setattr(information, "PAIR_CELLS", d * size**2)
    divergence, posterior = DIVERGENCES[name](), some_posterior()
    z = draws(posterior, 1)[0]
    parameters = divergence.init_parameters(d, torch.Generator().manual_seed(1))
    if name == "adversarial":
        parameters["skip"][3:6] -= 0.05  # far codes are no draws of the prior
    loss = InfoVAELoss(1, 1, divergence, parameters)
    found, _ = mean_divergence(loss, posterior, z, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(n, generator=generator)
    parameters = {key: value.double() for key, value in parameters.items()}
    direct = []
    for rows in order.split(size):
        shape = divergence.noise_rows(size), d
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        of_rows = Posterior(*(part[rows] for part in posterior))
        direct.append(divergence(Codes(z[rows], of_rows, noise, n, parameters)).item())
    assert found == pytest.approx(np.mean(direct), rel=1e-12)
    assert found != 0
