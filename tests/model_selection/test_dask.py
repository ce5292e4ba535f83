"""Searches over the workers of a dask cluster: two processes on this machine."""

import os
import time
from functools import partial

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV

from sk_infovae import InfoVAETransformer
from sk_infovae.model_selection import InfoVAEGridSearchCV, candidates

distributed = pytest.importorskip("distributed", reason="needs dask.distributed")

X = load_wine().data
GRID = {"alpha": [0.0, 0.5], "n_components": [1, 2]}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Of two workers with one thread each; joblib finds it by itself."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def score(vae, X, y=None):
    return vae.score(X)


def process(vae, X, y=None):
    return os.getpid()


@pytest.mark.parametrize("search_class", [GridSearchCV, InfoVAEGridSearchCV])
def test_a_cluster_gives_the_results_of_a_local_run(client, search_class):
    vae = InfoVAETransformer(
        max_epochs=3, hidden_layer_sizes=(8,), n_importance_samples=8, random_state=0
    )
    scoring = {"score": score, "process": process}
    search = search_class(vae, GRID, cv=2, scoring=scoring, refit="score", return_train_score=True)
    local = search.fit(X).cv_results_
    embedding = search.transform(X)
    assert set(local["mean_test_process"]) == {os.getpid()}
    with joblib.parallel_config(backend="dask"):
        search.fit(X)
    assert set(search.cv_results_) == set(local)
    for key, expected in local.items():
        found = search.cv_results_[key]
        if key == "params" or (key.startswith(("param_", "rank_")) and "process" not in key):
            assert list(found) == list(expected)
        elif "time" not in key and "process" not in key:
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(search.transform(X), embedding, rtol=1e-5, atol=1e-6)
    where = {pid for k in range(2) for pid in search.cv_results_[f"split{k}_test_process"]}
    assert where <= set(client.run(os.getpid).values())


def first_code(vae, X, y=None):
    return float(vae.transform(X[:1])[0, 0])


def test_stacks_are_trained_by_the_workers(client, monkeypatch):
    monkeypatch.setattr(candidates, "train_together", lambda *_: pytest.fail("trained here"))
    vae = InfoVAETransformer(max_epochs=1, hidden_layer_sizes=(8,), random_state=0)
    grid = {"alpha": [0.0, 0.5], "lambd": [1.0, 1e39]}
    search = InfoVAEGridSearchCV(vae, grid, cv=2, refit=False, scoring=first_code)
    # 12 MB of rows a fold: dask would warn if they went as a part of the task.
    with (
        joblib.parallel_config(backend="dask"),
        pytest.warns(FitFailedWarning, match="Training diverged"),
        pytest.warns(UserWarning, match="One or more of the test scores"),
    ):
        search.fit(np.random.default_rng(0).normal(size=(4000, 1500)))
    finite = np.isfinite(search.cv_results_["mean_test_score"])
    assert finite.tolist() == [True, False, True, False]


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def lost_with_two(part, folder):
    """Is lost as soon as the other stack is kept. A worker has the module as it is."""
    if part.trainings[0].architecture.n_components == 1:
        return candidates.train_part(part)
    end = time.monotonic() + 60
    while not files_in(folder) and time.monotonic() < end:
        time.sleep(0.05)
    raise RuntimeError("a worker was lost")


def test_what_came_back_before_a_worker_was_lost_is_kept(client, monkeypatch, tmp_path):
    vae = InfoVAETransformer(max_epochs=2, hidden_layer_sizes=(8,), random_state=0)
    search = InfoVAEGridSearchCV(vae, GRID, cv=2, refit=False, scoring=first_code, memory=tmp_path)
    with monkeypatch.context() as patched, joblib.parallel_config(backend="dask"):
        patched.setattr(candidates, "train_part", partial(lost_with_two, folder=tmp_path))
        with pytest.raises(RuntimeError, match="a worker was lost"):
            search.fit(X)
    (kept,) = files_in(tmp_path)
    before = kept.stat().st_mtime_ns
    search.fit(X)
    assert kept.stat().st_mtime_ns == before
    assert len(files_in(tmp_path)) == 2
