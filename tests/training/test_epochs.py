"""max_epochs="auto": a number that follows from the training rows."""

import pickle

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from small_fits import same_weights, small, table, weights

from sk_infovae._training import plan
from sk_infovae.model_selection import InfoVAEGridSearchCV


@pytest.fixture
def few_epochs(monkeypatch):
    monkeypatch.setattr(plan, "EPOCHS", (2, 6))
    monkeypatch.setattr(plan, "ROWS_SEEN", 400)


def planned(n_rows, **params):
    params = {**small(max_epochs="auto").get_params(), **params}
    return plan.TrainingPlan.from_params(params).for_rows(n_rows).max_epochs


@pytest.mark.parametrize(
    ("n_rows", "n_epochs"),
    [(1, 100), (20_000, 100), (20_001, 99), (60_000, 33), (200_000, 10), (10**9, 10)],
)
def test_many_rows_take_fewer_epochs(n_rows, n_epochs):
    assert planned(n_rows) == n_epochs
    assert planned(n_rows, max_epochs=7) == 7


@pytest.mark.usefixtures("few_epochs")
@pytest.mark.parametrize(("n_rows", "n_epochs"), [(40, 6), (100, 4), (300, 2)])
def test_a_fit_is_that_of_the_number(n_rows, n_epochs):
    """Counted are the rows that train, a tenth less than those of X."""
    X = table(n_rows)
    auto, told = (small(max_epochs=n, tol=0.0).fit(X) for n in ("auto", n_epochs))
    assert same_weights(weights(auto), weights(told))
    assert auto.n_iter_ == told.n_iter_
    assert auto.net_.max_epochs == n_epochs


@pytest.mark.usefixtures("few_epochs")
def test_a_search_counts_the_rows_of_each_split():
    X, grid = table(100), {"max_epochs": ["auto", 1], "batch_size": [16, 64]}
    rows = np.arange(100)
    cv = [(rows[:40], rows[40:]), (rows[:90], rows[90:])]
    together, alone = (
        search(small(lr=0.05), grid, cv=cv).fit(X) for search in (InfoVAEGridSearchCV, GridSearchCV)
    )
    for split in ("split0_test_score", "split1_test_score"):
        scores = [one.cv_results_[split] for one in (together, alone)]
        np.testing.assert_allclose(*scores, atol=2e-3)
    assert together.best_estimator_.net_.max_epochs == alone.best_estimator_.net_.max_epochs == 4


@pytest.mark.usefixtures("few_epochs")
def test_a_pickle_keeps_the_number(monkeypatch):
    X = table()
    vae = small(max_epochs="auto").fit(X)
    described = pickle.dumps(vae.set_params(max_epochs=1))
    monkeypatch.setattr(plan, "EPOCHS", (7, 7))
    assert pickle.loads(described).net_.max_epochs == 3


@pytest.mark.usefixtures("few_epochs")
def test_scikit_learns_callbacks_take_it():
    callback = pytest.importorskip("sklearn.callback", reason="came with scikit-learn 1.9")
    vae = small(max_epochs="auto", early_stopping=False).set_callbacks(callback.ProgressBar())
    assert vae.fit(table()).n_iter_ == 3


def test_other_words_are_refused():
    with pytest.raises(ValueError, match=r"'max_epochs' .*'auto'.* Got 'automatic' instead"):
        small(max_epochs="automatic").fit(table())
