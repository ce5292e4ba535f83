"""Where the noise of a gaussian column comes from: learned, optimal or fixed; shared; own units."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from oracles import exact_linear_score
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import GridSearchCV
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae._training import net
from sk_infovae.divergences import SlicedWasserstein
from sk_infovae.likelihoods import Bernoulli, ColumnLikelihoods, Gaussian

SURE = 4.0
"""Standard errors that an estimate may be off."""

VARIANTS = {
    "calibrated": Gaussian(),
    "learned": Gaussian("learned"),
    "optimal": Gaussian("optimal"),
    "fixed": Gaussian(0.5),
    "calibrated shared": Gaussian(shared=True),
    "learned shared": Gaussian("learned", shared=True),
    "optimal shared": Gaussian("optimal", shared=True),
    "own units": Gaussian("learned", standardised=False),
    "calibrated own units": Gaussian(standardised=False),
    "optimal own units": Gaussian("optimal", standardised=False),
    "shared own units": Gaussian("optimal", shared=True, standardised=False),
    "fixed own units": Gaussian(0.5, standardised=False),
}
over_variants = pytest.mark.parametrize("likelihood", VARIANTS.values(), ids=VARIANTS.keys())


def small(n_components=2, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 8,
        "lr": 1e-2,
        "batch_size": 64,
        "n_importance_samples": 64,
        "random_state": 0,
    }
    return InfoVAETransformer(n_components, **(defaults | params))


@pytest.fixture(scope="module")
def X():
    """Five columns of wine whose own units are of one order, some cells of them missing."""
    X = load_wine().data[:, [0, 1, 2, 6, 9]]
    X = X - X.mean(0) + 0.5
    return np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.1, np.nan, X)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def batch(seed=0, n=50):
    """Cells, outputs and mask of three columns whose errors differ."""
    x = normal(n, 3, seed=seed)
    outputs = x + normal(n, 3, seed=seed + 1) * torch.tensor([0.1, 1.0, 7.0])
    return x, outputs, (normal(n, 3, seed=seed + 2) < 0.5).double()


def squared_errors(x, outputs, mask, shared):
    """Mean squared error of the observed cells, per column or of all."""
    cells = np.where(mask.numpy() > 0, (x - outputs).numpy() ** 2, np.nan)
    return np.full(3, np.nanmean(cells)) if shared else np.nanmean(cells, axis=0)


# The optimal scale of a batch


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_optimal_variance_is_the_mean_squared_error(shared, masked):
    likelihood = Gaussian("optimal", shared=shared)
    x, outputs, mask = batch()
    mask = mask if masked else torch.ones_like(mask)
    found = likelihood.closed_form_update(
        x, outputs, likelihood.init_parameters(3), mask if masked else None
    )
    variance = likelihood.noise_variance(found).expand(3)
    np.testing.assert_allclose(variance, squared_errors(x, outputs, mask, shared), rtol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_the_optimal_variance_maximises_the_likelihood(shared):
    """Of every parameter: the slope is 0, and a step to either side costs a second order."""
    likelihood = Gaussian("optimal", shared=shared)
    x, outputs, mask = batch()
    best = likelihood.closed_form_update(x, outputs, likelihood.init_parameters(3), mask)
    best = best["log_variance"].requires_grad_()
    top = likelihood.log_prob(x, outputs, {"log_variance": best}, mask).sum()
    (slope,) = torch.autograd.grad(top, best)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)
    for k in range(len(best)):
        for step in (-0.01, 0.01):
            moved = best.detach().clone()
            moved[k] += step
            there = likelihood.log_prob(x, outputs, {"log_variance": moved}, mask).sum()
            assert there < top - 1e-5


@pytest.mark.parametrize("shared", [False, True])
def test_training_follows_the_profile_likelihood(shared):
    """The gradient by outputs is that of -n/2 log(mean squared error), n cells that are there."""
    columns = ColumnLikelihoods([Gaussian("optimal", shared=shared)] * 3).double().train()
    x, outputs, mask = batch()
    outputs.requires_grad_()
    (found,) = torch.autograd.grad(columns.log_prob(x, outputs, mask).sum(), outputs)
    total, count = ((x - outputs).square() * mask).sum(0), mask.sum(0)
    if shared:
        total, count = total.sum(), count.sum()
    profile = -0.5 * (count * torch.log(total / count)).sum()
    (expected,) = torch.autograd.grad(profile, outputs)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert (found[mask == 0] == 0).all()
    cells = mask.sum().item()
    value = columns.log_prob(x, outputs, mask).sum().item()
    assert value == pytest.approx(profile.item() - cells / 2 * (1 + math.log(2 * math.pi)))


def test_outside_training_the_kept_variance_counts():
    """Validation and score measure a row whatever its company."""
    columns = ColumnLikelihoods([Gaussian("optimal"), Bernoulli(), Gaussian("optimal")]).double()
    order = [0, 2, 1]  # the decoder's outputs serve one block after the other

    def own_batch(seed):
        x, outputs, mask = batch(seed)
        x[:, 1] = (x[:, 1] > 0).double()
        return x, outputs[:, order], mask

    x, outputs, mask = own_batch(0)
    columns.eval().closed_form_update(x, outputs, mask)
    kept = columns.noise_variance().clone()
    expected = squared_errors(x, outputs[:, order], mask, shared=False)
    np.testing.assert_allclose(kept[[0, 2]], expected[[0, 2]], rtol=1e-12)
    assert kept[1].isnan()
    on_refitted = columns.log_prob(x, outputs, mask)
    torch.testing.assert_close(on_refitted, columns.train().log_prob(x, outputs, mask))
    other = own_batch(9)
    alone = torch.cat([columns.eval().log_prob(*(part[[i]] for part in other)) for i in range(50)])
    torch.testing.assert_close(columns.log_prob(*other), alone)
    assert not torch.allclose(columns.train().log_prob(*other), alone, rtol=1e-2)
    assert torch.equal(columns.noise_variance()[[0, 2]], kept[[0, 2]])


@pytest.mark.parametrize("shared", [False, True])
def test_a_perfect_batch_stops_at_the_floor(shared):
    """And so does a column without a single cell."""
    likelihood = Gaussian("optimal", shared=shared, floor=0.01)
    x, _, mask = batch()
    mask[:, 1] = 0
    best = likelihood.closed_form_update(x, x, likelihood.init_parameters(3), mask)
    variance = likelihood.noise_variance(best)
    torch.testing.assert_close(variance, torch.full_like(variance, 0.01), rtol=2e-3, atol=0)
    assert likelihood.log_prob(x, x, best, mask).isfinite().all()


# The optimal scale of a fit


def errors_of_training_rows(vae, X, n_tables=40):
    """Mean squared error per column, units of X squared, for several draws of the codes."""
    rng = np.random.default_rng(0)
    mean, std = vae.posterior(X)
    tables = []
    for _ in range(n_tables):
        x = vae.inverse_transform(mean + std * rng.normal(size=mean.shape))
        tables.append(np.nanmean((X - x) ** 2, axis=0))
    return np.mean(tables, axis=0), np.std(tables, axis=0, ddof=1) * math.sqrt(1 + 1 / n_tables)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("standardised", [False, True])
def test_after_fit_it_is_the_mean_squared_error_of_the_training_rows(
    X, early_stopping, standardised
):
    """Also where an earlier epoch, the best on rows that look otherwise, was restored."""
    vae = small(
        likelihood=Gaussian("optimal", standardised=standardised),
        early_stopping=early_stopping,
        max_epochs=60,
        lr=3e-2,
        n_iter_no_change=5,
    )
    vae.fit(X, X_val=1.3 * X[:60] if early_stopping else None)
    if early_stopping:
        losses = [epoch["valid_loss"] for epoch in vae.history_]
        assert np.argmin(losses) < len(losses) - 1
    mean, error = errors_of_training_rows(vae, X)
    assert (np.abs(vae.noise_variance_ - mean) < SURE * error).all()
    assert (error < 0.2 * mean).all()


def test_of_many_training_rows_some_spread_over_the_table_count(monkeypatch, X):
    monkeypatch.setattr(net, "REFIT_ROWS", 60)
    vae = small(likelihood=Gaussian("optimal"), early_stopping=False).fit(X)
    chosen = X[np.linspace(0, len(X) - 1, 60).astype(int)]
    mean, error = errors_of_training_rows(vae, chosen)
    assert (np.abs(vae.noise_variance_ - mean) < SURE * error).all()


class DropoutDecoder(nn.Sequential):
    def __init__(self, n_components, n_outputs):
        super().__init__(nn.Dropout(0.5), nn.Linear(n_components, n_outputs))


def test_it_is_measured_without_dropout(X):
    """As everything else that a fitted model says."""
    params = {"alpha": 0.9, "decoder": DropoutDecoder, "max_epochs": 60, "lr": 3e-2}
    vae = small(likelihood=Gaussian("optimal"), early_stopping=False, **params).fit(X)
    mean, error = errors_of_training_rows(vae, X)
    assert (np.abs(vae.noise_variance_ - mean) < SURE * error).all()


@pytest.mark.parametrize("scale", ["learned", "optimal"])
@pytest.mark.parametrize("n_components", [1, 2])
def test_linear_networks_find_the_noise_of_factor_analysis(scale, n_components):
    """A variance by n squared errors has the relative error sqrt(2 / n), from rows and draws."""
    rng = np.random.default_rng(0)
    weights = np.kron(np.eye(2), np.linspace(0.7, 1.3, 5))[:n_components, : 5 * n_components]
    noise = np.tile([0.5, 1.0, 0.7, 0.6, 0.8], n_components)
    Z = rng.normal(size=(2000, n_components))
    X = 3 + Z @ weights + noise * rng.normal(size=(2000, len(noise)))
    oracle = FactorAnalysis(n_components, tol=1e-6, max_iter=5000, svd_method="lapack").fit(X)
    vae = small(
        n_components,
        alpha=0,
        lambd=1,
        divergence=SlicedWasserstein(1),  # of weight 0, and quick
        likelihood=Gaussian(scale),
        hidden_layer_sizes=(),
        max_epochs=200,
        lr=3e-2,
        batch_size=500,
        early_stopping=False,
    ).fit(X)
    bound = SURE * math.sqrt(2 / 2000)
    np.testing.assert_allclose(vae.noise_variance_, oracle.noise_variance_, rtol=bound)
    assert vae.score(X) == pytest.approx(oracle.score(X), abs=0.02)


# Fixed, shared, in own units


def column_variance(X):
    return np.nanvar(X, axis=0)


@pytest.mark.parametrize("standardised", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("scale", [0.01, 0.5, 3, np.float64(0.2), np.float32(0.2)])
def test_a_fixed_scale_stays(X, scale, shared, standardised):
    """In float32; weight decay moves it no more than gradients do."""
    likelihood = Gaussian(scale, shared=shared, standardised=standardised)
    decay = {"optimizer__weight_decay": 0.5}
    brief, long = (
        small(likelihood=likelihood, max_epochs=n, net_params=decay).fit(X) for n in (1, 4)
    )
    expected = float(scale) ** 2 * (column_variance(X) if standardised else np.ones(5))
    np.testing.assert_allclose(brief.noise_variance_, expected, rtol=1e-6)
    np.testing.assert_array_equal(long.noise_variance_, brief.noise_variance_)
    assert not np.array_equal(long.transform(X), brief.transform(X))


@pytest.mark.parametrize("scale", ["learned", "optimal"])
def test_a_shared_noise_is_one_number_in_the_models_units(X, scale):
    vae = small(likelihood=Gaussian(scale, shared=True)).fit(X)
    ratios = vae.noise_variance_ / column_variance(X)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
    assert abs(ratios[0] - 1) > 0.01
    vae = small(likelihood=Gaussian(scale, shared=True, standardised=False)).fit(X)
    np.testing.assert_allclose(vae.noise_variance_, vae.noise_variance_[0], rtol=1e-6)
    apart = small(likelihood=Gaussian(scale)).fit(X).noise_variance_ / column_variance(X)
    assert np.ptp(apart) > 0.01


def test_noise_is_shared_within_equal_likelihoods_only(X):
    """Columns of other likelihoods keep their own."""
    one, other = Gaussian("optimal", shared=True), Gaussian("optimal", shared=True, floor=1e-3)
    vae = small(likelihood={0: one, 1: one, 2: other, 3: other, 4: Gaussian(0.5)}).fit(X)
    ratios = vae.noise_variance_ / column_variance(X)
    np.testing.assert_allclose(ratios[[0, 2]], ratios[[1, 3]], rtol=1e-6)
    assert ratios[4] == pytest.approx(0.25, rel=1e-6)
    assert abs(ratios[0] - ratios[2]) > 1e-4


@over_variants
def test_everything_is_in_units_of_X(X, likelihood):
    """Of a linear network: the score is that of its exact law with the noise it reports."""
    vae = small(likelihood=likelihood, hidden_layer_sizes=(), max_epochs=40, lr=2e-2)
    vae.set_params(n_importance_samples=512).fit(X)
    scores, exact = vae.score_samples(X), exact_linear_score(vae, X)
    assert np.abs(scores - exact).mean() < 0.02
    guess = vae.inverse_transform(vae.transform(X))
    assert (np.nanmean((X - guess) ** 2, axis=0) < 1.2 * column_variance(X)).all()
    shown = vae.sample(2000, random_state=0)
    assert (np.abs(shown.mean(0) - np.nanmean(X, 0)) < np.nanstd(X, 0)).all()
    assert np.isfinite(vae.information(X).elbo)


def test_columns_in_own_units_are_left_as_they_are(X):
    vae = small(likelihood=Gaussian(standardised=False)).fit(X)
    Z = vae.transform(X)
    with torch.no_grad():
        outputs = vae.module_.decoder(torch.from_numpy(Z)).numpy()
    np.testing.assert_array_equal(vae.inverse_transform(Z), outputs)


# The object and the estimator


@over_variants
def test_pickles_and_clones_agree_to_the_bit(X, likelihood):
    vae = small(likelihood=likelihood, max_epochs=3).fit(X)
    for other in (pickle.loads(pickle.dumps(vae)), clone(vae).fit(X)):
        np.testing.assert_array_equal(other.noise_variance_, vae.noise_variance_)
        np.testing.assert_array_equal(other.score_samples(X), vae.score_samples(X))
        np.testing.assert_array_equal(other.sample(5, 1), vae.sample(5, 1))


@over_variants
def test_training_goes_on(X, likelihood):
    """Two warm fits from a pickle are those without it, and the noise moves with them."""
    vae = small(likelihood=likelihood, max_epochs=3, warm_start=True).fit(X)
    before = vae.noise_variance_
    copy = pickle.loads(pickle.dumps(vae)).fit(X).partial_fit(X)
    vae.fit(X).partial_fit(X)
    np.testing.assert_array_equal(copy.noise_variance_, vae.noise_variance_)
    assert np.array_equal(before, vae.noise_variance_) == (likelihood.scale == 0.5)


def test_histories_differ(X):
    histories = {
        name: [epoch["reconstruction"] for epoch in small(likelihood=likelihood).fit(X).history_]
        for name, likelihood in VARIANTS.items()
    }
    calibrated = [name for name in VARIANTS if name.startswith("calibrated")]
    # They train as one learned noise for all columns does.
    assert histories["calibrated"] == histories["calibrated shared"] == histories["learned shared"]
    assert len({tuple(h) for h in histories.values()}) == len(VARIANTS) - 2
    assert len(calibrated) == 3
    # The best noise for every batch beats a learned one that starts at the columns' own spread.
    assert histories["optimal"][-1] > histories["learned"][-1]


def test_a_search_reaches_the_scale(X):
    vae = small(likelihood=Gaussian(), max_epochs=10)
    scales = ["calibrated", "learned", "optimal", 0.05, 0.7]
    grid = {"likelihood__scale": scales, "likelihood__shared": [False]}
    search = GridSearchCV(vae, grid, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert scores[3] < scores[[0, 1, 2, 4]].min()  # noise of a twentieth promises far too much
    assert search.best_estimator_.likelihood == Gaussian(search.best_params_["likelihood__scale"])
    assert vae.likelihood == Gaussian()


def test_a_change_of_scale_needs_a_new_fit(X):
    vae = small(likelihood=Gaussian("optimal"), warm_start=True, max_epochs=2).fit(X)
    with pytest.raises(ValueError, match="change of likelihood"):
        vae.set_params(likelihood=Gaussian(0.5)).fit(X)


def test_a_parameter_set_after_fit_changes_no_fitted_model(X):
    vae = small(likelihood=Gaussian("optimal"), max_epochs=2, warm_start=True).fit(X)
    before = vae.score_samples(X)
    vae.set_params(likelihood__scale=0.5)
    np.testing.assert_array_equal(vae.score_samples(X), before)
    with pytest.raises(ValueError, match="change of likelihood"):
        vae.fit(X)


@pytest.mark.parametrize("scale", ["best", "0.5", "", 0, 0.0, -1.0, math.nan, math.inf, None])
def test_a_bad_scale_is_refused(X, scale):
    vae = small(likelihood=Gaussian(scale))
    with pytest.raises(ValueError, match=r"'learned'.*'optimal'.*positive number.*got scale="):
        vae.fit(X)
    assert not hasattr(vae, "net_")


def test_no_variant_warns(X):
    for likelihood in VARIANTS.values():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isfinite(small(likelihood=likelihood).fit(X).score(X))
