"""Whether InfoVAEGridSearchCV and GridSearchCV tell the same of a grid, refused fits included."""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV

from sk_infovae.model_selection import InfoVAEGridSearchCV

FAILURES = ("Scoring failed", "One or more of the test scores", "One or more of the train scores")
"""How scikit-learn's warnings begin that a candidate could not be scored."""


def outcome(search, X, y=None, **params):
    """A search's ``cv_results_``, or the kind of error that ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        for beginning in FAILURES:
            warnings.filterwarnings("ignore", beginning, UserWarning)
        try:
            return search.fit(X, y, **params).cv_results_
        except ValueError as error:  # all fits failed
            return type(error)


def assert_same_results(ours, theirs, tolerance=1e-4):
    """Every entry but times and ranks, which rounding may turn; NaN is equal to NaN."""
    if isinstance(theirs, type) or isinstance(ours, type):
        assert ours == theirs
        return
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        if key == "params" or key.startswith("param_"):
            assert list(ours[key]) == list(expected), key
        elif not (key.endswith("_time") or key.startswith("rank_")):
            np.testing.assert_allclose(
                ours[key], expected, rtol=tolerance, atol=tolerance, err_msg=key
            )


def assert_equals_grid_search(estimator, grid, X, y=None, *, fit_params=None, **params):
    """Both searches, with the same arguments; returns our results."""
    params = {"refit": False, "error_score": np.nan, **params}
    ours, theirs = (
        outcome(kind(clone(estimator), grid, **params), X, y, **fit_params or {})
        for kind in (InfoVAEGridSearchCV, GridSearchCV)
    )
    assert_same_results(ours, theirs)
    return ours
