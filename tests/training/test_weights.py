"""alpha and lambd outside their region: an error that names the weight, its value and the mend."""

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV

from sk_infovae import InfoVAETransformer


def small(**params):
    defaults = {
        "hidden_layer_sizes": (8,),
        "max_epochs": 2,
        "n_importance_samples": 8,
        "random_state": 0,
    }
    return InfoVAETransformer(**(defaults | params))


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(40, 3))


BAD = [
    (1.5, 10.0, r"alpha.*alpha=1\.5.*Choose alpha <= 1"),
    (np.inf, 10.0, r"alpha.*alpha=inf.*Choose alpha <= 1"),
    (np.nan, 10.0, r"alpha.*alpha=nan.*Choose alpha <= 1"),
    (0.5, 0.0, r"lambd.*lambd=0\.0.*Choose lambd > 0"),
    (0.5, -2.0, r"lambd.*lambd=-2\.0.*Choose lambd > 0"),
    (1.0, 0.0, r"lambd.*lambd=0\.0.*Choose lambd > 0"),
    (0.5, np.nan, r"lambd.*lambd=nan.*Choose lambd > 0"),
    (0.5, np.inf, r"lambd.*lambd=inf.*Choose lambd > 0"),
    (0.2, 0.5, r"alpha \+ lambd.*alpha=0\.2 and lambd=0\.5.*Choose lambd >= 0\.8"),
    (-np.inf, 1.0, r"alpha=-inf"),
]


@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
@pytest.mark.parametrize(("alpha", "lambd", "message"), BAD)
def test_weights_outside_their_region_are_refused(X, method, alpha, lambd, message):
    vae = small(alpha=alpha, lambd=lambd)
    with pytest.raises(ValueError, match=message):
        getattr(vae, method)(X)
    assert not hasattr(vae, "net_")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_refused_weights_leave_a_fitted_model_alone(X, method):
    vae = small().fit(X)
    before, scores = vae.transform(X), vae.score_samples(X)
    with pytest.raises(ValueError, match="alpha=2"):
        getattr(vae.set_params(alpha=2), method)(X)
    np.testing.assert_array_equal(vae.transform(X), before)
    np.testing.assert_array_equal(vae.score_samples(X), scores)


@pytest.mark.parametrize(
    ("alpha", "lambd"),
    [
        (1, 1e-6),
        (1.0, 1.0),
        (0, 1),
        (-3, 4),
        (0.9, 0.1),
        (0.7, 0.3),
        (1 - 0.1, 0.1),
        (-9, 10),
        (0, 1e4),
    ],
)
def test_the_edge_of_the_region_is_allowed(X, alpha, lambd):
    vae = small(alpha=alpha, lambd=lambd).fit(X)
    assert np.isfinite(vae.score(X))


def test_a_weight_that_is_no_number_is_a_wrong_type(X):
    for params in ({"alpha": "0.5"}, {"lambd": None}, {"alpha": 1j}):
        with pytest.raises(ValueError, match="parameter of InfoVAETransformer must be"):
            small(**params).fit(X)


def test_in_a_search_a_bad_candidate_costs_itself_only(X):
    grid = {"alpha": [0.5, 1.5, 0.9], "lambd": [1.0, 10.0]}
    search = GridSearchCV(small(), grid, cv=2, error_score=np.nan)
    with (
        pytest.warns(FitFailedWarning, match="alpha must be at most 1"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(X)
    results = search.cv_results_
    bad = np.array([params["alpha"] > 1 for params in results["params"]])
    assert bad.sum() == 2
    np.testing.assert_array_equal(np.isnan(results["mean_test_score"]), bad)
    assert search.best_params_["alpha"] in (0.5, 0.9)
    assert np.isfinite(search.transform(X)).all()
