"""Searches that once gave other results than scikit-learn's."""

import numpy as np
import pytest
from search_comparison import assert_equals_grid_search
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.likelihoods import Gaussian, Poisson, StudentT


def small(**params):
    defaults = {"hidden_layer_sizes": (6,), "max_epochs": 4, "batch_size": 16, "random_state": 0}
    return InfoVAETransformer(**{"n_importance_samples": 8, **defaults, **params})


def counts(n_rows=40):
    """Three columns of counts, of sizes that can't be taken for each other."""
    return np.random.default_rng(0).poisson([1.0, 5.0, 40.0], size=(n_rows, 3)).astype(float)


# Which column has which likelihood


@pytest.mark.parametrize(
    "choices",
    [
        [{0: "poisson"}, {1: "poisson"}, {2: "poisson"}],
        [{0: "poisson", 1: "student_t"}, {1: "poisson", 0: "student_t"}],
        [{0: "categorical"}, {1: "categorical"}],
        [{0: Poisson(), 2: "lognormal"}, {2: Poisson(), 1: "negative_binomial"}],
        [{0: Gaussian(shared=True)}, {1: Gaussian(shared=True)}, {2: Gaussian(shared=True)}],
        [{0: StudentT(floor=1e-2)}, {0: StudentT(floor=1e-4)}, {1: StudentT(floor=1e-2)}],
    ],
    ids=str,
)
@pytest.mark.parametrize("scaled", [False, True])
def test_likelihoods_of_one_kind_on_different_columns_are_told_apart(choices, scaled):
    """The networks have equal shapes and equal families: the columns alone differ."""
    X, grid = counts() + 1, {"likelihood": choices}
    estimator = small()
    if scaled:
        estimator = make_pipeline(_Same(), small())
        grid = {"infovaetransformer__likelihood": choices}
    assert_equals_grid_search(estimator, grid, X, cv=2, error_score="raise")


class _Same(StandardScaler):
    """A step before that leaves the numbers as they are."""

    def __init__(self):
        super().__init__(with_mean=False, with_std=False)


@pytest.mark.parametrize("choices", [[[0], [1], [2]], [None, [0], [0, 1]]], ids=str)
def test_categories_of_different_columns_are_told_apart(choices):
    X = np.random.default_rng(0).integers(0, 3, size=(40, 3)).astype(float)
    grid = {"categorical_features": choices}
    assert_equals_grid_search(small(), grid, X, cv=2, error_score="raise")


# Rows far outside


@pytest.mark.parametrize("cell", [(0, 0), (0, 3), (70, 19), (199, 0)])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_cell_far_outside_scores_as_scikit_learn_scores_it(cell, scaled):
    """In the folds that train on it, and in the one that is tested by it."""
    X = load_breast_cancer().data[:200].copy()
    X[cell] = 1e6
    estimator, grid = small(hidden_layer_sizes=(16,), batch_size=128), {"alpha": [0.0, 0.5]}
    if scaled:
        estimator = Pipeline([("scale", StandardScaler()), ("vae", estimator)])
        grid = {"vae__alpha": [0.0, 0.5]}
    found = assert_equals_grid_search(estimator, grid, X, cv=3, return_train_score=True)
    assert np.isfinite(found["mean_test_score"]).all()


@pytest.mark.parametrize("size", [150.0, 1e3, 1e6])
def test_a_cell_far_outside_in_some_folds_only(size):
    """Networks of equal shape, of which some draw far numbers in."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    X[3, 1] = size
    estimator, grid = small(batch_size=60), {"alpha": [0.0, 0.5], "random_state": [0, 1]}
    assert_equals_grid_search(estimator, grid, X, cv=3, return_train_score=True)


# Seeds


def test_seeds_differ_where_no_rows_are_held_out():
    """The same rows for all, and yet another order and other noise for each seed."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    grid = {"random_state": [0, 1, 2], "early_stopping": [False]}
    assert_equals_grid_search(small(), grid, X, cv=2)


# One clone more


def with_a_clone_more(monkeypatch, *modules):
    """Each clone of these modules follows one that is thrown away, as another release may do."""

    def twice(estimator, **params):
        clone(estimator, **params)
        return clone(estimator, **params)

    for module in modules:
        monkeypatch.setattr(f"sklearn.model_selection.{module}.clone", twice, raising=False)


@pytest.mark.parametrize("modules", [("_search",), ("_validation",), ("_search", "_validation")])
@pytest.mark.parametrize("kind", ["bare", "scaled", "classified"])
def test_a_clone_more_changes_no_score(modules, kind, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3)), np.arange(40) % 2
    estimator, grid = small(), {"alpha": [0.0, 0.5, 0.9], "lambd": [30.0]}
    if kind != "bare":
        steps = [("scale", StandardScaler()), ("vae", estimator)]
        steps += [("classify", LogisticRegression())] if kind == "classified" else []
        estimator, grid = Pipeline(steps), {f"vae__{name}": grid[name] for name in grid}
    scoring = {"elbo": metrics.elbo, "mi": metrics.mutual_information}
    with_a_clone_more(monkeypatch, *modules)
    assert_equals_grid_search(estimator, grid, X, y, cv=2, scoring=scoring, refit="elbo")
