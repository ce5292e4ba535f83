"""Results that were wrong once: what an estimator says, whatever was set or done to it before."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from search_comparison import assert_equals_grid_search
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.exceptions import PosteriorCollapseWarning
from sk_infovae.model_selection import InfoVAEGridSearchCV

OF_LEVELS = {"elbo", "mutual_information", "neg_mmd", "active_units"}
"""Scorers that read the encoder, and so the levels of a category, in float64."""


def small(**params):
    defaults = {"hidden_layer_sizes": (6,), "max_epochs": 3, "batch_size": 16, "random_state": 0}
    return InfoVAETransformer(**{"n_importance_samples": 8, **defaults, **params})


def mixed_table(n_rows=40):
    """A number, a category without an order, and one with."""
    rng = np.random.default_rng(0)
    grades = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    return pd.DataFrame(
        {
            "size": rng.normal(size=n_rows),
            "town": pd.Categorical(rng.choice(["north", "south", "west"], n_rows)),
            "grade": pd.Series(rng.choice(grades.categories, n_rows)).astype(grades),
        }
    )


# Levels in float64


@pytest.mark.parametrize(
    "columns", [["size", "town"], ["grade"], ["size", "town", "grade"]], ids=str
)
@pytest.mark.parametrize("ordinal", [False, True])
def test_information_and_its_scorers_read_categories(columns, ordinal):
    X = mixed_table()[columns]
    vae = small(likelihood={"grade": "ordinal"} if ordinal and "grade" in X else "auto").fit(X)
    found = vae.information(X)
    for name, value in vars(found).items():
        assert np.isfinite(value).all(), name
    for name in OF_LEVELS:
        assert np.isfinite(getattr(metrics, name)(vae, X)), name
    assert metrics.elbo(vae, X) == pytest.approx(found.elbo, rel=1e-9)
    assert metrics.mutual_information(vae, X) == pytest.approx(found.mutual_information, rel=1e-9)
    assert metrics.active_units(vae, X) == found.active_units


@pytest.mark.parametrize("likelihood", ["auto", {"grade": "ordinal"}], ids=str)
def test_a_search_of_categories_scores_by_all_of_them(likelihood):
    scoring = {name: getattr(metrics, name) for name in sorted(OF_LEVELS)}
    search = InfoVAEGridSearchCV(
        small(likelihood=likelihood),
        {"alpha": [0.0, 0.5]},
        cv=2,
        scoring=scoring,
        refit=False,
        error_score="raise",
    ).fit(mixed_table())
    for name in OF_LEVELS:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all(), name


# Parameters set after fit

LATER = [
    {"net_params": {"optimizer": "nonsense"}},
    {"net_params": {"no_such_argument": 1}},
    {"net_params": {"callbacks": ["nonsense"]}},
    {"lr": -1.0},
    {"divergence": "kl"},
    {"divergence": "adversarial"},
    {"divergence": "nonsense"},
    {"hidden_layer_sizes": (3, 3)},
    {"hidden_layer_sizes": "nonsense"},
    {"likelihood": "student_t"},
    {"likelihood": "nonsense"},
    {"n_components": 5},
    {"activation": "nonsense"},
    {"device": "nonsense"},
    {"alpha": 7.0},
    {"batch_size": 0},
    {"max_epochs": -1},
    {"encoder": "nonsense"},
    {"random_state": "nonsense"},
    {"verbose": "nonsense"},
]


def answers(vae, X):
    """What a fitted model says, in an order that can be compared."""
    scores, ess = vae.score_samples(X, return_ess=True)
    found = [*vae.posterior(X), scores, ess, vae.impute(X), vae.sample(5, random_state=0)]
    return [*found, vae.inverse_transform(vae.transform(X)), *vars(vae.information(X)).values()]


@pytest.mark.parametrize("later", LATER, ids=str)
@pytest.mark.parametrize("divergence", ["mmd", "adversarial"])
def test_a_pickle_answers_as_fit_left_it_whatever_was_set_since(later, divergence):
    X = np.random.default_rng(0).normal(size=(30, 3))
    X[0, 0] = np.nan
    vae = small(divergence=divergence).fit(X)
    before = answers(vae, X)
    vae.set_params(**later)
    loaded = pickle.loads(pickle.dumps(vae))
    assert {name: repr(getattr(loaded, name)) for name in later} == {
        name: repr(value) for name, value in later.items()
    }
    for one in (vae, loaded):
        for value, expected in zip(answers(one, X), before, strict=True):
            np.testing.assert_array_equal(value, expected)
    again = pickle.loads(pickle.dumps(loaded))
    np.testing.assert_array_equal(again.transform(X), before[0])


def raised_by(function, *args):
    """The kind of error, or None."""
    try:
        function(*args)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        return type(error)
    return None


@pytest.mark.parametrize("later", LATER, ids=str)
def test_going_on_after_a_pickle_is_judged_as_without_one(later):
    X = np.random.default_rng(0).normal(size=(30, 3))
    vae = small().partial_fit(X).set_params(**later)
    loaded = pickle.loads(pickle.dumps(vae))
    refused = raised_by(vae.partial_fit, X)
    assert raised_by(loaded.partial_fit, X) == refused
    np.testing.assert_array_equal(loaded.transform(X), vae.transform(X))


def test_a_learning_rate_set_after_fit_is_the_one_that_a_pickle_goes_on_with():
    X = np.random.default_rng(0).normal(size=(30, 3))
    vae = small().partial_fit(X)
    slow, fast = (pickle.loads(pickle.dumps(clone_of_fitted(vae, lr=lr))) for lr in (1e-6, 0.1))
    moved = [
        np.abs(one.partial_fit(X).transform(X) - vae.transform(X)).max() for one in (slow, fast)
    ]
    assert moved[0] < 1e-3 < moved[1]


def clone_of_fitted(vae, **params):
    """A fitted copy with other parameters."""
    return pickle.loads(pickle.dumps(vae)).set_params(**params)


# Where a warning points


def plane(n_rows=200):
    """Two directions that matter in six columns."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 6))


def collapsing(**params):
    """A model of which some dimensions stay the prior."""
    defaults = {"n_components": 6, "alpha": -9.0, "lambd": 10.0, "max_epochs": 5}
    return small(**defaults | params)


def collapse_warnings(function, *args):
    """The warnings about a collapse; any other is an error still."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PosteriorCollapseWarning)
        function(*args)
    return [one for one in caught if one.category is PosteriorCollapseWarning]


def own_line(function):
    """Of this file, where the function's own code stands."""
    code = function.__code__
    return {line for _, _, line in code.co_lines() if line is not None}


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_the_warning_of_a_fit_points_at_the_users_line(method):
    def of_the_user():
        getattr(collapsing(), method)(plane())

    (found,) = collapse_warnings(of_the_user)
    assert found.filename == __file__
    assert found.lineno in own_line(of_the_user)


def test_the_warning_of_a_fit_in_a_pipeline_points_at_the_users_line():
    def of_the_user():
        make_pipeline(StandardScaler(), collapsing()).fit(plane())

    (found,) = collapse_warnings(of_the_user)
    assert found.filename == __file__
    assert found.lineno in own_line(of_the_user)


@pytest.mark.parametrize(
    "grid",
    [
        {"alpha": [-9.0, -8.0, -7.0]},  # stacked, and a refit
        {"net_params": [{"optimizer__weight_decay": decay} for decay in (0.0, 1e-3)]},  # one by one
        {"n_components": [4, 5, 6], "batch_size": [16, 32]},
    ],
    ids=["stacked", "one by one", "several stacks"],
)
@pytest.mark.parametrize("refit", [True, False])
def test_a_search_of_collapsing_candidates_warns_once_at_the_users_line(grid, refit):
    search = InfoVAEGridSearchCV(collapsing(), grid, cv=2, refit=refit)

    def of_the_user():
        search.fit(plane())

    found = collapse_warnings(of_the_user)
    assert len(found) <= 1
    assert all(one.filename == __file__ for one in found)
    assert all(one.lineno in own_line(of_the_user) for one in found)


def test_candidates_of_different_rates_decay():
    """The stack moved them from 0, and so had nothing to decay."""
    X = np.random.default_rng(0).normal(size=(60, 4))
    vae = small(max_epochs=10, net_params={"optimizer__weight_decay": 1.0})
    assert_equals_grid_search(vae, {"lr": [1e-3, 5e-3, 2e-2]}, X, cv=2)


def test_a_clone_of_a_fitted_estimator_warns_again():
    """At most one a search is not: at most one a process."""
    for _ in range(2):
        assert len(collapse_warnings(clone(collapsing()).fit, plane())) == 1
