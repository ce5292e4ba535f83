"""A search that was killed and is run again: the very same results, and no stack trained twice."""

import os
from pathlib import Path

import numpy as np
import pytest
from killing import check_killed
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.pipeline import Pipeline

from sk_infovae import InfoVAETransformer
from sk_infovae._base import files
from sk_infovae.model_selection import (
    InfoVAEGridSearchCV,
    InfoVAERandomizedSearchCV,
    candidates,
)

X = np.random.default_rng(0).normal(size=(80, 5))
GRID = {"n_components": [1, 2, 3], "alpha": [0.0, 0.5], "divergence": ["mmd", "adversarial"]}


def small(**params):
    defaults = {"max_epochs": 2, "hidden_layer_sizes": (4,), "n_importance_samples": 4}
    return InfoVAETransformer(2, **{**defaults, "random_state": 0, **params})


@pytest.fixture
def stacks(monkeypatch):
    """Stacks that were trained."""
    calls, original = [], candidates.train_part
    monkeypatch.setattr(
        candidates, "train_part", lambda *args: (calls.append(args[0]), original(*args))[1]
    )
    return calls


def results(search):
    """All that a search says, but for times."""
    kept = {k: v for k, v in search.cv_results_.items() if "time" not in k}
    return {k: np.asarray(v).tolist() for k, v in kept.items()}


def assert_same(one, other):
    np.testing.assert_equal(results(one), results(other))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))


def test_taken_up_where_it_was_killed(tmp_path, stacks, monkeypatch):
    whole = InfoVAEGridSearchCV(small(), GRID, cv=2).fit(X)
    n_stacks, trained = len(stacks), candidates.train_part
    assert n_stacks >= 6
    for n_more in (0, 2, 1):
        left = iter(range(n_more))

        def killed(*args, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return trained(*args)

        monkeypatch.setattr(candidates, "train_part", killed)
        with pytest.raises(KeyboardInterrupt):
            InfoVAEGridSearchCV(small(), GRID, cv=2, memory=tmp_path).fit(X)
    monkeypatch.setattr(candidates, "train_part", trained)
    assert len(os.listdir(tmp_path)) == 3
    stacks.clear()
    again = InfoVAEGridSearchCV(small(), GRID, cv=2, memory=str(tmp_path)).fit(X)
    assert len(stacks) == n_stacks - 3
    assert_same(again, whole)
    stacks.clear()
    assert_same(InfoVAEGridSearchCV(small(), GRID, cv=2, memory=tmp_path).fit(X), whole)
    assert stacks == []


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"verbose": 1}, False),
        ({"lr": 1e-2}, True),
        ({"random_state": 1}, True),
        ({"device": "cpu"}, True),
    ],
)
def test_what_decides_the_training_decides_the_file(tmp_path, stacks, change, anew):
    grid = {"alpha": [0.0, 0.5]}
    InfoVAEGridSearchCV(small(), grid, cv=2, memory=tmp_path).fit(X)
    stacks.clear()
    InfoVAEGridSearchCV(small(**change), grid, cv=2, memory=tmp_path).fit(X)
    assert bool(stacks) == anew


def test_other_rows_are_another_search(tmp_path, stacks):
    search = InfoVAEGridSearchCV(small(), {"alpha": [0.0, 0.5]}, cv=2, memory=tmp_path).fit(X)
    before = results(search)
    n_stacks = len(stacks)
    Y = X.copy()
    Y[0, 0] += 1e-9
    search.fit(Y)
    assert len(stacks) == 2 * n_stacks
    assert results(search) != before


def test_in_a_pipeline_in_a_randomized_search_over_processes(tmp_path, stacks):
    steps = Pipeline([("pca", PCA(3, random_state=0)), ("vae", small())])
    params = {"vae__alpha": stats.uniform(0, 0.9), "pca__n_components": [2, 3]}
    options = {"n_iter": 4, "cv": 2, "random_state": 0, "n_jobs": 2}
    whole = InfoVAERandomizedSearchCV(steps, params, **options).fit(X)
    stacks.clear()
    for taken_up in (False, True):
        kept = InfoVAERandomizedSearchCV(steps, params, **options, memory=tmp_path).fit(X)
        assert bool(stacks) != taken_up
        assert_same(kept, whole)
        stacks.clear()


def test_a_training_that_diverges_is_kept_as_its_error(tmp_path, stacks):
    grid, options = {"lr": [1e-3, 1e6]}, {"cv": 2, "refit": False, "memory": tmp_path}
    for _ in range(2):
        with pytest.warns((FitFailedWarning, UserWarning)):
            search = InfoVAEGridSearchCV(small(max_epochs=20), grid, **options).fit(X)
        assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert len(stacks) == 1


def test_a_damaged_file_is_trained_anew(tmp_path, stacks):
    search = InfoVAEGridSearchCV(small(), {"alpha": [0.0, 0.5]}, cv=2, memory=tmp_path).fit(X)
    before, n_stacks = results(search), len(stacks)
    (file, *_) = tmp_path.glob("*.stack")
    data = bytearray(file.read_bytes())
    data[99] ^= 1
    file.write_bytes(bytes(data))
    with pytest.warns(RuntimeWarning, match="is damaged: its stack is trained anew"):
        search.fit(X)
    assert len(stacks) == n_stacks + 1
    np.testing.assert_equal(results(search), before)


def test_a_full_disk_costs_no_result(tmp_path, stacks, monkeypatch):
    whole = InfoVAEGridSearchCV(small(), {"alpha": [0.0, 0.5]}, cv=2).fit(X)

    write = files.write

    def full(data, file):
        if data:
            raise OSError(28, "No space left on device")
        write(data, file)

    monkeypatch.setattr(files, "write", full)
    with pytest.warns(RuntimeWarning, match="could not be kept in .*No space left"):
        found = InfoVAEGridSearchCV(small(), {"alpha": [0.0, 0.5]}, cv=2, memory=tmp_path).fit(X)
    assert_same(found, whole)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_can_not_be_is_said_before_anything_is_trained(tmp_path, stacks):
    file = tmp_path / "file"
    file.write_text("no folder")
    search = InfoVAEGridSearchCV(small(), {"alpha": [0.0, 0.5]}, memory=file)
    with pytest.raises(OSError, match="file"):
        search.fit(X)
    assert stacks == []
    with pytest.raises(ValueError, match="'memory' parameter"):
        search.set_params(memory=3).fit(X)


SCRIPT = """
import sys, numpy as np
sys.path[:0] = {folders!r}
from test_checkpoints import GRID, X, small
from sk_infovae.model_selection import InfoVAEGridSearchCV
search = InfoVAEGridSearchCV(small(max_epochs=150), GRID, cv=2, memory=sys.argv[1]).fit(X)
print(repr(search.cv_results_["mean_test_score"].tolist()), search.transform(X).tobytes().hex())
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    here = Path(__file__).parent
    script = SCRIPT.format(folders=[str(here), str(here.parent)])
    check_killed(script, tmp_path, n_kills=5)
    assert {file.suffix for file in tmp_path.glob("killed*/*")} == {".stack"}
