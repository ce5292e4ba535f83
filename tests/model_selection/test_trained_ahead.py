"""A search trains ahead, and every fit finds its own: only the refit trains alone."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae._training import fitting
from sk_infovae._training.ahead import Ahead, TrainedAhead
from sk_infovae.exceptions import PosteriorCollapseWarning, TrainingDivergedError
from sk_infovae.model_selection import InfoVAEGridSearchCV

X = np.random.default_rng(0).normal(size=(80, 5))
FRAME = pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "x", "y"), "c": X[:, 2] > 0})
TABLES = {
    "array": X,
    "float32": X.astype(np.float32),
    "holes": np.where(X > 2, np.nan, X),
    "csr": sparse.csr_matrix(np.where(X > 0, X, 0)),
    "pandas": FRAME,
    "polars": pl.from_pandas(FRAME),
}


DEAD = PosteriorCollapseWarning("dead")


def small(**params):
    defaults = {"max_epochs": 2, "hidden_layer_sizes": (4,), "n_importance_samples": 4}
    return InfoVAETransformer(2, **{**defaults, "random_state": 0, **params})


@pytest.fixture
def alone(monkeypatch):
    """Trainings of one model by itself."""
    calls, original = [], fitting.train_alone
    monkeypatch.setattr(
        fitting, "train_alone", lambda *args, **kw: (calls.append(1), original(*args, **kw))[1]
    )
    return calls


@pytest.mark.parametrize("seed", [0, None, np.random.RandomState(3)], ids=["int", "none", "state"])
@pytest.mark.parametrize("table", TABLES)
def test_every_fit_finds_its_training(table, seed, alone):
    grid = {"alpha": [0.0, 0.5], "lr": [1e-3, 1e-2]}
    InfoVAEGridSearchCV(small(random_state=seed), grid, cv=2, refit=False).fit(TABLES[table])
    assert alone == []


def test_behind_other_steps_too(alone):
    steps = [("scale", StandardScaler()), ("pca", PCA(3, random_state=0)), ("vae", small())]
    grid = {"vae__alpha": [0.0, 0.5], "pca__n_components": [2, 3]}
    search = InfoVAEGridSearchCV(Pipeline(steps), grid, cv=2).fit(X)
    assert alone == [1]
    assert "_trained_ahead" not in vars(search.best_estimator_["vae"])


def test_a_fit_on_other_rows_trains_alone(alone):
    """A step that draws anew gives rows that nobody has trained on."""

    class Shaken(StandardScaler):
        def transform(self, X):
            return super().transform(X) + np.random.default_rng().normal(size=X.shape)

    pipeline = Pipeline([("shake", Shaken()), ("vae", small())])
    InfoVAEGridSearchCV(pipeline, {"vae__alpha": [0.0, 0.5]}, cv=2, refit=False).fit(X)
    assert len(alone) == 4


def prepared(**params):
    return fitting.prepare_fit(small(**params), X)


def test_what_is_taken_is_gone():
    fit, ahead = prepared(), TrainedAhead()
    ahead.add(fit.key, Ahead(ValueError("no net"), fit.training.plan, fit.layout))
    with pytest.raises(ValueError, match="no net"):
        ahead.take(fit.key)
    assert ahead.take(fit.key) is None
    assert ahead.take(None) is None
    assert ahead.take("another") is None


def test_a_copy_finds_the_same_in_files_until_they_are_cleared():
    fit, ahead = prepared(), TrainedAhead()
    vae = small().fit(X)
    failed = prepared(alpha=0.0)
    ahead.add(fit.key, Ahead(vae.net_, fit.training.plan, fit.layout, (DEAD,)))
    ahead.add(failed.key, Ahead(TrainingDivergedError("far"), failed.training.plan, None))
    copy = pickle.loads(pickle.dumps(ahead))
    found = copy.take(fit.key)
    for name, value in vae.net_.weights().items():
        np.testing.assert_array_equal(found.net.weights()[name], value)
    assert found.layout.seed == fit.layout.seed
    assert [str(one) for one in found.warnings] == ["dead"]
    with pytest.raises(TrainingDivergedError, match="far"):
        copy.take(failed.key)
    assert ahead.warnings == [DEAD]
    ahead.clear()
    assert copy.take(fit.key) is None
    assert ahead.take(fit.key) is None


def test_clones_carry_it_and_fits_outside_a_search_do_not():
    vae = small()
    assert "_trained_ahead" not in vars(clone(vae))
    vae._trained_ahead = TrainedAhead()
    assert clone(clone(Pipeline([("vae", vae)])))["vae"]._trained_ahead is vae._trained_ahead
