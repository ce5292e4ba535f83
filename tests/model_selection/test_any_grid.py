"""Any grid over any parameter, on tables that differ between folds: what GridSearchCV gives."""

import warnings

import pytest
from grid_cases import Y, searches
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
