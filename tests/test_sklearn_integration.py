"""Copies and pickles, pipelines and searches, metadata routing, the HTML representation."""

import copy
import gc
import pickle
import threading
import weakref

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import Dataset

from sk_infovae import InfoVAETransformer
from sk_infovae.divergences import MMD, Adversarial
from sk_infovae.likelihoods import Gaussian


def small(**params):
    defaults = {
        "hidden_layer_sizes": (8,),
        "max_epochs": 3,
        "batch_size": 32,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    return InfoVAETransformer(**(defaults | params))


def table(n_rows=90, seed=0):
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 4))
    return plane + 0.1 * rng.normal(size=(n_rows, 4))


@pytest.fixture(scope="module")
def X():
    return table()


def through_joblib(vae, folder):
    joblib.dump(vae, folder / "vae.joblib")
    return joblib.load(folder / "vae.joblib")


COPIES = {
    "pickle": lambda vae, folder: pickle.loads(pickle.dumps(vae)),
    "joblib": through_joblib,
    "cloudpickle": lambda vae, folder: pickle.loads(cloudpickle.dumps(vae)),
    "deepcopy": lambda vae, folder: copy.deepcopy(vae),
    "copy": lambda vae, folder: copy.copy(vae),
}


class Encoder(nn.Module):
    def __init__(self, n_inputs, n_components):
        super().__init__()
        self.linear = nn.Linear(n_inputs, 2 * n_components)
        self.dropout = nn.Dropout(0.2)
        self.norm = nn.BatchNorm1d(2 * n_components)

    def forward(self, x):
        return self.norm(self.dropout(self.linear(x)))


VARIANTS = {
    "default": {},
    "own encoder with state": {"encoder": Encoder},
    "linear": {"hidden_layer_sizes": ()},
    "bernoulli": {"likelihood": {0: "bernoulli"}},
    "instances": {"divergence": MMD(bandwidth=1.0), "likelihood": Gaussian(floor=1e-2)},
    "sgd": {"net_params": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}},
}


# --- copies


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_the_same_model_and_goes_on_alike(tmp_path, way, variant):
    X = table()
    X[:, 0] = X[:, 0] > 0
    X[::5, 1] = np.nan
    vae = small(**VARIANTS[variant]).fit(X)
    before = vae.transform(X)
    twin = COPIES[way](vae, tmp_path)
    assert twin is not vae
    assert twin.history_ == vae.history_
    assert twin.n_iter_ == vae.n_iter_
    np.testing.assert_array_equal(twin.noise_variance_, vae.noise_variance_)
    np.testing.assert_array_equal(twin.transform(X), before)
    np.testing.assert_array_equal(twin.score_samples(X), vae.score_samples(X))
    np.testing.assert_array_equal(twin.inverse_transform(before), vae.inverse_transform(before))
    np.testing.assert_array_equal(twin.sample(5, 0), vae.sample(5, 0))
    twin.partial_fit(X)
    np.testing.assert_array_equal(vae.transform(X), before)
    assert vae.n_iter_ == 3
    vae.partial_fit(X)
    np.testing.assert_array_equal(twin.transform(X), vae.transform(X))
    assert twin.history_ == vae.history_
    assert not np.array_equal(vae.transform(X), before)


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_warm_starts_alike(X, tmp_path, way):
    vae = small(warm_start=True).fit(X)
    twin = COPIES[way](vae, tmp_path)
    np.testing.assert_array_equal(twin.fit(X).transform(X), vae.fit(X).transform(X))
    assert twin.n_iter_ == vae.n_iter_ == 6


@pytest.mark.parametrize("way", COPIES)
def test_an_unfitted_copy_is_unfitted(X, tmp_path, way):
    vae = small(alpha=0.9)
    twin = COPIES[way](vae, tmp_path)
    assert twin.get_params() == vae.get_params()
    assert not hasattr(twin, "net_")
    np.testing.assert_array_equal(twin.fit(X).transform(X), vae.fit(X).transform(X))


def test_a_copy_of_a_copy_is_the_same_bytes(X):
    vae = small().fit(X)
    once = pickle.dumps(pickle.loads(pickle.dumps(vae)))
    assert pickle.dumps(pickle.loads(once)) == once


def test_a_lambda_goes_through_cloudpickle(X):
    vae = small(encoder=lambda i, o: nn.Linear(i, 2 * o)).fit(X)
    twin = pickle.loads(cloudpickle.dumps(vae))
    np.testing.assert_array_equal(twin.transform(X), vae.transform(X))


def test_a_copy_is_made_whatever_was_set_after_fit(X):
    vae = small().fit(X).set_params(n_components=5, hidden_layer_sizes=(99,), lr=1.0)
    np.testing.assert_array_equal(copy.deepcopy(vae).transform(X), vae.transform(X))


def test_frames_survive_a_copy():
    frame = pd.DataFrame({"a": np.arange(40), "b": np.tile([True, False], 20), "c": np.ones(40)})
    vae = small().set_output(transform="pandas").fit(frame)
    twin = pickle.loads(pickle.dumps(vae))
    pd.testing.assert_frame_equal(twin.transform(frame), vae.transform(frame))
    Z = vae.transform(frame)
    pd.testing.assert_frame_equal(twin.inverse_transform(Z), vae.inverse_transform(Z))


def test_clone_is_unfitted_and_equal(X):
    vae = small(divergence=MMD(bandwidth=2.0), likelihood={0: Gaussian(floor=0.1)}).fit(X)
    twin = clone(vae)
    assert not hasattr(twin, "net_")
    assert twin.get_params() == vae.get_params()
    assert twin.divergence is not vae.divergence
    np.testing.assert_array_equal(twin.fit(X).transform(X), vae.transform(X))


def test_instances_are_never_changed_by_fit(X):
    divergence, likelihood = Adversarial(), Gaussian("optimal")
    small(divergence=divergence, likelihood=likelihood).fit(X)
    assert vars(divergence) == vars(Adversarial())
    assert vars(likelihood) == vars(Gaussian("optimal"))


# --- no training row is kept


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_size_of_a_pickle_does_not_depend_on_the_rows(container):
    sizes = []
    for n_rows in (1_000, 10_000):
        vae = small(max_epochs=2, batch_size=256, early_stopping=True)
        sizes.append(len(pickle.dumps(vae.fit(container(table(n_rows))))))
    assert abs(sizes[1] - sizes[0]) < 1000


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_pickle_contains_no_row(X, method):
    vae = getattr(small(), method)(X)
    saved = pickle.dumps(vae)
    standardised = (X - X.mean(0)) / X.std(0)
    for rows in (X, X.astype(np.float32), standardised, standardised.astype(np.float32)):
        assert not any(row.tobytes() in saved for row in rows)
        assert not any(row[:2].tobytes() in saved for row in rows)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix, pd.DataFrame])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit with X_val", "warm start"])
def test_the_fitted_model_holds_no_rows_in_memory(container, method):
    X, X_val = container(table()), container(table(30, 1))
    vae = small(warm_start=method == "warm start")
    if method == "fit with X_val":
        vae.fit(X, X_val=X_val)
    else:
        getattr(vae, "partial_fit" if method == "partial_fit" else "fit")(X)
    if method == "warm start":
        vae.fit(X)
    alive = weakref.ref(X), weakref.ref(X_val)
    del X, X_val
    gc.collect()
    assert [reference() is None for reference in alive] == [True, True]
    assert not [one for one in gc.get_objects() if issubclass(type(one), Dataset)]
    assert vae.n_iter_ > 0


# --- pipelines and searches


def test_pipeline(X):
    y = X[:, 0] > 0
    pipe = Pipeline(
        [("scale", StandardScaler()), ("vae", small()), ("clf", LogisticRegression())]
    ).fit(X, y)
    assert pipe.predict(X).shape == (90,)
    np.testing.assert_array_equal(
        pipe[:-1].get_feature_names_out(), ["infovaetransformer0", "infovaetransformer1"]
    )
    embed = make_pipeline(StandardScaler(), small()).fit(X)
    back = embed.inverse_transform(embed.transform(X))
    assert back.shape == X.shape
    expected = embed[1].inverse_transform(embed.transform(X)) * X.std(0) + X.mean(0)
    np.testing.assert_allclose(back, expected)


def test_column_transformer(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    both = ColumnTransformer([("left", small(), ["a", "b", "c"]), ("right", "passthrough", ["d"])])
    both.set_output(transform="pandas")
    Z = both.fit_transform(frame)
    assert list(Z.columns) == [
        "left__infovaetransformer0",
        "left__infovaetransformer1",
        "right__d",
    ]
    np.testing.assert_array_equal(
        Z.iloc[:, :2].to_numpy(), small().fit_transform(frame[["a", "b", "c"]])
    )


def test_feature_union(X):
    union = FeatureUnion(
        [("vae", small()), ("one", small(n_components=1)), ("z", StandardScaler())]
    )
    assert union.fit_transform(X).shape == (90, 2 + 1 + 4)
    assert len(union.get_feature_names_out()) == 7


def test_set_output(X):
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(100, 190))
    vae = small().set_output(transform="pandas")
    Z = vae.fit_transform(frame)
    assert isinstance(Z, pd.DataFrame)
    assert Z.index.equals(frame.index)
    assert list(Z.columns) == list(vae.get_feature_names_out())
    assert (Z.dtypes == np.float32).all()
    vae.set_output(transform="polars")
    np.testing.assert_array_equal(vae.transform(frame).to_numpy(), Z.to_numpy())


GRID = {"alpha": [0.0, 0.9], "n_components": [1, 2]}


def test_grid_search_over_processes(X):
    alone = GridSearchCV(small(), GRID, cv=2).fit(X)
    with joblib.parallel_config("loky", n_jobs=2):
        parallel = GridSearchCV(small(), GRID, cv=2, n_jobs=2).fit(X)
    assert np.isfinite(alone.cv_results_["mean_test_score"]).all()
    np.testing.assert_allclose(
        parallel.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-6
    )
    assert parallel.best_params_ == alone.best_params_


def test_grid_search_inside_a_pipeline():
    X, y = load_iris(return_X_y=True)
    pipe = Pipeline([("vae", small(max_epochs=30, lr=1e-2)), ("clf", LogisticRegression())])
    search = GridSearchCV(pipe, {"vae__alpha": [0.5, 0.9], "vae__n_components": [1, 2]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.5


def test_grid_search_over_the_divergence(X):
    divergence = MMD()
    grid = {"divergence__bandwidth": [0.5, None, 8.0]}
    search = GridSearchCV(small(divergence=divergence, early_stopping=False), grid, cv=2).fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    assert (
        search.best_estimator_.divergence.bandwidth == search.best_params_["divergence__bandwidth"]
    )
    assert divergence.bandwidth is None


def test_halving_over_the_epochs(X):
    search = HalvingGridSearchCV(
        small(),
        {"alpha": [0.0, 0.5, 0.9, 0.99]},
        resource="max_epochs",
        min_resources=1,
        max_resources=4,
        factor=2,
        cv=2,
        random_state=0,
    ).fit(X)
    assert search.n_resources_ == [1, 2, 4]
    assert search.best_estimator_.n_iter_ == search.best_estimator_.max_epochs == 4


def test_cross_val_score(X):
    folds = KFold(3)
    scores = cross_val_score(small(), X, cv=folds)
    expected = [small().fit(X[train]).score(X[test]) for train, test in folds.split(X)]
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_cross_val_score_in_threads(X):
    vae = small(max_epochs=20)
    alone = cross_val_score(vae, X, cv=4)
    state = torch.get_rng_state()
    for _ in range(3):
        with joblib.parallel_config("threading", n_jobs=4):
            np.testing.assert_allclose(cross_val_score(vae, X, cv=4), alone, rtol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


def test_two_threads_do_not_mix_their_random_numbers(X):
    meeting = threading.Barrier(2)

    def slow_encoder(n_inputs, n_components):
        # Let the other thread come to the same place, if it can, before weights are drawn.
        try:
            meeting.wait(timeout=0.5)
        except threading.BrokenBarrierError:
            meeting.reset()
        return nn.Sequential(
            nn.Linear(n_inputs, 8), nn.Dropout(0.5), nn.Linear(8, 2 * n_components)
        )

    def encoder(n_inputs, n_components):
        return nn.Sequential(
            nn.Linear(n_inputs, 8), nn.Dropout(0.5), nn.Linear(8, 2 * n_components)
        )

    found = {}

    def fit(seed):
        found[seed] = small(encoder=slow_encoder, random_state=seed, max_epochs=20).fit_transform(X)

    state = torch.get_rng_state()
    threads = [threading.Thread(target=fit, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.get_rng_state(), state)
    for seed, Z in found.items():
        alone = small(encoder=encoder, random_state=seed, max_epochs=20).fit_transform(X)
        np.testing.assert_array_equal(Z, alone)


# --- metadata routing


def test_validation_rows_through_a_pipeline(X):
    X_val = table(30, 1)
    expected = small().fit(X, X_val=X_val)
    with config_context(enable_metadata_routing=True):
        pipe = Pipeline([("vae", small().set_fit_request(X_val=True))])
        pipe.fit(X, X_val=X_val)
        np.testing.assert_array_equal(pipe.transform(X), expected.transform(X))
        assert pipe[0].history_ == expected.history_
        middle = Pipeline(
            [("vae", small().set_fit_request(X_val=True)), ("clf", LogisticRegression())]
        )
        middle.fit(X, X[:, 0] > 0, X_val=X_val)
        assert middle[0].history_ == expected.history_


def test_validation_rows_are_not_routed_unasked(X):
    with config_context(enable_metadata_routing=True):
        pipe = Pipeline([("vae", small())])
        with pytest.raises(ValueError, match="X_val"):
            pipe.fit(X, X_val=X)
        pipe.fit(X)
        search = GridSearchCV(small(), {"alpha": [0.0, 0.9]}, cv=2).fit(X)
        assert np.isfinite(search.best_score_)


def test_validation_rows_through_a_search(X):
    X_val = table(30, 1)
    with config_context(enable_metadata_routing=True):
        vae = small().set_fit_request(X_val=True)
        search = GridSearchCV(vae, {"alpha": [0.0, 0.9]}, cv=2).fit(X, X_val=X_val)
    best = small(**search.best_params_).fit(X, X_val=X_val)
    assert search.best_estimator_.history_ == best.history_


def test_step_parameters_without_routing(X):
    X_val = table(30, 1)
    pipe = Pipeline([("scale", "passthrough"), ("vae", small())]).fit(X, vae__X_val=X_val)
    assert pipe["vae"].history_ == small().fit(X, X_val=X_val).history_


# --- representation


def test_html_representation(X):
    vae = small(alpha=0.25)
    for one in (vae, vae.fit(X)):
        html = one._repr_html_()
        assert "InfoVAETransformer" in html
        assert "0.25" in html


def test_representation_shows_what_was_changed():
    assert repr(InfoVAETransformer(3, alpha=0.9)) == "InfoVAETransformer(alpha=0.9, n_components=3)"


def test_a_device_that_is_not_here_does_not_stop_loading(X):
    """A model that was trained on another machine's device transforms on the CPU."""
    vae = small().fit(X)
    Z = vae.transform(X)
    again = pickle.loads(pickle.dumps(vae.set_params(device="cuda:99")))
    np.testing.assert_array_equal(again.transform(X), Z)
