"""The scorers of `sk_infovae.metrics`: their form, what they take, and what they refuse."""

import inspect
import math
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from metric_fits import (
    DRAWN,
    HOLES,
    METRICS,
    SURE,
    X,
    Y,
    every_metric,
    over_seeds,
    small,
)
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_infovae import metrics
from sk_infovae.model_selection import InfoVAEGridSearchCV


def test_names_are_sorted_and_all_there():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert set(METRICS) == {
        *("log_likelihood", "median_log_likelihood", "elbo", "neg_reconstruction_error"),
        "reconstruction_r2",
        *("mutual_information", "neg_mmd", "active_units", "trustworthiness"),
        "neighborhood_preservation",
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


@pytest.mark.parametrize("name", [*DRAWN, "active_units", "neg_mmd"])
def test_one_row_is_refused_where_it_says_nothing(name, fitted):
    with pytest.raises(ValueError, match=r"at least 2 rows.*n_samples=1"):
        METRICS[name](fitted, X[:1])
    assert math.isfinite(METRICS[name](fitted, X[:2]))


@every_metric
def test_grey_values_have_no_log_likelihood_but_all_else(metric):
    grey = (X - X.min(0)) / np.ptp(X, axis=0)
    vae = small(likelihood="bernoulli").fit(grey)
    if metric in (metrics.log_likelihood, metrics.median_log_likelihood):
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
