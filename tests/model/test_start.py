"""Networks begin as the linear model that suits the rows best."""

import copy

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA

from sk_infovae import InfoVAETransformer
from sk_infovae._model.architecture import Architecture
from sk_infovae._model.cells import Cells
from sk_infovae._model.start import (
    LEAST_REST,
    MOST_SLOPE,
    principal_axes,
    start_from_pca,
)
from sk_infovae.likelihoods import LIKELIHOODS, Bernoulli, Categorical, Gaussian, Poisson

D = 3


def correlated(n=400, c=6, d=2, seed=0, noise=0.4):
    """Rows near a plane."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, c)) + noise * rng.normal(size=(n, c))


def standardised(X):
    return torch.as_tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)


def build(likelihoods, hidden=(), d=D, **own):
    arguments = {"encoder": None, "decoder": None, "hole_columns": (), "has_outliers": False}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Architecture(
            n_components=d,
            hidden_layer_sizes=hidden,
            activation="silu",
            likelihoods=tuple(likelihoods),
            **arguments | own,
        ).build()


def begun(likelihoods, x, mask=None, d=D, **how):
    """A module begun on rows, as training begins."""
    module = build(likelihoods, d=d, **how)
    with torch.no_grad():
        outputs = module.init_from_data(x, mask)
    start_from_pca(module, d, Cells(x, mask), outputs)
    return module


def cells_of(likelihood, X):
    """Standard normal-ish X as values of a family, each column monotone in its own."""
    if likelihood.has_levels:
        return torch.bucketize(X, torch.tensor([-0.5, 0.7])).float()
    if isinstance(likelihood, Bernoulli):
        return (X > 0.3).float()
    if likelihood.fit_rule is not None and likelihood.in_fit_domain(torch.tensor(0.5)):
        return X.exp()
    return X.exp().round() if likelihood.fit_rule is not None else X


def log_prob(module, x, outputs):
    return module.likelihood.log_prob(x, outputs).mean().item()


# The closed forms


@pytest.mark.parametrize("d", [1, 2, 4])
def test_gaussian_columns_begin_as_probabilistic_pca(d):
    """Tipping and Bishop 1999, equations 7, 8 and 12, by numpy's own eigenvectors."""
    x = standardised(correlated())
    module = begun([Gaussian()] * 6, x, d=d)
    values, vectors = np.linalg.eigh(np.cov(x.numpy().T))
    values, vectors = values[::-1], vectors[:, ::-1]
    rest = values[d:].mean()
    W = vectors[:, :d] * np.sqrt(values[:d] - rest)
    M = W.T @ W + rest * np.eye(d)
    posterior = module.encode(x)
    sign = np.sign((posterior.mean.detach().numpy() * (x.numpy() @ W)).sum(0))
    expected = sign * (x.numpy() @ W @ np.linalg.inv(M))
    np.testing.assert_allclose(posterior.mean.detach(), expected, atol=1e-4)
    variance = posterior.log_variance.exp().detach()
    np.testing.assert_allclose(variance, np.tile(rest * np.diag(np.linalg.inv(M)), (400, 1)), 1e-4)
    np.testing.assert_allclose(module.decoder.weight.detach(), W * sign * 399 / 400, atol=1e-4)
    np.testing.assert_allclose(module.decoder.bias.detach(), 0, atol=1e-5)


@pytest.mark.parametrize("n", [400, 5])
def test_axes_are_scikit_learns_up_to_sign(n):
    x = standardised(correlated(n))
    module = begun([Gaussian()] * 6, x)
    oracle = PCA(D).fit(x.numpy())
    for slopes, axis in zip(module.encoder.weight[:D].detach(), oracle.components_, strict=True):
        assert (x @ slopes).pow(3).sum() > 0
        assert abs(np.dot((slopes / slopes.norm()).numpy(), axis)) > 0.999


def by_the_largest(axes):
    """scikit-learn's rule for the sign of an axis."""
    return axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()


def test_a_few_rows_more_or_less_turn_hardly_an_axis():
    """Far fewer than with scikit-learn's rule, which turns one in ten of these."""
    turned = torch.zeros(2)
    for load in (load_digits, load_breast_cancer):
        X = load().data
        x = standardised(X[:, X.std(0) > 0])
        whole = principal_axes(x - x.mean(0))[1][:8]
        for seed in range(20):
            draw = torch.Generator().manual_seed(seed)
            rows = torch.randperm(len(x), generator=draw)[: len(x) * 9 // 10]
            own = principal_axes(x[rows] - x[rows].mean(0))[1][:8]
            for k, rule in enumerate([lambda axes: axes, by_the_largest]):
                turned[k] += ((rule(whole) * rule(own)).sum(1) < -0.9).sum()
    assert 3 * turned[0] < turned[1]


def test_logits_differ_as_the_levels_codes_do():
    """The slopes of two logits differ by how far the mean codes of their levels are apart."""
    x = cells_of(Categorical().bind(3), standardised(correlated(noise=2)))
    module = begun([Categorical().bind(3)] * 6, x)
    z = module.encode(x).mean.detach()
    for j in range(6):
        found = module.decoder.weight[3 * j : 3 * j + 3].detach()
        means = torch.stack([z[x[:, j] == level].mean(0) for level in range(3)])
        torch.testing.assert_close(found - found[0], means - means[0], rtol=0.02, atol=0.02)
        frequency = torch.stack([(x[:, j] == level).float().mean() for level in range(3)])
        bias = module.decoder.bias[3 * j : 3 * j + 3].detach()
        torch.testing.assert_close(bias.softmax(0), frequency, rtol=0, atol=0.01)


def test_bits_and_counts_begin_at_the_regression_of_their_scores():
    x = standardised(correlated(noise=2))
    for likelihood, information in [(Bernoulli(), lambda x: 0.25), (Poisson(), lambda x: x.mean())]:
        cells = cells_of(likelihood, x)
        module = begun([likelihood] * 6, cells)
        z = module.encode(cells).mean.detach()
        for j in range(6):
            values = cells[:, j]
            at = 0.5 if isinstance(likelihood, Bernoulli) else values.mean()
            expected = ((values - at)[:, None] * z).mean(0) / information(values)
            torch.testing.assert_close(
                module.decoder.weight[j].detach(), expected, rtol=1e-3, atol=1e-4
            )


# Laws of every family


@pytest.mark.parametrize("hidden", [(), (16, 8)])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_start_says_more_than_the_best_constant(name, hidden):
    likelihood = LIKELIHOODS[name]()
    likelihood = likelihood.bind(3) if likelihood.has_levels else likelihood
    x = cells_of(likelihood, standardised(correlated()))
    module = begun([likelihood] * 6, x, hidden=hidden)
    with torch.no_grad():
        outputs = module.decoder(module.encode(x).mean)
        constant = log_prob(module, x, outputs.mean(0).expand_as(outputs))
        assert log_prob(module, x, outputs) > constant + 0.1


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_order_of_rows_does_not_matter_nor_does_the_seed(name):
    likelihood = LIKELIHOODS[name]()
    likelihood = likelihood.bind(3) if likelihood.has_levels else likelihood
    x = cells_of(likelihood, standardised(correlated()))
    one, other = begun([likelihood] * 6, x), begun([likelihood] * 6, x.flip(0))
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-3)


def test_cells_missing_at_random_hardly_move_it():
    x = standardised(correlated(20_000))
    mask = (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.9).float()
    whole = begun([Gaussian()] * 6, x, hole_columns=(0, 1, 2, 3, 4, 5), d=2)
    holes = begun([Gaussian()] * 6, x * mask, mask, hole_columns=(0, 1, 2, 3, 4, 5), d=2)
    ours, theirs = (m.decoder.weight @ m.decoder.weight.mT for m in (whole, holes))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.12)
    assert not holes.encoder.weight[:, 6:].any()  # the marks say nothing yet


def test_perceptrons_begin_beside_the_linear_map():
    x = standardised(correlated())
    plain, deep = begun([Gaussian()] * 6, x), begun([Gaussian()] * 6, x, hidden=(64, 32))
    torch.testing.assert_close(deep.encoder.skip.weight, plain.encoder.weight)
    torch.testing.assert_close(deep.decoder.skip.weight, plain.decoder.weight)
    distance = (deep.encode(x).mean - plain.encode(x).mean).abs().mean()
    assert 0 < distance < 0.1


# Where there is little to begin with


@pytest.mark.parametrize("n", [1, 2, 3, 50])
@pytest.mark.parametrize("d", [1, 3, 9])
def test_few_rows_and_many_components(n, d):
    x = standardised(correlated())[:n]
    module = begun([Gaussian()] * 6, x, hidden=(8,), d=d)
    q = module.encode(x)
    assert all(p.isfinite().all() for p in module.parameters())
    assert q.mean.isfinite().all()
    assert (q.log_variance > np.log(LEAST_REST) - 4).all()


def test_dimensions_that_rows_do_not_have_are_the_prior():
    x = standardised(correlated())[:, :2].repeat(1, 3)
    module = begun([Gaussian()] * 6, x, d=4)
    q = module.encode(x)
    torch.testing.assert_close(q.mean[:, 2:], torch.zeros(400, 2), rtol=0, atol=1e-3)
    torch.testing.assert_close(q.log_variance[:, 2:], torch.zeros(400, 2), rtol=0, atol=1e-3)
    assert (q.log_variance[:, :2] < -2).all()


@pytest.mark.parametrize("most", [1.0, 1e25])
def test_rows_that_do_not_vary_or_overflow_keep_a_random_start(most):
    """Columns in their own units may hold anything."""
    module, x = build([Gaussian()] * 6), torch.ones(50, 6)
    x[0] = most
    before = copy.deepcopy(module.state_dict())
    start_from_pca(module, D, Cells(x, None), torch.zeros(6))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_rare_huge_count_takes_no_slope_beyond_the_most():
    x = torch.zeros(500, 2)
    x[:5] = torch.tensor([1e6, 1.0])
    module = begun([Poisson()] * 2, x, d=1)
    assert (module.decoder.weight.abs() <= MOST_SLOPE * (1 + 1e-6)).all()


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_networks_of_ones_own_are_left_alone(part):
    own = {part: lambda *widths: torch.nn.Linear(*widths)}
    if part == "encoder":
        own = {part: lambda n, d: torch.nn.Linear(n, 2 * d)}
    module, x = build([Gaussian()] * 6, (8,), **own), standardised(correlated())
    before = copy.deepcopy(module.state_dict())
    start_from_pca(module, D, Cells(x, None), torch.zeros(6))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_wide_tables_draw_nothing_from_the_global_generators():
    x = torch.randn(600, 1200, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    one, other = (begun([Gaussian()] * 1200, x, d=2) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one.encoder.weight, other.encoder.weight)


@pytest.mark.parametrize("n_components", [2, 8])
def test_two_seeds_give_nearly_the_same_picture(n_components):
    """Procrustes disparity; .31 on average from random weights."""
    X = load_digits().data
    first, second = (
        InfoVAETransformer(n_components, random_state=seed).fit_transform(X) for seed in (0, 1)
    )
    assert procrustes(first, second)[2] < 0.1
    for one, other in zip(first.T[:2], second.T[:2], strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.9
