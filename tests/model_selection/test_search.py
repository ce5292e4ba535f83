"""InfoVAEGridSearchCV and InfoVAERandomizedSearchCV against scikit-learn's own classes."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from search_comparison import assert_same_results
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochTimer, GradientNormClipping

from sk_infovae import InfoVAETransformer
from sk_infovae._training import loop
from sk_infovae._training.net import InfoVAENet
from sk_infovae.divergences import MMD
from sk_infovae.likelihoods import Gaussian
from sk_infovae.model_selection import (
    InfoVAEGridSearchCV,
    InfoVAERandomizedSearchCV,
    candidates,
)

X, Y = load_wine(return_X_y=True)
HOLES = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.1, np.nan, X)


def small(**params):
    defaults = {"max_epochs": 3, "hidden_layer_sizes": (8,), "n_importance_samples": 8}
    return InfoVAETransformer(**{**defaults, "batch_size": 32, "random_state": 0, **params})


def piped(**params):
    steps = [("scale", StandardScaler()), ("vae", small(**params)), ("clf", LogisticRegression())]
    return Pipeline(steps)


@pytest.fixture
def stacks(monkeypatch):
    """Sizes of the stacks that are trained."""
    sizes, original = [], loop.train_together

    def count(trainings, *watch):
        sizes.append(len(trainings))
        return original(trainings, *watch)

    monkeypatch.setattr(candidates, "train_together", count)
    return sizes


def assert_agree(ours, theirs):
    """Everything in cv_results_ but the times, and what follows from it."""
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    for key, expected in theirs.cv_results_.items():
        if key == "params" or key.startswith("param_"):
            assert list(ours.cv_results_[key]) == list(expected)
        elif "time" not in key and not key.startswith("rank"):
            np.testing.assert_allclose(ours.cv_results_[key], expected, rtol=1e-4, atol=1e-4)
    if hasattr(theirs, "best_index_"):
        key = next(key for key in theirs.cv_results_ if key.startswith("mean_test"))
        best = theirs.cv_results_[key][[ours.best_index_, theirs.best_index_]]
        assert best[0] == pytest.approx(best[1], rel=1e-4, abs=1e-4)


def both(estimator, grid, data=X, y=None, fit=None, **params):
    fits = (GridSearchCV, InfoVAEGridSearchCV)
    theirs, ours = (
        one(clone(estimator), grid, **params).fit(data, y, **(fit or {})) for one in fits
    )
    assert_agree(ours, theirs)
    return ours, theirs


WEIGHTS = {"alpha": [0.0, 0.5, 1.0], "lambd": [1.0, 100.0]}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": False},
        {"divergence": "kl"},
        {"divergence": "sliced_wasserstein"},
        {"divergence": "ksd"},
        {"divergence": "adversarial"},
        {"divergence": MMD("imq", estimator="mixture")},
        {"hidden_layer_sizes": ()},
        {"likelihood": {0: "bernoulli"}},
    ],
    ids=repr,
)
def test_weights_of_every_kind_of_model(params, stacks):
    data = np.column_stack([X[:, 0] > 13, X[:, 1:]])
    both(small(**params), WEIGHTS, data, cv=2, refit=False)
    assert stacks == [12]


def test_missing_cells_and_frames(stacks):
    both(small(), WEIGHTS, HOLES, cv=KFold(2))
    both(small(), WEIGHTS, pd.DataFrame(HOLES, columns=list("abcdefghijklm")), cv=KFold(2))
    assert stacks == [12, 12]


def test_pipelines(stacks):
    grid = {"vae__alpha": [0.0, 0.9], "scale__with_std": [True, False], "clf__C": [0.1, 1.0]}
    ours, theirs = both(piped(), grid, y=Y, cv=3)
    assert sum(stacks) == 12  # C is no matter of the vae's
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    last = Pipeline([("pca", PCA(5)), ("vae", small())])
    both(last, {"vae__lambd": [1.0, 10.0], "pca": [PCA(3), "passthrough"]}, cv=2)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_candidates_that_differ_behind_the_vae_are_trained_once(stacks, n_jobs):
    """Each fit has a net of its own of it: what one does to its net is not seen by another."""

    def spoil(pipeline, X, y):
        module = pipeline[1].module_
        with torch.no_grad():
            found = sum(p.double().sum() for p in module.parameters()).item()
            for parameter in module.parameters():
                parameter.zero_()
        return found

    grid = {"clf__C": [0.1, 1.0, 10.0], "vae__alpha": [0.0, 0.9]}
    how = {"scoring": spoil, "refit": False, "cv": KFold(2), "n_jobs": n_jobs}
    scores = InfoVAEGridSearchCV(piped(), grid, **how).fit(X, Y).cv_results_["mean_test_score"]
    assert sum(stacks) == 4
    np.testing.assert_array_equal(scores[2:], np.tile(scores[:2], 2))
    assert (np.abs(scores) > 1e-3).all()


def test_one_training_that_many_ask_for(stacks):
    """No stack of one: the model and a twin."""
    grid, one_split = {"clf__C": [0.1, 1.0, 10.0]}, ShuffleSplit(1, random_state=0)
    both(piped(), grid, y=Y, cv=one_split)
    assert stacks == [2]


def test_without_a_seed_each_candidate_is_trained(stacks):
    grid = {"clf__C": [0.1, 1.0], "vae__alpha": [0.0, 0.9]}
    InfoVAEGridSearchCV(piped(random_state=None), grid, cv=KFold(2), refit=False).fit(X, Y)
    assert sum(stacks) == 8


def test_steps_before_are_fitted_once_more_a_split(monkeypatch):
    """Beyond scikit-learn's own fits."""
    fits, original = [], PCA.fit_transform
    monkeypatch.setattr(
        PCA, "fit_transform", lambda self, *args: (fits.append(1), original(self, *args))[1]
    )
    pipeline = Pipeline([("pca", PCA(5)), ("vae", small())])
    InfoVAEGridSearchCV(pipeline, {"vae__alpha": [0.0, 0.5, 0.9]}, cv=KFold(2), refit=False).fit(X)
    assert len(fits) == 2 * 3 + 2


def test_what_changes_shapes_is_grouped_apart(stacks):
    both(small(), {**WEIGHTS, "n_components": [1, 2]}, cv=KFold(2))
    assert sorted(stacks) == [12, 12]


@pytest.mark.parametrize(
    "alone",
    [
        {"net_params": {"optimizer": torch.optim.LBFGS}},
        {"net_params": {"callbacks": [EpochTimer()]}},
        {"encoder": lambda a, b: torch.nn.Linear(a, 2 * b)},
    ],
    ids=["optimizer", "callback", "encoder"],
)
def test_what_can_not_be_stacked_is_left_to_scikit_learn(alone, stacks):
    both(small(**alone, lr=1e-4), {"alpha": [0.0, 0.5]}, cv=2)
    both(KMeans(n_init=1, random_state=0), {"n_clusters": [2, 3]}, cv=2)
    assert stacks == []


@pytest.mark.parametrize(
    "net_params",
    [
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
        {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.3},
        {"optimizer__betas": (0.5, 0.9)},
        {"callbacks": [GradientNormClipping(gradient_clip_value=0.3)]},
        {"callbacks": [GradientNormClipping(0.1, gradient_clip_norm_type=float("inf"))]},
    ],
    ids=str,
)
def test_optimizers_and_clipping_are_stacked(net_params, stacks):
    both(small(net_params=net_params, lr=1e-3), WEIGHTS, cv=2, refit=False)
    assert stacks == [12]


@pytest.mark.parametrize("scale", ["optimal", 0.3])
def test_sparse_tables_and_closed_forms_are_stacked(scale, stacks):
    vae = small(likelihood=Gaussian(scale=scale))
    both(vae, WEIGHTS, sparse.csr_matrix(np.where(X > 2, X, 0.0)), cv=KFold(2), refit=False)
    assert stacks == [12]


def test_memory_bounds_the_stack(stacks, monkeypatch):
    monkeypatch.setattr(candidates, "STACK_BYTES", 200_000)
    both(small(), {"alpha": [0.0, 0.2, 0.4, 0.6, 0.8]}, cv=KFold(2))
    assert sum(stacks) <= 10
    assert len(stacks) > 1


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_refused_weights_cost_themselves_only():
    grid = {"alpha": [0.5, 2.0], "lambd": [10.0]}
    with pytest.warns(FitFailedWarning, match="alpha must be at most 1"):
        search = InfoVAEGridSearchCV(small(), grid, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).tolist() == [True, False]
    with pytest.raises(ValueError, match="alpha must be at most 1"):
        InfoVAEGridSearchCV(small(), grid, cv=2, error_score="raise").fit(X)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_one_that_diverges_touches_no_other():
    grid = {"lambd": [1.0, 1e39], "alpha": [0.0, 0.5]}
    sane = InfoVAEGridSearchCV(small(), {**grid, "lambd": [1.0]}, cv=2, refit=False).fit(X)
    with pytest.warns(FitFailedWarning, match="Training diverged"):
        search = InfoVAEGridSearchCV(small(), grid, cv=2, refit=False).fit(X)
    scores = search.cv_results_["mean_test_score"]
    is_sane = [params["lambd"] == 1.0 for params in search.cv_results_["params"]]
    assert np.isfinite(scores).tolist() == is_sane
    np.testing.assert_allclose(scores[is_sane], sane.cv_results_["mean_test_score"], rtol=1e-5)


@pytest.mark.parametrize(
    "params", [{"lr": [0.01, 0.06, 0.1, 0.13]}, {"lr": [0.01, 0.13], "early_stopping": [False]}]
)
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_those_that_diverge_go_back_as_they_do_alone(params, n_jobs):
    """Momentum carries some of them away after some good epochs."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(120, 4))
    own = {"net_params": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}}
    vae = small(max_epochs=30, hidden_layer_sizes=(16,), **own)
    with warnings.catch_warnings(record=True) as each:
        warnings.simplefilter("always")
        theirs = GridSearchCV(vae, params, cv=3, refit=False, error_score=np.nan).fit(table)
    n_back = len([one for one in each if one.category is ConvergenceWarning])
    assert n_back >= 2
    said = f"^{n_back} fits of this search diverged, and went back.*The first of them: Training d"
    with pytest.warns(ConvergenceWarning, match=said):
        ours = InfoVAEGridSearchCV(vae, params, cv=3, refit=False, n_jobs=n_jobs).fit(table)
    assert_same_results(ours.cv_results_, theirs.cv_results_, 1e-3)


def test_refit_is_a_fit_of_the_best():
    ours, theirs = both(small(), WEIGHTS, cv=2)
    assert type(ours.best_estimator_) is InfoVAETransformer
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
    assert ours.best_estimator_.get_params() == theirs.best_estimator_.get_params()


def test_several_metrics_and_a_callable_refit():
    scoring = {
        "score": lambda vae, X, y=None: vae.score(X),
        "spread": lambda vae, X, y=None: vae.transform(X).std(),
    }
    ours, _ = both(small(), WEIGHTS, cv=2, scoring=scoring, refit="spread")
    assert ours.multimetric_
    both(small(), WEIGHTS, cv=2, scoring=scoring, refit=lambda results: 1)


def test_groups_and_a_splitter_that_can_be_read_once():
    both(small(), WEIGHTS, cv=GroupKFold(2), fit={"groups": np.arange(len(X)) % 4}, refit=False)
    splits = list(KFold(2).split(X))
    ours = InfoVAEGridSearchCV(small(), WEIGHTS, cv=iter(splits), refit=False).fit(X)
    theirs = GridSearchCV(small(), WEIGHTS, cv=splits, refit=False).fit(X)
    assert_agree(ours, theirs)


def test_randomized_search():
    params = {"param_distributions": WEIGHTS, "n_iter": 4, "random_state": 3, "cv": 2}
    ours = InfoVAERandomizedSearchCV(small(), **params).fit(X)
    assert_agree(ours, RandomizedSearchCV(small(), **params).fit(X))


def test_workers():
    alone, _ = both(piped(), {"vae__alpha": [0.0, 0.5]}, y=Y, cv=2)
    ours = InfoVAEGridSearchCV(piped(), {"vae__alpha": [0.0, 0.5]}, cv=2, n_jobs=2).fit(X, Y)
    assert_agree(ours, alone)


def test_the_search_object_is_as_it_was():
    vae = small()
    search = InfoVAEGridSearchCV(vae, WEIGHTS, cv=2)
    theirs = GridSearchCV(vae, WEIGHTS).get_params()
    assert clone(search).get_params().keys() == theirs.keys() | {"memory"}
    search.fit(X)
    assert search.estimator is vae
    assert "_trained_ahead" not in vars(vae) | vars(search.best_estimator_)
    assert search.cv == 2
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.transform(X), search.transform(X))
    with pytest.raises(ValueError, match="must be"):
        InfoVAEGridSearchCV(vae, WEIGHTS, cv=1).fit(X)
    assert search.estimator is vae


def test_fit_time_is_each_fits_share():
    search = InfoVAEGridSearchCV(small(), WEIGHTS, cv=2, refit=False).fit(X)
    assert (search.cv_results_["mean_fit_time"] > 0).all()


def test_early_stopping_is_each_models_own(monkeypatch):
    """One with a large tolerance stops at once, the others go on: the stack gets smaller."""
    kept, original = [], InfoVAENet.keep_models
    monkeypatch.setattr(
        InfoVAENet, "keep_models", lambda self, k: (kept.append(len(k)), original(self, k))[1]
    )
    grid = {"tol": [0.0, 1e6], "alpha": [0.0, 0.5]}
    vae = small(max_epochs=12, n_iter_no_change=3)
    both(vae, grid, cv=2, refit=False)
    assert kept
