"""The line of progress over a whole search: its totals, its time to the end, its silence."""

import re
import threading

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_wine
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import KFold
from tqdm import tqdm

from sk_infovae import InfoVAETransformer
from sk_infovae._training import loop, progress
from sk_infovae._training.fitting import prepare_fit
from sk_infovae._training.net import InfoVAENet
from sk_infovae.divergences import MMD
from sk_infovae.model_selection import InfoVAEGridSearchCV, candidates

X = load_wine().data[:60, :5]


def small(**params):
    defaults = {"max_epochs": 5, "hidden_layer_sizes": (6,), "n_importance_samples": 4}
    return InfoVAETransformer(**{**defaults, "batch_size": 20, "random_state": 0, **params})


def search(vae, grid, **params):
    return InfoVAEGridSearchCV(vae, grid, cv=KFold(2), refit=False, **params)


def epochs_trained(vae, X, y=None):
    return vae.n_iter_


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """Standard error can be written over; what a log shows is tested with the line of a fit."""
    monkeypatch.setattr(progress, "is_log", lambda: False)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told otherwise; tqdm's own reads it."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def last_state(err):
    """What the line said last: model-epochs done and in all."""
    return tuple(map(int, re.findall(r"(\d+)/(\d+) \[", err)[-1]))


def seconds_left(line):
    minutes, seconds = re.search(r"<(\d+):(\d+)", str(line)).groups()
    return 60 * int(minutes) + int(seconds)


def test_time_left_is_what_remains_by_its_cost(clock, capsys):
    """Two stacks of 10 epochs, of which an epoch of the second costs three times as much."""
    line = progress.SearchLine([10, 10], [1.0, 3.0], disable=False)
    assert "<?" in str(line)
    clock[0] += 5
    line.advance(0, 5, 5)
    assert (line.n, line.total, seconds_left(line)) == (5, 20, 35)
    clock[0] += 2
    line.advance(0, 2, 0)  # the other models of the first stack stop
    assert (line.n, line.total, seconds_left(line)) == (7, 17, 30)
    clock[0] += 30
    line.advance(1, 10, 0)
    assert (line.n, line.total, seconds_left(line)) == (17, 17, 0)
    line.close()
    assert last_state(capsys.readouterr().err) == (17, 17)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_end_it_foresees(clock, monkeypatch, early_stopping):
    """On a clock by which a model-epoch takes what its matrix products cost.

    Nothing stops early: the end is foreseen exactly, from the first epoch on. Models stop early:
    it is never foreseen too soon, only comes nearer, and is right at last.
    """
    run_epoch, ends = InfoVAENet.run_single_epoch, []

    def seconds(trainings):
        learned = sum(p.numel() for p in trainings[0].module.parameters())
        return 1e-3 * learned * len(trainings[0].rows)

    def timed(net, iterator, training, **kwargs):
        active = sum(not member.done for member in net.members_)
        run_epoch(net, iterator, training, **kwargs)
        if training:
            learned = sum(p[0].numel() for p in net.module_.parameters())
            clock[0] += active * 1e-3 * learned * len(iterator.dataset)

    class Line(progress.SearchLine):
        def advance(self, *args):
            super().advance(*args)
            to_spend = np.dot(self.costs, self.left)
            ends.append(clock[0] + (clock[0] - self.start_t) * to_spend / self.spent)
            shown = self.format_dict["time_left"]
            assert shown == tqdm.format_interval(ends[-1] - clock[0])

    monkeypatch.setattr(InfoVAENet, "run_single_epoch", timed)
    monkeypatch.setattr(candidates, "SearchLine", Line)
    monkeypatch.setattr(candidates, "seconds_per_epoch", seconds)
    grid = {"n_components": [1, 4], "hidden_layer_sizes": [(4,), (30,)], "tol": [0.0, 1e6]}
    vae = small(early_stopping=early_stopping, n_iter_no_change=2)
    search(vae, grid, verbose=1).fit(X)
    assert ends[-1] == pytest.approx(clock[0])
    if early_stopping:
        assert ends[0] > clock[0] + 10
        assert (np.diff(ends) < 1e-6).all()
    else:
        assert len(ends) == 4 * 5
        np.testing.assert_allclose(ends, clock[0])


def test_what_an_epoch_costs_is_measured(monkeypatch):
    """On a clock by which a step takes a second: steps of an epoch, shared by the models.

    The step is forgotten: the models are as they were.
    """
    now, step = [0.0], InfoVAENet.train_step

    def timed(self, *args, **kwargs):
        now[0] += 9.0 if not now[0] else 1.0  # the first one warms up
        return step(self, *args, **kwargs)

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(InfoVAENet, "train_step", timed)
    rows = np.random.default_rng(0).normal(size=(1000, 5))
    vaes = [small(alpha=alpha, batch_size=100, early_stopping=False) for alpha in (0, 0.3, 0.6, 1)]
    trainings = [prepare_fit(vae, rows).training for vae in vaes]
    before = [p.detach().clone() for p in trainings[0].module.parameters()]
    assert loop.seconds_per_epoch(trainings) == 10 / 4
    after = trainings[0].module.parameters()
    assert all(torch.equal(p, old) for p, old in zip(after, before, strict=True))


def test_the_line_ends_at_its_total_and_counts_what_was_trained(capsys):
    """Every epoch that a model trained is counted, and no other.

    One in five stops at once, too few for the stack to be made smaller.
    """
    vae, sizes = small(max_epochs=12, n_iter_no_change=2), {"n_components": [1, 2]}
    grid = [{"tol": [0.0], "lr": [1e-3, 3e-3, 1e-2, 2e-2], **sizes}, {"tol": [1e6], **sizes}]
    found = search(vae, grid, scoring=epochs_trained, verbose=1).fit(X)
    out, err = capsys.readouterr()
    n_epochs = 2 * found.cv_results_["mean_test_score"].sum()
    assert last_state(err) == (n_epochs, n_epochs)
    assert n_epochs <= 20 * 12 - 4 * 9 < 20 * 12 == int(re.search(r"/(\d+) \[", err)[1])
    assert err.count("\n") == 1
    assert "model-epoch/s" in err
    assert out == "Fitting 2 folds for each of 10 candidates, totalling 20 fits\n"


def test_lines_of_scikit_learn_stay(capsys):
    search(small(), {"alpha": [0.0, 0.5]}, verbose=3).fit(X)
    out, err = capsys.readouterr()
    assert len(re.findall(r"^\[CV [12]/2\] END .*score=.*total time=", out, re.MULTILINE)) == 4
    assert last_state(err) == (20, 20)


def test_quiet_by_default(capsys):
    threads = threading.active_count()
    search(small(), {"alpha": [0.0, 0.5], "n_components": [1, 2]}).fit(X)
    assert capsys.readouterr() == ("", "")
    assert threading.active_count() == threads


def test_no_line_where_nothing_is_trained_together(capsys):
    search(KMeans(n_init=1, random_state=0), {"n_clusters": [2, 3]}, verbose=1).fit(X)
    assert capsys.readouterr().err == ""


def test_a_verbose_estimator_is_stacked_under_the_line_of_the_search(capsys, monkeypatch):
    """One line in the place of the estimators' own, and no number changes."""
    sizes, original = [], loop.train_together
    monkeypatch.setattr(
        candidates,
        "train_together",
        lambda trainings, *watch: (sizes.append(len(trainings)), original(trainings, *watch))[1],
    )
    grid = {"alpha": [0.0, 0.5]}
    loud = search(small(verbose=1, early_stopping=False), grid).fit(X)
    assert sizes == [4]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert last_state(err) == (20, 20)
    quiet = search(small(early_stopping=False), grid).fit(X)
    name = "mean_test_score"
    np.testing.assert_array_equal(loud.cv_results_[name], quiet.cv_results_[name])


def test_ctrl_c_closes_the_line(capsys, monkeypatch):
    original, calls = InfoVAENet.on_epoch_begin, []

    def interrupted(net, *args, **kwargs):
        calls.append(net)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(net, *args, **kwargs)

    monkeypatch.setattr(InfoVAENet, "on_epoch_begin", interrupted)
    # What was raised holds every frame: nothing is closed by being forgotten.
    with pytest.raises(KeyboardInterrupt) as stop:
        search(small(), {"alpha": [0.0, 0.5]}, verbose=1).fit(X)
    err = capsys.readouterr().err
    assert err.endswith("\n")
    assert last_state(err) == (8, 20)
    assert stop.tb is not None
    assert not getattr(tqdm, "_instances", None)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_a_divergence_that_refuses_its_parameters_costs_itself_only(capsys):
    grid = {"divergence__bandwidth": [-1.0, 1.0, "wide", 2.0]}
    with pytest.warns(FitFailedWarning, match="positive and finite bandwidth"):
        found = search(small(divergence=MMD()), grid, verbose=1).fit(X)
    scores = found.cv_results_["mean_test_score"]
    assert np.isfinite(scores).tolist() == [False, True, False, True]
    done, total = last_state(capsys.readouterr().err)
    assert done == total == 20
