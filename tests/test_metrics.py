"""The scorers of `sk_infovae.metrics`: what they are in closed form, and what they take."""

import copy
import dataclasses
import inspect
import math
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from gaussian_codes import exact_mmd
from oracles import exact_linear_score
from scipy import sparse, stats
from sklearn import manifold
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae._inference import information, table_model
from sk_infovae.divergences import MMD
from sk_infovae.likelihoods import Gaussian
from sk_infovae.model_selection import InfoVAEGridSearchCV

SURE = 4.0
"""Standard errors that an estimate may be off: one run in 16,000."""

METRICS = {name: getattr(metrics, name) for name in metrics.__all__}
DRAWN = ("elbo", "mutual_information")
"""Metrics with noise of their own: a row's draws depend on its place."""

X, Y = load_wine(return_X_y=True)
HOLES = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.15, np.nan, X)

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def small(n_components=2, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 10,
        "lr": 1e-2,
        "batch_size": 32,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    return InfoVAETransformer(n_components, **(defaults | params))


def linear(data, encoder, bias, log_variance, decoder, decoder_bias=0.0, **params):
    """A model fitted to data for its scaling, with linear networks of the weights given.

    q(z|x) = N(A x + b, V) and p(x|z) has the mean (or log-odds) W z + c, in standardised x.
    """
    encoder = torch.as_tensor(np.atleast_2d(encoder))
    settings = {"hidden_layer_sizes": (), "max_epochs": 1, "n_importance_samples": 512}
    vae = small(len(encoder), **(settings | params)).fit(data)
    with torch.no_grad():
        vae.module_.encoder[0].weight.copy_(torch.cat([encoder, 0 * encoder]))
        both = np.concatenate([np.broadcast_to(b, len(encoder)) for b in (bias, log_variance)])
        vae.module_.encoder[0].bias.copy_(torch.as_tensor(both))
        vae.module_.decoder.weight.copy_(torch.as_tensor(decoder))
        vae.module_.decoder.bias[:] = torch.as_tensor(decoder_bias)
    return vae


def with_seed(vae, seed):
    """The same fitted model with other draws."""
    vae = copy.copy(vae)
    vae._layout = dataclasses.replace(vae._layout, seed=seed)
    return vae


def over_seeds(metric, vae, data, n=20):
    """Mean over n seeds of the draws, its standard error, and the spread of one value."""
    values = np.array([metric(with_seed(vae, seed), data) for seed in range(n)])
    spread = values.std(ddof=1)
    return values.mean(), spread / math.sqrt(n), spread


def mixed_frame(n=200):
    """Floats, integers and booleans that hang together, with holes where pandas has them."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=n)
    floats = 100 + 20 * (z + 0.3 * rng.normal(size=n))
    return pd.DataFrame(
        {
            "float": np.where(rng.uniform(size=n) < 0.2, np.nan, floats),
            "int": np.rint(3 * z + rng.normal(size=n)).astype(np.int32),
            "bool": z + 0.3 * rng.normal(size=n) > 0.5,
            "rare": rng.uniform(size=n) < 0.05,
        }
    )


@pytest.fixture(scope="module")
def fitted():
    return small().fit(HOLES)


@pytest.fixture(scope="module")
def frame():
    return mixed_frame()


@pytest.fixture(scope="module")
def of_frame(frame):
    return small(1, max_epochs=30).fit(frame[:150])


# The form


def test_names_are_sorted_and_all_there():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert set(METRICS) == {
        *("log_likelihood", "elbo", "neg_reconstruction_error", "reconstruction_r2"),
        *("mutual_information", "neg_mmd", "active_units", "trustworthiness"),
    }


@every_metric
def test_a_metric_is_a_function_that_can_be_sent_to_workers(metric, fitted):
    assert list(inspect.signature(metric).parameters) == ["estimator", "X", "y"]
    assert pickle.loads(pickle.dumps(metric)) is metric
    value = metric(fitted, HOLES)
    assert type(value) is float
    assert math.isfinite(value)
    assert value == metric(fitted, HOLES, Y)


@every_metric
def test_same_value_at_every_call_and_nothing_moves(metric, fitted):
    before = np.random.get_state()[1:], torch.get_rng_state()  # noqa: NPY002
    weights = {key: value.clone() for key, value in fitted.module_.state_dict().items()}
    data = HOLES.copy()
    value = metric(fitted, data)
    assert value == metric(fitted, data) == metric(pickle.loads(pickle.dumps(fitted)), data)
    np.testing.assert_equal(np.random.get_state()[1:], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    np.testing.assert_array_equal(data, HOLES)
    for key, kept in fitted.module_.state_dict().items():
        assert torch.equal(kept, weights[key])
        assert kept.dtype == weights[key].dtype


@every_metric
def test_order_of_the_rows_changes_nothing(metric, fitted):
    """But the noise of the two that draw."""
    order = np.random.default_rng(2).permutation(len(HOLES))
    off = abs(metric(fitted, HOLES[order]) - metric(fitted, HOLES))
    if metric.__name__ in DRAWN:
        assert off < SURE * math.sqrt(2) * over_seeds(metric, fitted, HOLES)[2]
    else:
        assert off < 1e-5


@every_metric
def test_tables_of_every_kind_agree(metric):
    data = np.where(np.median(X, axis=0) < X, X, 0.0)
    data[0] = -1.0  # a column without negative numbers comes back without any in a DataFrame
    value = metric(small().fit(data), data)
    names = [f"c{j}" for j in range(13)]
    for table in (pd.DataFrame(data, columns=names), pl.DataFrame(data, schema=names)):
        assert metric(small().fit(table), table) == value
    vae = small().fit(sparse.csr_matrix(data))
    as_csr = metric(vae, sparse.csr_matrix(data))
    assert as_csr == pytest.approx(metric(vae, data), rel=1e-6)
    assert metric(small().set_output(transform="pandas").fit(data), data) == value


@every_metric
def test_one_column_and_a_table_of_missing_cells_in_part(metric):
    data = X[:, :1].copy()
    data[::7] = np.nan
    assert math.isfinite(metric(small(1).fit(data), data))


# Pipelines and searches


@every_metric
def test_pipelines_and_searches_are_their_vae_on_what_reaches_it(metric):
    scale, new = make_pipeline(StandardScaler(), PCA(5)).fit(X), small(3, max_epochs=3)
    vae = clone(new).fit(scale.transform(X))
    expected = metric(vae, scale.transform(X))
    piped = Pipeline([*scale.steps, ("vae", new)])
    shapes = [
        piped,
        make_pipeline(scale, new),
        Pipeline([*piped.steps, ("end", LogisticRegression())]),
        Pipeline([*piped.steps, ("pass", "passthrough"), ("z", StandardScaler())]),
        make_pipeline(StandardScaler(), make_pipeline(PCA(5), new), StandardScaler()),
        GridSearchCV(piped, {"vae__alpha": [0.5]}, cv=KFold(2), scoring=metric),
    ]
    for estimator in shapes:
        estimator.fit(X, Y)
        assert metric(estimator, X, Y) == pytest.approx(expected, rel=1e-9)
    assert metric(make_pipeline(new).fit(X), X) == metric(clone(new).fit(X), X)


@every_metric
def test_steps_before_may_take_what_the_vae_would_refuse(metric):
    """Text becomes numbers on the way."""
    text = pd.DataFrame({"a": [str(x) for x in X[:, 0]], "b": [str(x) for x in X[:, 6]]})
    to_numbers = FunctionTransformer(lambda frame: frame.astype(float))
    estimator = make_pipeline(to_numbers, small(1)).fit(text)
    assert metric(estimator, text) == metric(estimator[-1], text.astype(float))


@pytest.mark.parametrize(
    ("estimator", "received"),
    [
        (PCA(2), "got PCA"),
        (make_pipeline(StandardScaler(), PCA(2)), "got Pipeline of StandardScaler, PCA"),
        (make_pipeline(small(2), small(1)), "InfoVAETransformer, InfoVAETransformer"),
        (make_pipeline(make_pipeline(small(2), small(1))), "got Pipeline of Pipeline"),
        (GridSearchCV(PCA(2), {"whiten": [True]}, cv=2), "got PCA"),
        (GridSearchCV(small(), {"alpha": [0]}, cv=2, refit=False), "got GridSearchCV"),
    ],
    ids=["no vae", "none inside", "two", "two inside one", "search of others", "no refit"],
)
@every_metric
def test_what_has_no_vae_inside_is_refused(metric, estimator, received):
    rule = f"exactly one as a step.*{received}.*Make the transformer a step"
    with pytest.raises(TypeError, match=rule):
        metric(clone(estimator).fit(X), X)


@every_metric
def test_unfitted_is_refused(metric):
    for estimator in (small(), make_pipeline(StandardScaler(), small())):
        with pytest.raises(NotFittedError):
            metric(estimator, X)


@every_metric
def test_cross_val_score(metric):
    values = cross_val_score(small(max_epochs=2), HOLES, cv=KFold(2), scoring=metric)
    for value, (train, test) in zip(values, KFold(2).split(HOLES), strict=True):
        assert value == metric(small(max_epochs=2).fit(HOLES[train]), HOLES[test])


def test_all_of_them_in_one_search_of_either_kind():
    estimator = make_pipeline(StandardScaler(), small(max_epochs=3, early_stopping=False))
    grid = {"infovaetransformer__alpha": [0.0, 0.9], "infovaetransformer__lambd": [1.0, 100.0]}
    found = [
        search(estimator, grid, cv=KFold(2), scoring=METRICS, refit="log_likelihood").fit(HOLES)
        for search in (GridSearchCV, InfoVAEGridSearchCV)
    ]
    for name in METRICS:
        theirs, ours = (search.cv_results_[f"mean_test_{name}"] for search in found)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    for name, metric in METRICS.items():
        assert metric(found[0], HOLES) == pytest.approx(metric(found[1], HOLES), rel=1e-3), name


# Against closed forms: a linear encoder and decoder, gaussian noise


@pytest.fixture(scope="module")
def gaussian_world():
    """Rows x ~ N(0, S), standardised, and a vae that is a bad model of them on purpose."""
    rng = np.random.default_rng(3)
    root = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0.0, 0.6, 0.8]])
    data = rng.normal(size=(600, 3)) @ root.T
    A = np.array([[0.5, 0.2, 0.0], [0.0, 0.3, -0.4]])
    W = np.array([[0.9, 0.1], [0.5, 0.5], [0.0, -0.7]])
    b, log_variance = np.array([0.3, -0.2]), np.array([-1.0, -0.5])
    vae = linear(data, A, b, log_variance, W, 0.1, n_importance_samples=4096)
    return vae, data, (data - data.mean(0)) / data.std(0), A, b, np.exp(log_variance), W


def test_log_likelihood_is_the_score_and_that_of_the_exact_gaussian(gaussian_world, fitted):
    vae, data, *_ = gaussian_world
    exact = exact_linear_score(vae, data).mean()
    assert metrics.log_likelihood(vae, data) == pytest.approx(exact, abs=0.01)
    assert metrics.log_likelihood(fitted, HOLES) == fitted.score(HOLES)


def test_elbo_is_reconstruction_less_kl_in_closed_form(gaussian_world):
    vae, data, x, A, b, V, W = gaussian_world
    mean, noise = x @ A.T + b, vae.noise_variance_ / data.var(0)
    density = stats.norm.logpdf(x, mean @ W.T + 0.1, np.sqrt(noise)).sum(1)
    spread = 0.5 * (W**2 * V / noise[:, None]).sum()
    kl = 0.5 * (mean**2 + V - np.log(V) - 1).sum(1)
    exact = (density - spread - kl).mean() - np.log(data.std(0)).sum()
    found, error, _ = over_seeds(metrics.elbo, vae, data)
    assert error < 0.05
    assert abs(found - exact) < SURE * error
    assert found < metrics.log_likelihood(vae, data)


def test_mutual_information_of_a_linear_encoder(gaussian_world):
    """I = 1/2 log det(A S A' + V) / det V, but for the table's own noise and log(1 + chi^2 / n)."""
    vae, data, x, A, _, V, _ = gaussian_world
    covariance = A @ np.cov(x.T) @ A.T + np.diag(V)
    exact = 0.5 * (np.linalg.slogdet(covariance)[1] - np.log(V).sum())
    report = vae.information(data)
    found, _, _ = over_seeds(metrics.mutual_information, vae, data)
    bias = math.log(1 + (math.exp(2 * exact) - 1) / len(data))
    assert 0.2 < exact < math.log(len(data)) / 2
    assert abs(found - exact) < bias + SURE * report.mutual_information_error


def test_neg_mmd_is_minus_that_of_the_mixture(gaussian_world):
    """E k(z_i, z_j) over i != j, less twice E k(z_i, p), plus E k(p, p), in numpy."""
    vae, data, x, A, b, V, _ = gaussian_world
    mean, (s2, d) = x @ A.T + b, (2, 2)
    squares = (mean[:, None] - mean[None]) ** 2
    qq = np.prod(np.sqrt(s2 / (s2 + 2 * V)) * np.exp(-squares / (2 * (s2 + 2 * V))), axis=-1)
    qp = np.prod(np.sqrt(s2 / (s2 + 1 + V)) * np.exp(-(mean**2) / (2 * (s2 + 1 + V))), axis=-1)
    n = len(data)
    off_diagonal = (qq.sum() - np.trace(qq)) / (n * (n - 1))
    exact = off_diagonal - 2 * qp.mean() + (s2 / (s2 + 2)) ** (d / 2)
    assert metrics.neg_mmd(vae, data) == pytest.approx(-exact, abs=1e-6)
    population = exact_mmd(MMD(), b, A @ np.cov(x.T) @ A.T + np.diag(V))
    assert exact == pytest.approx(population, abs=0.01)
    assert exact > 0.02


def test_neg_mmd_is_what_many_draws_have(fitted):
    mean, std = (torch.as_tensor(part).double() for part in fitted.posterior(HOLES))
    values = []
    for seed in range(200):
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)).double()
        codes = information.Codes(mean + std * noise, None, noise)
        values.append(MMD()(codes).item())
    error = np.std(values, ddof=1) / math.sqrt(200)
    assert abs(metrics.neg_mmd(fitted, HOLES) + np.mean(values)) < SURE * error


def test_neg_mmd_does_not_depend_on_the_divergence_of_the_fit(gaussian_world):
    vae, data, *_ = gaussian_world
    value = metrics.neg_mmd(vae, data)
    for divergence in (MMD(bandwidth=100.0), MMD("imq"), "kl", "adversarial"):
        other = small(divergence=divergence, hidden_layer_sizes=(), max_epochs=1).fit(data)
        other.module_.load_state_dict(vae.module_.state_dict())
        assert metrics.neg_mmd(other, data) == pytest.approx(value, abs=1e-9)


def test_a_code_that_is_the_prior_says_nothing():
    """q(z|x) = N(0, I) for every x."""
    vae = linear(X, np.zeros((3, 13)), 0.0, 0.0, np.zeros((13, 3)))
    assert metrics.active_units(vae, X) == 0
    assert metrics.mutual_information(vae, X) == pytest.approx(0, abs=1e-9)
    assert metrics.neg_mmd(vae, X) == pytest.approx(0, abs=1e-9)
    assert metrics.elbo(vae, X) == pytest.approx(metrics.log_likelihood(vae, X), abs=0.01)
    assert metrics.reconstruction_r2(vae, X) == pytest.approx(0, abs=1e-6)
    assert metrics.neg_reconstruction_error(vae, X) == pytest.approx(-1, abs=1e-6)


def test_a_code_that_names_the_row_reaches_the_caps():
    """q(z|x) = N(x, tiny) and x = z: all 13 dimensions of it."""
    vae = linear(X, np.eye(13), 0.0, -20.0, np.eye(13))
    assert metrics.mutual_information(vae, X) == pytest.approx(math.log(178), rel=1e-9)
    assert metrics.active_units(vae, X) == 13
    assert metrics.reconstruction_r2(vae, X) == pytest.approx(1, abs=1e-9)
    assert metrics.neg_reconstruction_error(vae, X) == pytest.approx(0, abs=1e-5)
    assert metrics.trustworthiness(vae, X) == pytest.approx(1, abs=1e-4)


def test_active_units_are_counted_by_the_variance_of_the_means():
    """Standardised columns times 0.09, 0.11 and 1: variances 0.0081, 0.0121 and 1."""
    encoder = np.diag([0.09, 0.11, 1.0])
    vae = linear(X[:, :3], encoder, 5.0, 1.0, np.eye(3))
    assert metrics.active_units(vae, X[:, :3]) == 2


# Against `information`


@pytest.mark.parametrize("params", [{}, {"alpha": 1, "n_components": 5}, {"divergence": "kl"}])
def test_terms_are_those_of_information(params):
    vae = small(**params).fit(HOLES)
    report = vae.information(HOLES)
    assert metrics.elbo(vae, HOLES) == pytest.approx(report.elbo, rel=1e-12)
    found = metrics.mutual_information(vae, HOLES)
    assert found == pytest.approx(report.mutual_information, rel=1e-12)
    assert metrics.active_units(vae, HOLES) == report.active_units
    assert found <= report.mutual_information_cap


def test_large_tables_are_thinned_out_as_by_information(monkeypatch, fitted):
    whole = {name: METRICS[name](fitted, HOLES) for name in ("elbo", "neg_mmd")}
    for module in (metrics, table_model):
        monkeypatch.setattr(module, "MOST_ROWS", 100)
    report = fitted.information(HOLES)
    assert metrics.elbo(fitted, HOLES) == pytest.approx(report.elbo, rel=1e-12)
    found = metrics.mutual_information(fitted, HOLES)
    assert found == pytest.approx(report.mutual_information, rel=1e-12)
    assert found < math.log(100)
    for name, value in whole.items():
        assert METRICS[name](fitted, HOLES) != value


def test_neg_mmd_in_blocks_has_the_same_mean(monkeypatch, gaussian_world):
    vae, data, *_ = gaussian_world
    whole = metrics.neg_mmd(vae, data)
    monkeypatch.setattr(information, "PAIR_CELLS", 2 * 100**2)
    found, error, _ = over_seeds(metrics.neg_mmd, vae, data, n=50)
    assert 0 < error < 0.01
    assert abs(found - whole) < SURE * error


# Reconstruction


def by_hand(vae, table):
    """Observed cells and what they come back as, column by column."""
    back = vae.inverse_transform(vae.transform(table))
    table, back = (np.asarray(one, dtype=float) for one in (table, back))
    seen = ~np.isnan(table)
    return [(a[s], b[s]) for a, b, s in zip(table.T, back.T, seen.T, strict=True)]


def test_error_of_numbers_is_in_training_deviations(fitted):
    """Also where the rows scored vary less than those of the fit."""
    few = HOLES[np.nan_to_num(HOLES[:, 0], nan=13) > 13]
    scale = np.nanstd(HOLES, axis=0)
    errors = [math.sqrt(((a - b) ** 2).mean()) for a, b in by_hand(fitted, few)]
    found = metrics.neg_reconstruction_error(fitted, few)
    assert found == pytest.approx(-np.mean(errors / scale), rel=1e-9)


def test_error_of_mixed_columns(frame, of_frame):
    """Numbers by RMSE over the deviation, booleans by the part that comes back wrong."""
    held = frame[150:]
    pairs = by_hand(of_frame, held)
    scale = [np.nanstd(frame[:150][name]) for name in ("float", "int")]
    numbers = [
        math.sqrt(((a - b) ** 2).mean()) / s for (a, b), s in zip(pairs, scale, strict=False)
    ]
    levels = [(a != b).mean() for a, b in pairs[2:]]
    assert min(numbers) > 0.1
    assert 0 < min(levels) < max(levels) < 0.3
    found = metrics.neg_reconstruction_error(of_frame, held)
    assert found == pytest.approx(-np.mean(numbers + levels), rel=1e-9)


def test_units_change_neither_error_nor_r2(fitted):
    scaled = small().fit(1024 * HOLES)
    for metric in (metrics.neg_reconstruction_error, metrics.reconstruction_r2):
        assert metric(scaled, 1024 * HOLES) == pytest.approx(metric(fitted, HOLES), rel=1e-9)


def test_numbers_that_are_not_standardised_count_in_their_own_units():
    data = X / X.max(axis=0)
    vae = small(likelihood=Gaussian(standardised=False)).fit(data)
    errors = [math.sqrt(((a - b) ** 2).mean()) for a, b in by_hand(vae, data)]
    assert metrics.neg_reconstruction_error(vae, data) == pytest.approx(-np.mean(errors), rel=1e-9)


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_r2_is_sklearns_of_what_comes_back(container):
    data = container(X)
    vae = small(3).fit(data)
    back = vae.inverse_transform(vae.transform(data))
    expected = r2_score(data, back)
    assert 0.2 < expected < 0.9
    assert metrics.reconstruction_r2(vae, data) == pytest.approx(expected, rel=1e-9)


def test_r2_of_mixed_columns_and_holes(frame, of_frame):
    """Booleans as 0 and 1; each column over its own observed cells."""
    held = frame[150:]
    parts = [r2_score(a, b) for a, b in by_hand(of_frame, held)]
    assert metrics.reconstruction_r2(of_frame, held) == pytest.approx(np.mean(parts), rel=1e-9)


def test_r2_of_constant_columns_is_sklearns():
    """1 where it comes back exactly (an integer, rounded), 0 where it does not."""
    data = pd.DataFrame({"x": X[:, 0], "int": 7, "float": 0.1})
    vae = linear(data, [[1.0, 0, 0]], 0.0, -3.0, [[1.0], [0.1], [0.1]], 0.01)
    back = vae.inverse_transform(vae.transform(data))
    assert (back["int"] == 7).all()
    assert (back["float"] != 0.1).all()
    expected = (r2_score(data["x"], back["x"]) + 1 + 0) / 3
    assert metrics.reconstruction_r2(vae, data) == pytest.approx(expected, rel=1e-9)


def test_perfect_reconstruction_is_0_and_1_exactly():
    """Integers that are rounded, and booleans by the sign of their log-odds."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"int": rng.integers(-50, 50, 80), "bool": rng.uniform(size=80) < 0.3})
    vae = linear(data, np.eye(2), 0.0, -5.0, [[1.0, 0.0], [0.0, 2.0]], [0.0, -1.0])
    assert metrics.neg_reconstruction_error(vae, data) == 0
    assert metrics.reconstruction_r2(vae, data) == 1
    as_polars = pl.from_pandas(data)
    vae = linear(as_polars, np.eye(2), 0.0, -5.0, [[1.0, 0.0], [0.0, 2.0]], [0.0, -1.0])
    assert metrics.neg_reconstruction_error(vae, as_polars) == 0


def test_booleans_of_an_array():
    flags = np.random.default_rng(5).uniform(size=(90, 4)) < 0.4
    vae = small().fit(flags)
    back = vae.inverse_transform(vae.transform(flags))
    wrong = (flags != back).mean()
    assert 0 < wrong < 1
    assert metrics.neg_reconstruction_error(vae, flags) == pytest.approx(-wrong, rel=1e-9)
    expected = r2_score(flags.astype(float), back)
    assert metrics.reconstruction_r2(vae, flags) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def mixed():
    """A number, a category with holes and an ordered category, and a model of them."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=120)
    city = np.where(x + 0.3 * rng.normal(size=120) > 0, "Oslo", "Rome").astype(object)
    city[::7] = None
    grade = pd.Categorical.from_codes(np.digitize(x, [-0.5, 0.5]), ["c", "b", "a"], ordered=True)
    data = pd.DataFrame({"x": x, "city": city, "grade": grade})
    return small(2, max_epochs=20, likelihood={"grade": "ordinal"}).fit(data), data


def test_categories_are_right_or_wrong_and_have_no_r2(mixed):
    vae, data = mixed
    back = vae.inverse_transform(vae.transform(data))
    seen = data["city"].notna()
    wrong = (back["city"] != data["city"])[seen].mean(), (back["grade"] != data["grade"]).mean()
    assert 0 < wrong[0] < 1
    off = math.sqrt(np.square(back["x"] - data["x"]).mean()) / data["x"].std(ddof=0)
    found = metrics.neg_reconstruction_error(vae, data)
    assert found == pytest.approx(-np.mean([off, *wrong]), rel=1e-9)
    expected = r2_score(data["x"], back["x"])
    assert metrics.reconstruction_r2(vae, data) == pytest.approx(expected, rel=1e-9)


def test_two_levels_are_1_apart_for_neighbours(mixed):
    vae, data = mixed
    x = standardised(data[["x"]].to_numpy(), data[["x"]].to_numpy())
    levels = [
        # The most frequent level stands for a missing one: code 0.
        data["city"].fillna(data["city"].mode()[0]).to_numpy()[:, None] == ["Oslo", "Rome"],
        data["grade"].to_numpy()[:, None] == ["a", "b", "c"],
    ]
    cells = np.hstack([x, *(one / np.sqrt(2) for one in levels)])
    expected = manifold.trustworthiness(cells, vae.transform(data), n_neighbors=5)
    assert metrics.trustworthiness(vae, data) == pytest.approx(expected, rel=1e-9)


def test_columns_without_cells_are_left_out(fitted):
    few = HOLES[:40].copy()
    few[:, 2] = np.nan
    few[1:, 5], few[0, 5] = np.nan, 100.0
    few[2:, 7], few[:2, 7] = np.nan, [0.1, 0.4]
    pairs, scale = by_hand(fitted, few), np.nanstd(HOLES, axis=0)
    kept = [j for j in range(13) if j != 2]
    errors = [math.sqrt(np.square(np.subtract(*pairs[j])).mean()) / scale[j] for j in kept]
    found = metrics.neg_reconstruction_error(fitted, few)
    assert found == pytest.approx(-np.mean(errors), rel=1e-9)
    parts = [r2_score(*pairs[j]) for j in kept if j != 5]
    assert metrics.reconstruction_r2(fitted, few) == pytest.approx(np.mean(parts), rel=1e-9)


def test_nothing_to_compare_is_an_error(fitted):
    empty = np.full((5, 13), np.nan)
    for metric in (metrics.neg_reconstruction_error, metrics.reconstruction_r2):
        with pytest.raises(ValueError, match=r"No column of X .*0 of 13.*Score on more rows"):
            metric(fitted, empty)
    with pytest.raises(ValueError, match="No column of X"):
        metrics.reconstruction_r2(fitted, X[:1])
    assert metrics.neg_reconstruction_error(fitted, X[:1]) < 0


# Neighbours


def standardised(data, train):
    cells = (data - np.nanmean(train, axis=0)) / np.nanstd(train, axis=0)
    return np.nan_to_num(cells, nan=0.0)


def test_trustworthiness_is_sklearns_on_standardised_cells(fitted):
    few, Z = HOLES[:60], fitted.transform(HOLES[:60])
    expected = manifold.trustworthiness(standardised(few, HOLES), Z, n_neighbors=5)
    assert 0.5 < expected < 0.99
    assert metrics.trustworthiness(fitted, few) == pytest.approx(expected, rel=1e-9)


def test_neighbours_are_looked_for_among_some_rows_of_a_large_table(monkeypatch, fitted):
    monkeypatch.setattr(metrics, "MOST_ROWS_OF_NEIGHBORS", 100)
    measured, sklearns = [], manifold.trustworthiness

    def spy(cells, Z, n_neighbors):
        measured.append((cells, Z))
        return sklearns(cells, Z, n_neighbors=n_neighbors)

    monkeypatch.setattr(manifold, "trustworthiness", spy)
    other = with_seed(fitted, 5)
    assert metrics.trustworthiness(fitted, HOLES) == metrics.trustworthiness(other, HOLES)
    (cells, Z), _ = measured
    whole = standardised(HOLES, HOLES)
    places = [np.flatnonzero((np.abs(whole - row) < 1e-9).all(1))[0] for row in cells]
    assert len(set(places)) == 100
    np.testing.assert_allclose(Z, fitted.transform(HOLES[places]), rtol=1e-5, atol=1e-6)
    # Of 178 the first 100 have about 100 / 178 of the chosen, a hypergeometric number.
    early = sum(place < 100 for place in places)
    assert abs(early - 56.2) < SURE * stats.hypergeom(178, 100, 100).std()


def test_trustworthiness_of_more_rows_than_neighbours_can_be_told_of(fitted):
    with pytest.raises(ValueError, match=r"more than 10 rows.*n_samples=10\. Score on more rows"):
        metrics.trustworthiness(fitted, X[:10])
    assert 0 <= metrics.trustworthiness(fitted, X[:11]) <= 1


# Values outside


@pytest.mark.parametrize("name", [*DRAWN, "active_units", "neg_mmd"])
def test_one_row_is_refused_where_it_says_nothing(name, fitted):
    with pytest.raises(ValueError, match=r"at least 2 rows.*n_samples=1"):
        METRICS[name](fitted, X[:1])
    assert math.isfinite(METRICS[name](fitted, X[:2]))


@every_metric
def test_grey_values_have_no_log_likelihood_but_all_else(metric):
    grey = (X - X.min(0)) / np.ptp(X, axis=0)
    vae = small(likelihood="bernoulli").fit(grey)
    if metric is metrics.log_likelihood:
        with pytest.raises(ValueError, match="Choose another likelihood"):
            metric(vae, grey)
    else:
        assert math.isfinite(metric(vae, grey))


@pytest.mark.parametrize("name", [*DRAWN, "active_units", "neg_mmd", "log_likelihood"])
def test_values_outside_a_likelihood_are_refused(name):
    numbers = pd.DataFrame(X, columns=[f"c{j}" for j in range(13)])
    vae = small(likelihood="bernoulli", max_epochs=1).fit((numbers > 1).astype(float))
    with pytest.raises(ValueError, match=r"Column 'c0' .*Choose another likelihood"):
        METRICS[name](vae, numbers)


@every_metric
def test_infinite_values_and_wrong_widths_are_refused(metric, fitted):
    with pytest.raises(ValueError, match="infinity"):
        metric(fitted, np.where(X == X.max(), np.inf, X))
    with pytest.raises(ValueError, match="13 features"):
        metric(fitted, X[:, :5])
