"""Any grid, estimator, splitter and table: InfoVAEGridSearchCV gives what GridSearchCV gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae._training import loop
from sk_infovae.divergences import KSD, MMD, Adversarial, Divergence
from sk_infovae.model_selection import InfoVAEGridSearchCV, candidates

X, Y = load_wine(return_X_y=True)
X, Y = np.column_stack([X[::3, 0] > 13, X[::3, 1:5]]), Y[::3]
HOLES = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.1, np.nan, X)
GROUPS = np.arange(len(X)) % 4

VALUES = {
    "alpha": [0.0, 0.9],
    "lambd": [2.0, 30.0],
    "lr": [1e-3, 1e-2],
    "n_components": [1, 3],
    "divergence": [MMD("imq"), KSD()],
    "divergence__bandwidth": [0.5, 4.0],
    "hidden_layer_sizes": [(), (6,)],
    "batch_size": [10, 32],
    "likelihood": ["auto", {0: "bernoulli"}],
    "early_stopping": [True, False],
    "random_state": [0, 1],
}
SPLITTERS = [
    KFold(2),
    StratifiedKFold(2),
    ShuffleSplit(2, random_state=1),
    PredefinedSplit(GROUPS % 3 - 1),
    GroupKFold(2),
    RepeatedKFold(n_splits=2, n_repeats=2, random_state=0),
]


def small(**params):
    defaults = {"max_epochs": 4, "hidden_layer_sizes": (6,), "batch_size": 20, "random_state": 0}
    stopping = {"n_iter_no_change": 1, "tol": 0.1, "validation_fraction": 0.2}
    return InfoVAETransformer(**{"n_importance_samples": 4, **defaults, **stopping, **params})


@st.composite
def estimators_with_grids(draw):
    """Bare, behind a scaler, or before a classifier; a grid of at most eight candidates."""
    kind = draw(st.sampled_from(["bare", "scaled", "classified"]))
    # Behind the scaler, no column is of zeros and ones.
    names = [name for name in VALUES if kind == "bare" or name != "likelihood"]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    vae = small(divergence=draw(st.sampled_from([MMD(), KSD("gaussian")])))
    if kind == "bare":
        return vae, {name: VALUES[name] for name in chosen}
    steps = [("scale", StandardScaler()), ("vae", vae)]
    if kind == "classified":
        steps.append(("classify", LogisticRegression()))
    return Pipeline(steps), {f"vae__{name}": VALUES[name] for name in chosen}


def assert_equal_searches(estimator, grid, data, cv, **params):
    groups = {"groups": GROUPS} if isinstance(cv, GroupKFold) else {}
    theirs, ours = (
        search(clone(estimator), grid, cv=cv, refit=False, **params).fit(data, Y, **groups)
        for search in (GridSearchCV, InfoVAEGridSearchCV)
    )
    assert ours.cv_results_.keys() == theirs.cv_results_.keys()
    for key, expected in theirs.cv_results_.items():
        if key == "params" or key.startswith("param_"):
            assert list(ours.cv_results_[key]) == list(expected)
        elif "time" not in key and not key.startswith("rank"):
            np.testing.assert_allclose(ours.cv_results_[key], expected, rtol=1e-4, atol=1e-4)
    found, best = ours.best_index_, theirs.best_index_
    means = theirs.cv_results_["mean_test_score"]
    assert found == best or means[found] == pytest.approx(means[best], rel=1e-4, abs=1e-4)
    return ours


@settings(max_examples=14, deadline=None, derandomize=True)
@given(
    searched=estimators_with_grids(),
    cv=st.sampled_from(SPLITTERS),
    data=st.sampled_from([X, HOLES]),
    train_scores=st.booleans(),
)
def test_equals_grid_search(searched, cv, data, train_scores):
    assert_equal_searches(*searched, data, cv, return_train_score=train_scores)


@pytest.fixture
def stacks(monkeypatch):
    """Sizes of the stacks that are trained."""
    sizes, original = [], loop.train_together

    def count(trainings, *watch):
        sizes.append(len(trainings))
        return original(trainings, *watch)

    monkeypatch.setattr(candidates, "train_together", count)
    return sizes


@pytest.mark.parametrize(
    ("divergence", "grid", "expected"),
    [
        ("mmd", {"lr": [1e-3, 3e-3, 1e-2], "alpha": [0.0, 0.5]}, [12]),
        ("mmd", {"lr": [1e-3, 1e-2], "n_iter_no_change": [1, 3], "tol": [0.0, 1e6]}, [16]),
        (MMD(), {"divergence__bandwidth": [0.5, 1, np.float32(4)], "lr": [1e-3, 1e-2]}, [12]),
        (MMD(), {"divergence__bandwidth": [None, 0.5, 4.0, (1.0, 2.0)]}, [2, 4, 2]),
        (MMD("imq"), {"divergence__bandwidth": [0.5, 4.0]}, [4]),
        (MMD("imq", estimator="mixture"), {"divergence__bandwidth": [0.5, 4.0]}, [4]),
        (KSD(), {"divergence__bandwidth": [0.5, 4.0], "alpha": [0.0, 0.5]}, [8]),
        (KSD("gaussian"), {"divergence": [KSD(bandwidth=1.0), MMD(bandwidth=1.0)]}, [2, 2]),
        (Adversarial((4,)), {"divergence__gradient_penalty": [0, 0.1, 1.0]}, [2, 4]),
        (Adversarial(), {"divergence__hidden_layer_sizes": [(4,), (5,)]}, [2, 2]),
    ],
    ids=str,
)
def test_what_only_weighs_the_maths_shares_a_stack(divergence, grid, expected, stacks):
    """Rates and bandwidths of extremes, so that one for another would be seen."""
    assert_equal_searches(
        small(divergence=divergence, max_epochs=6, lambd=100.0), grid, X, KFold(2)
    )
    assert stacks == expected


class Pull(Divergence):
    """Of the user's own, with a number in it and no declaration: E |z|^2, weighed."""

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    def __call__(self, codes):
        return self.weight * codes.z.square().sum(-1).mean(-1)


class SquaredMMD(MMD):
    """Inherits a declaration that its own maths can't keep."""

    def __call__(self, codes):
        return super().__call__(codes) * float(self.bandwidth)


@pytest.mark.parametrize("divergence", [Pull(), SquaredMMD(bandwidth=1.0)], ids=str)
def test_a_divergence_of_the_users_own_needs_no_declaration(divergence, stacks):
    name = next(iter(divergence.get_params() if isinstance(divergence, Pull) else ["bandwidth"]))
    assert_equal_searches(
        small(divergence=divergence), {f"divergence__{name}": [0.5, 4.0]}, X, KFold(2)
    )
    assert stacks == []


@pytest.mark.parametrize("seed", range(2))
def test_many_models_of_all_kinds_in_one_stack(seed, stacks):
    """Rates, bandwidths, weights and stopping at once; some stop early, and the stack shrinks."""
    rng = np.random.default_rng(seed)
    grid = [
        {
            "lr": [10 ** rng.uniform(-4, -1.5)],
            "divergence__bandwidth": [10 ** rng.uniform(-1, 1)],
            "alpha": [rng.uniform(-1, 1)],
            "lambd": [rng.uniform(2, 300)],
            "tol": [rng.choice([0.0, 1e6])],
        }
        for _ in range(8)
    ]
    estimator = small(divergence=MMD(), max_epochs=8, n_iter_no_change=2)
    assert_equal_searches(estimator, grid, HOLES, KFold(2))
    assert stacks == [16]
