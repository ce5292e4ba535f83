"""Any grid over any parameter, on tables that differ between folds: what GridSearchCV gives."""

import warnings

import numpy as np
import pytest
from grid_cases import ANYWHERE, N_ROWS, Y, likelihoods_of, number_table, searches, small
from hypothesis import HealthCheck, given, settings
from search_comparison import assert_equals_grid_search

EXAMPLES = 60
MANY = 500


def check(search):
    estimator, grid, X, params = search
    with warnings.catch_warnings():
        # A scaler in float32 may warn of a far cell, and a classifier that it did not converge.
        warnings.simplefilter("ignore", RuntimeWarning)
        assert_equals_grid_search(estimator, grid, X, Y, **params)


def with_examples(most):
    """The same searches, so many of them, the same ones at every run."""
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return lambda test: settings(
        max_examples=most, deadline=None, derandomize=True, suppress_health_check=unhurried
    )(given(search=searches())(test))


@with_examples(EXAMPLES)
def test_any_grid_gives_what_grid_search_gives(search):
    check(search)


@pytest.mark.slow
@with_examples(MANY)
def test_many_grids_give_what_grid_search_gives(search):
    check(search)


@pytest.mark.parametrize("name", [*ANYWHERE, "likelihood"])
def test_every_value_of_every_parameter(name):
    """Sixty drawn grids do not see each value; long enough here that stopping rules differ."""
    values = ANYWHERE.get(name) or likelihoods_of([0, 1, 2])
    # In one trained without held-out rows the seed alone tells candidates apart.
    estimator = small(max_epochs=6, lr=0.05, early_stopping=name != "random_state")
    if name in ("tol", "n_iter_no_change", "validation_fraction"):
        estimator.set_params(n_iter_no_change=1, validation_fraction=0.3)
    rows = np.arange(N_ROWS)
    cv = [(rows[::2], rows[1::2]), (rows[1::2], rows[::2])]
    check((estimator, {name: values}, number_table("holes everywhere", 0), {"cv": cv}))
