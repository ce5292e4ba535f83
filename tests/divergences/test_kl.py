"""KL(q(z)||p(z)) against exact values, and its weights over all batches of a tiny data set."""

import itertools
import math

import numpy as np
import pytest
import torch
from gaussian_codes import mean_and_error, normals
from scipy.integrate import quad
from scipy.stats import norm

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import KL, Codes


def kl(z, posterior, n_rows=None):
    return KL()(Codes(z, posterior, None, n_rows))


def by_definition(z, posterior, n_rows):
    """Chen et al. (arXiv 1802.04942, appendix C), row by row."""
    n, total = len(z), 0.0
    mean, scale = posterior.mean.numpy(), posterior.log_variance.exp().sqrt().numpy()
    for i, code in enumerate(z.numpy()):
        density = [float(np.prod(norm.pdf(code, mean[j], scale[j]))) for j in range(n)]
        others = sum(density) - density[i]
        q = density[i] / n_rows + (n_rows - 1) / (n_rows * (n - 1)) * others
        total += math.log(q) - float(norm.logpdf(code).sum())
    return total / n


def rows(n, d, seed=0):
    """Draws and posteriors, all different."""
    mean, log_variance, noise = normals(3, n, d, seed=seed)
    posterior = Posterior(0.8 * mean, -0.5 + 0.3 * log_variance)
    return posterior.rsample(noise), posterior


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 1), (6, 3)])
@pytest.mark.parametrize("surplus", [0, 1, 1000])
def test_equals_the_formula_row_by_row(n, d, surplus):
    z, posterior = rows(n, d)
    expected = by_definition(z, posterior, n + surplus)
    assert kl(z, posterior, n + surplus).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_rows", [None, 3, 6])
def test_the_batch_is_the_data_set_unless_more_is_said(n_rows):
    z, posterior = rows(6, 2)
    assert kl(z, posterior, n_rows).item() == pytest.approx(by_definition(z, posterior, 6))


@pytest.mark.parametrize("d", [1, 2, 64])
def test_one_gaussian_is_known_in_closed_form(d):
    """Rows that all have the same q(z|x) make q(z) that Gaussian, whatever the batch."""
    rng = np.random.default_rng(d)
    mean, variance = rng.normal(size=d), rng.uniform(0.2, 2, size=d)
    exact = 0.5 * np.sum(mean**2 + variance - np.log(variance) - 1)
    one = Posterior(torch.tensor(mean), torch.tensor(variance).log())
    shared = Posterior(*(part.expand(4000, 5, d) for part in one))
    for n_rows in (None, 1000):
        values = kl(shared.rsample(normals(4000, 5, d)), shared, n_rows)
        average, error = mean_and_error(values)
        assert abs(average - exact) < 4 * error


def test_the_full_batch_is_unbiased_for_its_mixture():
    """One draw of each component, stratified: the mean over noise is the mixture's KL."""
    mean, log_variance = normals(2, 5, 1, seed=3)
    posterior = Posterior(2 * mean, log_variance)
    law = norm(posterior.mean[:, 0].numpy(), log_variance.exp().sqrt()[:, 0].numpy())

    def integrand(x):
        q = law.pdf(x).mean()
        return q * (math.log(q) - norm.logpdf(x)) if q > 0 else 0.0

    exact = quad(integrand, -12, 12, limit=500, epsabs=1e-10)[0]
    many = Posterior(*(part.expand(20_000, 5, 1) for part in posterior))
    average, error = mean_and_error(kl(many.rsample(normals(20_000, 5, 1)), many))
    assert abs(average - exact) < 4 * error


N, RADIUS = 6, 1.5


def circle():
    """Posteriors of a tiny data set, of one variance, their means on a circle around 0.

    All have one density at the centre, so q(z) is known there whatever the weights: the step of
    the estimate from z_i = 0 to another z_i tells what it takes for q(z_i), up to that density.
    """
    angles = torch.tensor([0.0, 0.3, 1.1, 2.0, 3.5, 5.2], dtype=torch.float64)
    mean = RADIUS * torch.stack([angles.cos(), angles.sin()], -1)
    return Posterior(mean, torch.full_like(mean, math.log(0.4)))


def estimated_density(i, at, batch):
    """q(at) as a batch sees it from its row i, in units of the density at the centre."""
    posterior = Posterior(*(part[list(batch)] for part in circle()))
    centre = normals(len(batch), 2)
    centre[batch.index(i)] = 0.0
    moved = centre.clone()
    moved[batch.index(i)] = at
    step = len(batch) * (kl(moved, posterior, N) - kl(centre, posterior, N))
    return torch.exp(step - 0.5 * at.square().sum()).item()


def exact_density(at):
    mean, log_variance = circle()
    r2 = (at - mean).square().sum(-1) - RADIUS**2
    return torch.exp(-0.5 * r2 / log_variance.exp()[0, 0]).mean().item()


@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_density_is_unbiased_over_all_batches_and_its_logarithm_too_low(size):
    """A batch holds its row i for sure; the others are any of the rest."""
    for i, at in enumerate(normals(N, 2, seed=1)):
        rest = [j for j in range(N) if j != i]
        found = np.array(
            [
                estimated_density(i, at, (i, *others))
                for others in itertools.combinations(rest, size - 1)
            ]
        )
        assert found.mean() == pytest.approx(exact_density(at), rel=1e-11)
        if size < N:
            assert np.log(found).mean() < math.log(exact_density(at))


def test_narrow_posteriors_keep_their_digits_in_float32():
    """Codes far from 0 and a thousandth wide: only their differences may be squared."""
    noise = normals(2, 8, 2)
    mean = (100 + noise[0]).float()
    posterior = Posterior(mean, torch.full_like(mean, -14.0))
    z = posterior.rsample(noise[1].float())
    found = kl(z, posterior).item()
    exact = kl(z.double(), Posterior(*(part.double() for part in posterior))).item()
    assert found == pytest.approx(exact, rel=100 * torch.finfo(torch.float32).eps)
