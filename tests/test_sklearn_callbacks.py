"""scikit-learn's callbacks on the estimator, alone and inside a search."""

import gc
import itertools

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sk_infovae import InfoVAETransformer
from sk_infovae.callbacks import ScoreMonitor
from sk_infovae.exceptions import TrainingDivergedError

callback = pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")


def small(**params):
    defaults = {
        "hidden_layer_sizes": (8,),
        "max_epochs": 4,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    return InfoVAETransformer(**(defaults | params))


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(80, 4))


class Watch:
    """Writes down every call."""

    def __init__(self):
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.calls.append(f"end {context.task_name}")


class StopAfter(Watch):
    """Stops training when some epochs have ended."""

    def __init__(self, n_epochs):
        super().__init__()
        self.n_epochs = n_epochs

    def on_fit_task_end(self, estimator, context):
        super().on_fit_task_end(estimator, context)
        return self.calls.count("end epoch") >= self.n_epochs


class Keep(Watch):
    """Keeps the fitted estimator of every epoch, and its embedding of X at that time."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        if context.task_name == "epoch":
            self.kept.append((fitted_estimator, fitted_estimator.transform(X)))


def epochs_of(monitor):
    return [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]


def test_every_epoch_is_a_task(X):
    watch = Watch()
    small(max_epochs=2).set_callbacks(watch).fit(X)
    assert watch.calls == [
        "setup",
        "begin fit",
        "begin epoch",
        "end epoch",
        "begin epoch",
        "end epoch",
        "end fit",
        "teardown",
    ]


def test_callbacks_change_nothing(X):
    plain = small().fit(X)
    watched = small().set_callbacks(Watch(), Keep()).fit(X)
    np.testing.assert_array_equal(watched.transform(X), plain.transform(X))
    assert watched.history_ == plain.history_


def test_callbacks_are_torn_down_when_fit_fails(X):
    watch = Watch()
    vae = small(lr=1e6, max_epochs=20).set_callbacks(watch)
    with pytest.raises(TrainingDivergedError):
        vae.fit(X)
    assert watch.calls[-1] == "teardown"
    assert not hasattr(vae, "net_")
    vae.set_params(lr=1e-3, max_epochs=2).fit(X)
    assert vae.n_iter_ == 2


def test_progress_bar(X, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    small().set_callbacks(callback.ProgressBar()).fit(X)
    out = capsys.readouterr().out
    assert "InfoVAETransformer - fit" in out
    assert "100%" in out


def test_progress_bar_on_a_search(X, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    search = GridSearchCV(small(), {"alpha": [0.0, 0.9]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X)
    out = capsys.readouterr().out
    assert "GridSearchCV - fit" in out
    assert "InfoVAETransformer - fit" in out
    assert "100%" in out
    assert np.isfinite(search.best_score_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_callback_stops_training(X, early_stopping):
    stop = StopAfter(3)
    vae = small(max_epochs=20, early_stopping=early_stopping).set_callbacks(stop).fit(X)
    assert vae.n_iter_ == len(vae.history_) == 3
    assert stop.calls[-2:] == ["end fit", "teardown"]
    assert np.isfinite(vae.transform(X)).all()


def test_a_stop_does_not_cost_the_epoch_that_it_came_with(X):
    keep = Keep()
    vae = small(max_epochs=20, tol=0.0).set_callbacks(keep, StopAfter(3)).fit(X)
    losses = [epoch["valid_loss"] for epoch in vae.history_]
    np.testing.assert_array_equal(vae.transform(X), keep.kept[int(np.argmin(losses))][1])


def test_the_estimator_of_an_epoch_is_an_independent_copy(X):
    keep = Keep()
    vae = small(early_stopping=False, lr=1e-2).set_callbacks(keep).fit(X)
    assert len(keep.kept) == 4
    for number, (estimator, Z) in enumerate(keep.kept, start=1):
        assert estimator is not vae
        assert estimator.n_iter_ == len(estimator.history_) == number
        np.testing.assert_array_equal(estimator.transform(X), Z)
    embeddings = [Z for _, Z in keep.kept]
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(embeddings))
    np.testing.assert_array_equal(vae.transform(X), embeddings[-1])
    # It can go on by itself, and the fitted estimator does not notice.
    keep.kept[0][0].partial_fit(X)
    np.testing.assert_array_equal(vae.transform(X), embeddings[-1])


def test_the_estimator_of_an_epoch_during_a_warm_start(X):
    keep = Keep()
    vae = small(warm_start=True, early_stopping=False).fit(X)
    vae.set_callbacks(keep).fit(X)
    assert [estimator.n_iter_ for estimator, _ in keep.kept] == [5, 6, 7, 8]
    np.testing.assert_array_equal(vae.transform(X), keep.kept[-1][1])


def test_score_monitor_records_every_epoch_without_y(X):
    monitor = ScoreMonitor()
    vae = small(early_stopping=False).set_callbacks(monitor).fit(X)
    rows = epochs_of(monitor)
    assert [row["task_id"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["score"] == pytest.approx(vae.score(X), rel=1e-9)
    assert len({row["score"] for row in rows}) == 4


def test_score_monitor_with_a_scorer_of_the_users_own(X):
    monitor = ScoreMonitor({"epochs": lambda estimator, X, y=None: float(estimator.n_iter_)})
    small().set_callbacks(monitor).fit(X)
    assert [row["epochs"] for row in epochs_of(monitor)] == [1, 2, 3, 4]


def test_score_monitor_inside_a_search(X):
    monitor = ScoreMonitor()
    vae = small(max_epochs=2, early_stopping=False).set_callbacks(monitor)
    search = GridSearchCV(vae, {"alpha": [0.0, 0.9]}, cv=2).fit(X)
    rows = [
        row
        for log in monitor.get_logs(select="all")
        for row in log.data
        if row["task_name"] == "epoch"
    ]
    assert len(rows) == (2 * 2 + 1) * 2  # two candidates, two folds, the refit; two epochs
    assert all(np.isfinite(row["score"]) for row in rows)
    assert any(row["score"] == pytest.approx(search.score(X), rel=1e-9) for row in rows)


@pytest.mark.slow
def test_score_monitor_inside_a_search_over_processes(X):
    monitor = ScoreMonitor()
    vae = small(max_epochs=2, early_stopping=False).set_callbacks(monitor)
    GridSearchCV(vae, {"alpha": [0.0, 0.9]}, cv=2, n_jobs=2).fit(X)
    scores = [
        row["score"]
        for log in monitor.get_logs(select="all")
        for row in log.data
        if row["task_name"] == "epoch"
    ]
    assert len(scores) == (2 * 2 + 1) * 2
    assert np.isfinite(scores).all()


def test_scoring_monitor_of_scikit_learn(X):
    # Not scoring=None, which scikit-learn 1.9.1 fails on for every estimator.
    monitor = callback.ScoringMonitor(scoring={"score": lambda vae, X, y: vae.score(X)})
    vae = small(early_stopping=False).set_callbacks(monitor).fit(X, np.zeros(len(X)))
    rows = epochs_of(monitor)
    assert len(rows) == 4
    assert rows[-1]["score"] == pytest.approx(vae.score(X), rel=1e-9)


def test_callbacks_leave_no_rows_behind(X):
    class Rows(np.ndarray):
        """An array whose life can be watched."""

        alive = 0

        def __array_finalize__(self, original):
            Rows.alive += 1

        def __del__(self):
            Rows.alive -= 1

    vae = small().set_callbacks(Watch()).fit(X.copy().view(Rows))
    gc.collect()
    assert vae.n_iter_ == 4
    assert Rows.alive == 0
