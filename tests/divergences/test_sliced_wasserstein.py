"""Sliced Wasserstein distance against quadrature and distances known in closed form."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from gaussian_codes import mean_and_error, normals
from scipy.integrate import quad
from scipy.stats import beta, norm

from sk_infovae.divergences import Codes, SlicedWasserstein
from sk_infovae.divergences.sliced_wasserstein import cell_means


def sliced(z, directions):
    """Of the rows of z, along the rows of ``directions``; it doesn't look at the posterior."""
    return SlicedWasserstein(directions.shape[-2])(Codes(z, None, directions))


def squared_w2(sample):
    """Squared 2-Wasserstein distance of a sample from N(0, 1), cell by cell.

    The i-th smallest is carried to the part of the normal law between its quantiles.
    """
    cuts = norm.ppf(np.arange(len(sample) + 1) / len(sample))
    return sum(
        quad(lambda x, u=u: (u - x) ** 2 * norm.pdf(x), a, b, epsabs=1e-13)[0]
        for u, a, b in zip(np.sort(sample), cuts, cuts[1:], strict=False)
    )


def quantile_grid(n):
    """Points that stand for N(0, 1), one for each part of equal probability."""
    return torch.special.ndtri((torch.arange(n).double() + 0.5) / n)


@pytest.mark.parametrize("n", [2, 3, 10, 41])
def test_one_dimension_is_the_exact_distance(n):
    z = 0.4 + 1.3 * normals(n, 1)
    value = sliced(z, torch.ones(1, 1).double())
    assert value.item() == pytest.approx(squared_w2(z[:, 0].numpy()), rel=1e-9)


def test_equals_brute_force_over_a_fine_grid_of_quantiles():
    """Both laws as 10^6 equal points: each sorted code repeated, against the normal quantiles."""
    z = 0.4 + 1.3 * normals(50, 1)
    steps = z[:, 0].sort().values.repeat_interleave(20_000)
    expected = (steps - quantile_grid(len(steps))).square().mean().item()
    value = sliced(z, torch.ones(1, 1).double()).item()
    # The outermost point of the grid stands for a tail whose second moment is about 3e-5.
    assert value == pytest.approx(expected, abs=5e-5)


def test_is_the_mean_over_the_directions_whatever_their_length():
    z, directions = 0.3 + 0.8 * normals(12, 3), normals(5, 3, seed=1)
    units = directions / directions.norm(dim=1, keepdim=True)
    expected = np.mean([squared_w2((z @ unit).numpy()) for unit in units])
    assert sliced(z, directions).item() == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(sliced(z, 7 * directions), sliced(z, directions))
    torch.testing.assert_close(sliced(z, -directions), sliced(z, directions))


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_cell_means_are_integrals_of_the_quantile(n):
    found = cell_means(n, torch.zeros(0, dtype=torch.float64))
    cuts = norm.ppf(np.arange(n + 1) / n)
    exact = [quad(lambda x: x * norm.pdf(x), a, b, epsabs=1e-14)[0] for a, b in pairwise(cuts)]
    np.testing.assert_allclose(found.numpy(), exact, rtol=0, atol=1e-13)
    assert found.sum().item() == pytest.approx(0, abs=1e-15)


def test_cell_means_keep_their_digits_in_float32():
    """Where 10^4 cells meet, float32 levels near 1 would leave three digits."""
    narrow, wide = (
        cell_means(10_000, torch.zeros(0, dtype=t)) for t in (torch.float32, torch.float64)
    )
    assert narrow.dtype == torch.float32
    assert torch.equal(narrow, wide.float())


def test_a_shift_costs_its_square_over_the_dimension():
    """Exactly (theta' m)^2 along theta for codes of mean 0; over directions, |m|^2 / d."""
    d = 8
    z, directions, m = normals(100, d), normals(40_000, d, seed=1), 0.5 * normals(d, seed=2)
    z = z - z.mean(0)
    units = directions / directions.norm(dim=1, keepdim=True)
    along = (units @ m).square()
    cost = sliced(z + m, directions) - sliced(z, directions)
    assert cost.item() == pytest.approx(along.mean().item(), rel=1e-10)
    average, error = mean_and_error(along)
    assert abs(average - (m @ m / d).item()) < 4 * error


@pytest.mark.parametrize(("m", "s"), [(0.0, 0.0), (1.5, 1.0), (0.0, 0.3), (-0.7, 2.5)])
def test_reaches_the_distance_of_two_gaussians(m, s):
    """W2^2 of N(m, s^2) and N(0, 1) is m^2 + (1 - s)^2.

    The grid of n points that stands for N(m, s^2) is 2 e-5 away from it in W2, so the triangle
    inequality bounds what is missing.
    """
    n = 100_000
    z = (m + s * quantile_grid(n))[:, None]
    missing = s * math.sqrt(squared_w2_of_grid(n))
    found = sliced(z, torch.ones(1, 1).double()).item()
    assert abs(math.sqrt(max(found, 0)) - math.hypot(m, 1 - s)) <= missing + 1e-7


def squared_w2_of_grid(n):
    """Of the quantile grid from N(0, 1): the spread of the law within each cell."""
    means = n * cell_means(n, torch.zeros(0, dtype=torch.float64))
    grid = quantile_grid(n)
    within = 1 - means.square().mean()
    return (within + (means - grid).square().mean()).item()


@pytest.mark.parametrize(("n", "n_batches"), [(16, 4000), (128, 2000)])
def test_draws_of_the_prior_are_about_three_nths_away(n, n_batches):
    """The bias upwards, 2 - 2 sum_i E u_(i) times the mean of cell i, by the law of u_(i)."""
    x, step = np.linspace(-9, 9, 6001, retstep=True)
    rank = np.arange(1, n + 1)[:, None]
    density = beta.pdf(norm.cdf(x), rank, n + 1 - rank) * norm.pdf(x)
    means = cell_means(n, torch.zeros(0, dtype=torch.float64)).numpy()
    exact = 2 - 2 * float(means @ (density @ x) * step)
    assert 2.5 < n * exact < 3.5
    values = sliced(normals(n_batches, n, 1), torch.ones(n_batches, 1, 1).double())
    average, error = mean_and_error(values)
    assert abs(average - exact) < 4 * error


@pytest.mark.parametrize("n", [1, 3, 64])
def test_noise_is_one_row_a_direction(n):
    assert SlicedWasserstein(n).noise_rows(256) == n


@pytest.mark.parametrize("n", [0, -1, 2.5, "many", None])
def test_number_of_directions_must_be_positive(n):
    says = rf"positive number of directions, got n_projections={n!r}\. 64"
    with pytest.raises(ValueError, match=says):
        SlicedWasserstein(n).noise_rows(256)
