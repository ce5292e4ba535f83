"""Training: the history, early stopping, going on, net_params, divergence, Ctrl-C, progress."""

import copy
import signal

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    ProgressBar,
    TrainEndCheckpoint,
)
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae.exceptions import TrainingDivergedError

TERMS = ("loss", "reconstruction", "kl", "divergence")


def small(*callbacks, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 5,
        "batch_size": 32,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    if callbacks:
        defaults["net_params"] = {"callbacks": list(callbacks)}
    return InfoVAETransformer(**(defaults | params))


def table(n_rows=120, seed=0):
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 4))
    return plane + 0.1 * rng.normal(size=(n_rows, 4))


@pytest.fixture(scope="module")
def X():
    return table()


def weights(net_or_vae):
    return {name: value.clone() for name, value in net_or_vae.module_.state_dict().items()}


def same_weights(one, other):
    return all(torch.equal(one[name], other[name]) for name in one | other)


def optimizer_steps(vae):
    return {int(state["step"]) for state in vae.net_.optimizer_.state.values()}


class Snapshots(Callback):
    """Keeps the weights of every epoch; the log belongs to the class, as fit clones callbacks."""

    log: list = []  # noqa: RUF012

    def on_epoch_end(self, net, **kwargs):
        self.log.append(weights(net))


@pytest.fixture
def snapshots():
    Snapshots.log = []
    return Snapshots()


# --- history


@pytest.mark.parametrize(("alpha", "lambd"), [(0.5, 10.0), (0, 1), (1, 100.0), (-3, 4.0)])
def test_history_adds_up(X, alpha, lambd):
    vae = small(alpha=alpha, lambd=lambd, max_epochs=4).fit(X)
    assert [epoch["epoch"] for epoch in vae.history_] == [1, 2, 3, 4]
    assert vae.n_iter_ == 4
    for epoch in vae.history_:
        assert set(epoch) == {"epoch", *TERMS, *(f"valid_{term}" for term in TERMS)}
        for part in ("", "valid_"):
            loss, reconstruction, kl, divergence = (epoch[part + term] for term in TERMS)
            expected = -reconstruction + (1 - alpha) * kl + (alpha + lambd - 1) * divergence
            assert loss == pytest.approx(expected, abs=1e-4)


def test_history_without_validation_has_no_validation_terms(X):
    vae = small(early_stopping=False).fit(X)
    assert all(set(epoch) == {"epoch", *TERMS} for epoch in vae.history_)


def test_history_is_the_mean_over_rows(X):
    # Batches of 100 and 20 rows: a mean over batches would weigh a row of the second fivefold.
    sums = []

    class Sums(Callback):
        def on_batch_end(self, net, batch, y_pred, **kwargs):
            sums.append((len(batch.x), y_pred.loss.item()))

    vae = small(Sums(), batch_size=100, early_stopping=False, max_epochs=1).fit(X)
    assert [n for n, _ in sums] == [100, 20]
    mean = sum(n * loss for n, loss in sums) / 120
    assert vae.history_[0]["loss"] == pytest.approx(mean, rel=1e-5)


def test_training_lowers_the_loss(X):
    history = small(max_epochs=60, lr=1e-2, early_stopping=False).fit(X).history_
    assert history[-1]["loss"] < history[0]["loss"] - 1
    assert history[-1]["reconstruction"] > history[0]["reconstruction"] + 1


def test_history_keeps_no_records_of_batches(X):
    vae = small(batch_size=4).fit(X)
    assert all(len(epoch["batches"]) <= 1 for epoch in vae.net_.history)


def test_rows_held_out_do_not_train():
    rows = []

    class Count(Callback):
        def on_batch_end(self, net, batch, training, **kwargs):
            rows.append((training, len(batch.x)))

    small(Count(), max_epochs=1, validation_fraction=0.25).fit(table(200))
    assert sum(n for training, n in rows if training) == 150
    assert sum(n for training, n in rows if not training) == 50


# --- early stopping


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_restores_the_best_weights(X, snapshots, patience):
    vae = small(snapshots, max_epochs=100, lr=5e-2, n_iter_no_change=patience, tol=0.0).fit(X)
    losses = [epoch["valid_loss"] for epoch in vae.history_]
    best = int(np.argmin(losses))
    assert vae.n_iter_ == len(losses) == len(snapshots.log) == best + 1 + patience < 100
    assert same_weights(weights(vae), snapshots.log[best])
    assert not same_weights(snapshots.log[best], snapshots.log[-1])


@pytest.mark.parametrize("tol", [0.0, 1.0])
def test_the_best_weights_are_restored_at_the_last_epoch_too(X, snapshots, tol):
    vae = small(snapshots, max_epochs=12, lr=0.1, n_iter_no_change=100, tol=tol).fit(X)
    losses = [epoch["valid_loss"] for epoch in vae.history_]
    assert len(losses) == 12
    assert np.argmin(losses) < 11
    assert same_weights(weights(vae), snapshots.log[int(np.argmin(losses))])


def test_restored_weights_have_the_smallest_validation_loss(X):
    held_out = table(50, seed=1)
    vae = small(max_epochs=60, lr=5e-2, n_iter_no_change=4, tol=0.0).fit(X, X_val=held_out)
    best = min(vae.history_, key=lambda epoch: epoch["valid_loss"])
    assert vae.history_[-1]["valid_loss"] > best["valid_loss"]
    # A step of no length evaluates the restored weights again; the KL term needs no noise for z.
    vae.set_params(warm_start=True, max_epochs=1, lr=1e-12).fit(X, X_val=held_out)
    assert vae.history_[-1]["valid_kl"] == pytest.approx(best["valid_kl"], rel=1e-5)


def test_tol_is_what_counts_as_better(X):
    patient = small(max_epochs=40, n_iter_no_change=3, tol=0.0).fit(X)
    strict = small(max_epochs=40, n_iter_no_change=3, tol=1e6).fit(X)
    assert strict.n_iter_ == 1 + 3
    assert patient.n_iter_ > strict.n_iter_


def test_without_early_stopping_training_goes_on_to_the_end(X, snapshots):
    vae = small(snapshots, max_epochs=30, lr=0.1, early_stopping=False).fit(X, X_val=table(30, 1))
    assert vae.n_iter_ == 30
    assert same_weights(weights(vae), snapshots.log[-1])


def test_validation_rows_of_the_users_own(X):
    held_out = table(40, seed=1)
    for early_stopping in (True, False):
        vae = small(early_stopping=early_stopping, max_epochs=3).fit(X, X_val=held_out)
        assert all("valid_loss" in epoch for epoch in vae.history_)
    # All of X trains, as it does without validation; and other rows give another loss.
    alone = small(early_stopping=False, max_epochs=3).fit(X)
    for ours, theirs in zip(vae.history_, alone.history_, strict=True):
        assert [ours[term] for term in TERMS] == [theirs[term] for term in TERMS]
    other = small(early_stopping=False, max_epochs=3).fit(X, X_val=3 * held_out)
    assert other.history_[0]["valid_loss"] > vae.history_[0]["valid_loss"]


def test_validation_loss_is_that_of_the_training_rows_when_they_are_the_same(X):
    params = {"max_epochs": 2, "lr": 1e-12, "early_stopping": False, "batch_size": 200}
    epoch = small(**params).fit(X, X_val=X).history_[-1]
    # The KL term needs no noise for z, the reconstruction has some of its own.
    assert epoch["valid_kl"] == pytest.approx(epoch["kl"], rel=1e-5)
    assert epoch["valid_reconstruction"] == pytest.approx(epoch["reconstruction"], rel=0.05)


# --- going on


def test_warm_start_goes_on(X):
    vae = small(warm_start=True, max_epochs=30, lr=1e-2, early_stopping=False).fit(X)
    first, last = vae.history_[0]["loss"], vae.history_[-1]["loss"]
    assert vae.n_iter_ == 30
    assert optimizer_steps(vae) == {30 * 4}
    vae.fit(X)
    assert vae.n_iter_ == len(vae.history_) == 60
    assert [epoch["epoch"] for epoch in vae.history_] == list(range(1, 61))
    assert vae.history_[29]["loss"] == last
    assert abs(vae.history_[30]["loss"] - last) < 0.1 * (first - last)
    assert optimizer_steps(vae) == {60 * 4}


def test_warm_start_keeps_scaling_and_layout(X):
    vae = small(warm_start=True, lr=1e-12).fit(X)
    before = vae.transform(X)
    vae.fit(2 + 3 * X[:40])
    np.testing.assert_allclose(vae.transform(X), before, rtol=1e-4, atol=1e-6)


def test_without_warm_start_fit_begins_anew(X):
    vae = small().fit(X)
    before = vae.transform(X)
    np.testing.assert_array_equal(vae.fit(X).transform(X), before)
    assert vae.n_iter_ == 5
    assert vae.fit(X[:, :3]).n_features_in_ == 3


def test_the_schedule_of_a_warm_start_begins_anew(X):
    rates = []

    class Rates(Callback):
        def on_epoch_begin(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    vae = small(Rates(), warm_start=True, max_epochs=4, lr=1e-2, early_stopping=False)
    vae.fit(X).fit(X)
    half_cosine = [1e-2 * (1 + np.cos(np.pi * k / 4)) / 2 for k in range(4)]
    np.testing.assert_allclose(rates, half_cosine * 2, rtol=1e-6)


def test_partial_fit_is_one_pass_after_another(X):
    vae = small(lr=1e-2)
    for k in range(1, 21):
        assert vae.partial_fit(X) is vae
        assert vae.n_iter_ == k
        assert optimizer_steps(vae) == {4 * k}
        assert "valid_loss" not in vae.history_[-1]
    assert vae.history_[-1]["loss"] < vae.history_[0]["loss"] - 1
    assert [epoch["epoch"] for epoch in vae.history_] == list(range(1, 21))


def test_partial_fit_carries_the_optimizer_on(X):
    vae = small(lr=1e-2).partial_fit(X)
    forgetful = copy.deepcopy(vae)
    forgetful.net_.optimizer_.state.clear()
    assert same_weights(weights(vae), weights(forgetful))
    vae.partial_fit(X)
    forgetful.partial_fit(X)
    assert not same_weights(weights(vae), weights(forgetful))


def test_warm_start_carries_the_optimizer_on(X):
    vae = small(lr=1e-2, warm_start=True, early_stopping=False).fit(X)
    forgetful = copy.deepcopy(vae)
    forgetful.net_.optimizer_.state.clear()
    vae.fit(X)
    forgetful.fit(X)
    assert not same_weights(weights(vae), weights(forgetful))


def test_partial_fit_goes_on_after_fit(X):
    vae = small().fit(X)
    vae.partial_fit(X)
    assert vae.n_iter_ == 6


def test_warm_start_goes_on_after_partial_fit(X):
    vae = small(warm_start=True, early_stopping=False).partial_fit(X)
    vae.fit(X)
    assert vae.n_iter_ == 6
    assert optimizer_steps(vae) == {6 * 4}


def test_partial_fit_fixes_the_scaling_at_the_first_call(X):
    vae = small(lr=1e-12).partial_fit(X)
    before = vae.transform(X)
    vae.partial_fit(2 + 3 * X)
    np.testing.assert_allclose(vae.transform(X), before, rtol=1e-4, atol=1e-6)


def test_partial_fit_of_one_row(X):
    vae = small().partial_fit(X)
    vae.partial_fit(X[:1])
    assert vae.history_[-1]["divergence"] == 0.0
    assert np.isfinite(vae.transform(X)).all()


def test_partial_fit_begins_with_one_row(X):
    vae = small().partial_fit(X[:1])
    assert vae.history_[0]["divergence"] == 0.0
    assert np.isfinite(vae.transform(X)).all()
    np.testing.assert_array_equal(vae.sample(3, random_state=0), np.repeat(X[:1], 3, axis=0))


def test_a_new_learning_rate_holds_from_the_next_pass_on(X):
    vae = small(lr=1e-2).partial_fit(X)
    before = weights(vae)
    vae.set_params(lr=1e-12).partial_fit(X)
    assert vae.net_.optimizer_.param_groups[0]["lr"] == 1e-12
    assert optimizer_steps(vae) == {8}
    for name, value in weights(vae).items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-9)


def test_another_optimizer_begins_with_moments_of_its_own(X):
    vae = small().partial_fit(X)
    vae.set_params(net_params={"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9})
    vae.partial_fit(X)
    assert type(vae.net_.optimizer_) is torch.optim.SGD
    assert np.isfinite(vae.transform(X)).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", 3),
        ("hidden_layer_sizes", (8,)),
        ("activation", "tanh"),
        ("likelihood", {0: "bernoulli"}),
        ("encoder", lambda i, o: nn.Linear(i, 2 * o)),
        ("decoder", lambda i, o: nn.Linear(i, o)),
    ],
)
@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_a_change_of_shapes_can_not_go_on(X, method, name, value):
    vae = small(warm_start=True).partial_fit(X)
    kept = getattr(vae, name)
    before, history = vae.transform(X), vae.history_
    with pytest.raises(ValueError, match=f"change of {name}.*Set it back, or fit anew"):
        getattr(vae.set_params(**{name: value}), method)(X)
    np.testing.assert_array_equal(vae.transform(X), before)
    assert vae.history_ is history
    assert vae.n_iter_ == 1
    getattr(vae.set_params(**{name: kept}), method)(X)
    assert vae.n_iter_ > 1


# --- net_params


def test_callbacks_of_the_users_own_are_called(X):
    calls = []

    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            calls.append("train begins")

        def on_epoch_end(self, net, **kwargs):
            calls.append(net.history[-1, "epoch"])

        def on_train_end(self, net, **kwargs):
            calls.append("train ends")

    small(Watch(), max_epochs=3).fit(X)
    assert calls == ["train begins", 1, 2, 3, "train ends"]


@pytest.mark.parametrize(
    "callback",
    [
        EpochTimer(),
        EpochTimer,
        ("timer", EpochTimer()),
        GradientNormClipping(gradient_clip_value=1.0),
        EarlyStopping(monitor="train_loss", patience=50),
        BatchScoring(lambda net, X, y: 0.0, name="zero"),
    ],
    ids=["timer", "class", "named", "clipping", "early stopping", "batch scoring"],
)
def test_callbacks_of_skorch_work(X, callback):
    vae = small(callback).fit(X)
    assert vae.n_iter_ == 5
    wanted = callback[1] if isinstance(callback, tuple) else callback
    kind = wanted if isinstance(wanted, type) else type(wanted)
    assert any(type(one) is kind for _, one in vae.net_.callbacks_)


def test_gradients_are_clipped(X):
    params = {"early_stopping": False, "max_epochs": 3}
    sgd = {"optimizer": torch.optim.SGD}
    start = weights(small(**params, lr=1e-12).fit(X))

    def moved(*callbacks):
        vae = small(**params, lr=1e-3, net_params=sgd | {"callbacks": list(callbacks)}).fit(X)
        return sum((value - start[name]).abs().sum() for name, value in weights(vae).items())

    assert moved(GradientNormClipping(gradient_clip_value=1e-6)) < 1e-2 * moved()


def test_learning_rate_schedule_replaces_the_cosine(X):
    vae = small(LRScheduler("StepLR", step_size=1, gamma=0.5), lr=1e-2, early_stopping=False).fit(X)
    np.testing.assert_allclose(vae.net_.history[:, "event_lr"], [1e-2 * 0.5**k for k in range(5)])


def test_schedule_of_the_users_own_survives_a_warm_start(X):
    vae = small(LRScheduler("StepLR", step_size=1, gamma=0.5), warm_start=True)
    assert vae.fit(X).fit(X).n_iter_ == 10


def test_epoch_scoring_records_its_score(X):
    def n_rows(net, rows, y):
        return len(rows)

    vae = small(EpochScoring(n_rows, name="rows", use_caching=False)).fit(X)
    assert vae.net_.history[:, "rows"] == [12] * 5


def test_checkpoint_writes_the_best_weights(X, tmp_path, snapshots):
    checkpoint = Checkpoint(dirname=tmp_path, monitor="valid_loss_best")
    vae = small(checkpoint, snapshots, max_epochs=12, lr=0.1, early_stopping=False)
    vae.fit(X, X_val=table(40, 1))
    best = int(np.argmin([epoch["valid_loss"] for epoch in vae.history_]))
    assert best < 11
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    assert same_weights(saved, snapshots.log[best])
    assert (tmp_path / "history.json").exists()


def test_checkpoint_loads_the_best_weights(X, tmp_path, snapshots):
    checkpoint = Checkpoint(dirname=tmp_path, monitor="valid_loss_best", load_best=True)
    vae = small(checkpoint, snapshots, max_epochs=12, lr=0.1, early_stopping=False)
    vae.fit(X, X_val=table(40, 1))
    best = int(np.argmin([epoch["valid_loss"] for epoch in vae.history_]))
    assert best < 11
    assert same_weights(weights(vae), snapshots.log[best])


def test_checkpoint_at_the_end_of_training(X, tmp_path):
    vae = small(TrainEndCheckpoint(dirname=tmp_path), early_stopping=False).fit(X)
    saved = torch.load(tmp_path / "train_end_params.pt", weights_only=True)
    assert same_weights(saved, weights(vae))


def test_progress_bar_of_skorch(X, capsys):
    small(ProgressBar(), max_epochs=2).fit(X)
    assert "0/5" in capsys.readouterr().err  # four training batches and one for validation


def test_callbacks_can_be_disabled(X):
    vae = small(net_params={"callbacks": "disable"}, max_epochs=3).fit(X)
    assert vae.n_iter_ == 3


def test_optimizer_and_its_settings(X):
    params = {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.3}
    vae = small(net_params=params).fit(X)
    assert type(vae.net_.optimizer_) is torch.optim.AdamW
    assert {group["weight_decay"] for group in vae.net_.optimizer_.param_groups} == {0.3}
    decayed = small(net_params={"optimizer__weight_decay": 10.0}, early_stopping=False).fit(X)
    free = small(early_stopping=False).fit(X)
    size = [sum(w.square().sum() for w in weights(one).values()) for one in (decayed, free)]
    assert size[0] < size[1]


def test_settings_of_the_training_iterator(X):
    batches = []

    class Sizes(Callback):
        def on_batch_end(self, net, batch, training, **kwargs):
            if training:
                batches.append(len(batch.x))

    params = {"max_epochs": 1, "early_stopping": False}
    for settings, sizes in [
        ({"iterator_train__batch_size": 50}, [50, 50, 20]),
        ({"iterator_train__batch_size": 50, "iterator_train__drop_last": True}, [50, 50]),
        ({"iterator_train__batch_size": -1}, [120]),
    ]:
        batches.clear()
        small(net_params={"callbacks": [Sizes()], **settings}, **params).fit(X)
        assert batches == sizes


def test_rows_are_shuffled_anew_in_each_epoch(X):
    first = []

    class FirstRows(Callback):
        def on_batch_begin(self, net, batch, **kwargs):
            first.append(batch.x[:, 0].clone())

    params = {"max_epochs": 2, "early_stopping": False, "batch_size": 120}
    small(FirstRows(), **params).fit(X)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[0].sort()[0], first[1].sort()[0])
    first.clear()
    unshuffled = {"callbacks": [FirstRows()], "iterator_train__shuffle": False}
    small(net_params=unshuffled, **params).fit(X)
    assert torch.equal(first[0], first[1])
    order = np.argsort(np.argsort(X[:, 0]))
    np.testing.assert_array_equal(first[0].argsort().argsort(), order)


@pytest.mark.parametrize("missing", [False, True])
def test_sampler_of_the_users_own(X, missing):
    X = X.copy()
    if missing:
        X[::7, 1] = np.nan
    sampler = torch.utils.data.SequentialSampler(range(40))
    vae = small(net_params={"iterator_train__sampler": sampler}, early_stopping=False).fit(X)
    assert optimizer_steps(vae) == {5 * 2}


@pytest.mark.slow
def test_loader_with_workers_gives_the_same_bits(X):
    with_workers = small(net_params={"iterator_train__num_workers": 2}).fit(X)
    np.testing.assert_array_equal(with_workers.transform(X), small().fit(X).transform(X))


@pytest.mark.slow
# torch 2.13's compiler uses the parts of torch.jit that torch 2.13 deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_compiled_network(X):
    vae = small(net_params={"compile": True}).fit(X)
    np.testing.assert_allclose(vae.transform(X), small().fit(X).transform(X), rtol=1e-3, atol=1e-4)
    again = copy.deepcopy(vae)
    np.testing.assert_array_equal(again.transform(X), vae.transform(X))
    vae.partial_fit(X)
    assert vae.n_iter_ == 6
    assert np.isfinite(vae.score(X))


@pytest.mark.parametrize(
    "key",
    [
        "alpha",
        "lambd",
        "module",
        "module__hidden",
        "criterion",
        "criterion__alpha",
        "lr",
        "max_epochs",
        "batch_size",
        "device",
        "verbose",
        "warm_start",
        "train_split",
    ],
)
def test_a_key_that_doubles_a_parameter_is_refused(X, key):
    vae = small(net_params={key: 1})
    with pytest.raises(ValueError, match=rf"net_params must not hold \['{key}'\]"):
        vae.fit(X)
    assert not hasattr(vae, "net_")


def test_an_unknown_key_is_refused(X):
    with pytest.raises(ValueError, match=r"unexpected argument.*learning_speed"):
        small(net_params={"learning_speed": 1}).fit(X)


def test_net_params_are_never_changed(X):
    callbacks = [
        EarlyStopping(patience=2, monitor="train_loss"),
        LRScheduler("StepLR", step_size=1),
        ("clip", GradientNormClipping(1.0)),
    ]
    net_params = {"callbacks": callbacks, "optimizer__weight_decay": 0.1}
    objects = [callbacks[0], callbacks[1], callbacks[2][1]]
    before = [dict(vars(one)) for one in objects]
    vae = small(net_params=net_params).fit(X).partial_fit(X)
    vae.fit(X)
    assert vae.net_params is net_params
    assert list(net_params) == ["callbacks", "optimizer__weight_decay"]
    assert net_params["callbacks"] is callbacks
    assert [callbacks[0], callbacks[1], callbacks[2][1]] == objects
    assert [dict(vars(one)) for one in objects] == before


# --- a loss that turns NaN or explodes


class NaNAfter(nn.Module):
    """An encoder that returns NaN from some training batch on."""

    def __init__(self, n_inputs, n_components, good_batches):
        super().__init__()
        self.linear = nn.Linear(n_inputs, 2 * n_components)
        self.good_batches = good_batches
        self.n_batches = 0

    def forward(self, x):
        self.n_batches += self.training
        return self.linear(x) * (1.0 if self.n_batches <= self.good_batches else torch.nan)


class NaNGradient(nn.Module):
    """An encoder with finite outputs and a gradient that is not: the square root at 0."""

    def __init__(self, n_inputs, n_components):
        super().__init__()
        self.linear = nn.Linear(n_inputs, 2 * n_components)

    def forward(self, x):
        h = self.linear(x)
        return h + torch.sqrt(h - h)


def nan_after(good_batches):
    return lambda n_inputs, n_components: NaNAfter(n_inputs, n_components, good_batches)


@pytest.mark.parametrize(
    "params",
    [
        {"lr": 1e6},
        {"lr": 1e6, "early_stopping": False},
        {"lr": 1e30, "early_stopping": False},
        {"encoder": nan_after(0)},
        {"encoder": nan_after(6)},
        {"encoder": NaNGradient},
        {"net_params": {"optimizer": torch.optim.SGD}, "lr": 10.0},
    ],
    ids=["lr", "no validation", "huge lr", "NaN at once", "NaN later", "NaN gradient", "SGD"],
)
def test_divergence_is_an_error_that_says_why(X, params):
    vae = small(**({"max_epochs": 20} | params))
    with pytest.raises(
        TrainingDivergedError, match=r"(?s)diverged in epoch.*lr=.*[Ll]ower lr.*clip"
    ):
        vae.fit(X)
    with pytest.raises(NotFittedError):
        vae.transform(X)
    assert not [name for name in vars(vae) if name.endswith("_")]


@pytest.mark.parametrize(
    "params", [{"lr": 1e30}, {"encoder": NaNGradient}], ids=["lr", "NaN gradient"]
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_divergence_in_the_last_step_is_not_silent(X, method, params):
    vae = small(**params, max_epochs=1, batch_size=500, early_stopping=False)
    with pytest.raises(TrainingDivergedError):
        getattr(vae, method)(X)
    assert not hasattr(vae, "net_")


@pytest.mark.parametrize("warm_start", [False, True])
def test_divergence_leaves_the_last_good_model(X, warm_start):
    vae = small(warm_start=warm_start).fit(X)
    before, scores, state = vae.transform(X), vae.score_samples(X), dict(vars(vae))
    kept = weights(vae)
    steps = optimizer_steps(vae)
    vae.set_params(lr=1e6, max_epochs=20)
    with pytest.raises(TrainingDivergedError):
        vae.fit(X)
    np.testing.assert_array_equal(vae.transform(X), before)
    np.testing.assert_array_equal(vae.score_samples(X), scores)
    assert same_weights(weights(vae), kept)
    assert optimizer_steps(vae) == steps
    assert vae.n_iter_ == len(vae.history_) == len(vae.net_.history) == 5
    vae.set_params(lr=state["lr"], max_epochs=state["max_epochs"])
    assert vars(vae) == state
    vae.partial_fit(X)
    assert vae.n_iter_ == 6


def test_divergence_of_partial_fit_leaves_the_last_good_model(X):
    vae = small(encoder=nan_after(8))
    vae.partial_fit(X).partial_fit(X)
    before = vae.transform(X)
    with pytest.raises(TrainingDivergedError):
        vae.partial_fit(X)
    np.testing.assert_array_equal(vae.transform(X), before)
    assert vae.n_iter_ == 2


def test_a_difficult_table_does_not_count_as_divergence():
    rng = np.random.default_rng(0)
    X = rng.standard_cauchy(size=(200, 4))
    vae = small(max_epochs=20).fit(X)
    assert np.isfinite(vae.transform(X)).all()


# --- Ctrl-C


class CtrlC(Callback):
    """Presses Ctrl-C at one place of one epoch."""

    def __init__(self, place, epoch):
        self.place = place
        self.epoch = epoch

    def press(self, place, net):
        if (place, len(net.history)) == (self.place, self.epoch):
            signal.raise_signal(signal.SIGINT)

    def on_epoch_begin(self, net, **kwargs):
        self.press("epoch begins", net)

    def on_batch_end(self, net, training, **kwargs):
        self.press("training batch" if training else "validation batch", net)

    def on_epoch_end(self, net, **kwargs):
        self.press("epoch ends", net)

    def on_train_end(self, net, **kwargs):
        self.press("train ends", net)


class PressingEncoder(nn.Module):
    """Presses Ctrl-C in the forward pass of one training batch."""

    def __init__(self, n_inputs, n_components, at_batch):
        super().__init__()
        self.linear = nn.Linear(n_inputs, 2 * n_components)
        self.at_batch = at_batch
        self.n_batches = 0

    def forward(self, x):
        self.n_batches += self.training
        if self.training and self.n_batches == self.at_batch:
            signal.raise_signal(signal.SIGINT)
        return self.linear(x)


def interrupted(method, *args, **kwargs):
    """Call a method that is interrupted once an epoch has ended: it warns and raises again."""
    with (
        pytest.warns(ConvergenceWarning, match="interrupted"),
        pytest.raises(KeyboardInterrupt),
    ):
        method(*args, **kwargs)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    "place", ["epoch begins", "training batch", "validation batch", "epoch ends"]
)
def test_ctrl_c_restores_the_last_finished_epoch(X, snapshots, place, early_stopping):
    vae = small(CtrlC(place, 4), snapshots, early_stopping=early_stopping, max_epochs=10, lr=0.1)
    interrupted(vae.fit, X, X_val=table(30, 1))
    assert vae.n_iter_ == len(vae.history_) == len(vae.net_.history) == 3
    assert all("valid_loss" in epoch and "loss" in epoch for epoch in vae.history_)
    assert same_weights(weights(vae), snapshots.log[2])
    assert optimizer_steps(vae) == {3 * 4}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_leaves_a_model_that_can_be_used(X):
    vae = small(CtrlC("training batch", 3), max_epochs=10)
    interrupted(vae.fit, X)
    Z = vae.transform(X)
    assert np.isfinite(vae.inverse_transform(Z)).all()
    assert np.isfinite(vae.score(X))
    assert np.isfinite(vae.noise_variance_).all()
    assert not vae.module_.training
    np.testing.assert_array_equal(copy.deepcopy(vae).transform(X), Z)
    vae.set_params(net_params=None).partial_fit(X)
    assert vae.n_iter_ == 3


def test_ctrl_c_when_training_has_ended_loses_nothing(X, snapshots):
    vae = small(CtrlC("train ends", 3), snapshots, early_stopping=False, max_epochs=3)
    interrupted(vae.fit, X)
    assert vae.n_iter_ == 3
    assert same_weights(weights(vae), snapshots.log[2])


def test_ctrl_c_in_the_forward_pass(X):
    at = 2 * 4 + 2  # the second batch of the third epoch
    vae = small(encoder=lambda i, o: PressingEncoder(i, o, at), early_stopping=False, max_epochs=9)
    interrupted(vae.fit, X)
    assert vae.n_iter_ == 2
    assert np.isfinite(vae.transform(X)).all()


def test_keyboard_interrupt_without_a_signal_is_a_ctrl_c_too(X):
    class Raising(PressingEncoder):
        def forward(self, x):
            self.n_batches += self.training
            if self.training and self.n_batches == self.at_batch:
                raise KeyboardInterrupt
            return self.linear(x)

    vae = small(encoder=lambda i, o: Raising(i, o, 10), early_stopping=False, max_epochs=9)
    interrupted(vae.fit, X)
    assert vae.n_iter_ == 2


@pytest.mark.parametrize("place", ["epoch begins", "training batch", "epoch ends"])
def test_ctrl_c_before_an_epoch_ends_leaves_it_unfitted(X, place):
    vae = small(CtrlC(place, 1))
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    with pytest.raises(NotFittedError):
        vae.transform(X)
    assert not [name for name in vars(vae) if name.endswith("_")]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_an_epoch_ends_leaves_the_model_of_before(X):
    vae = small().fit(X)
    before = vae.transform(X)
    vae.set_params(net_params={"callbacks": [CtrlC("training batch", 1)]})
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    np.testing.assert_array_equal(vae.transform(X), before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_ctrl_c_while_going_on_leaves_the_last_finished_epoch(X, method):
    vae = small(warm_start=True, early_stopping=False).fit(X)
    kept, before = weights(vae), vae.history_
    vae.set_params(net_params={"callbacks": [CtrlC("training batch", 1)]})
    interrupted(getattr(vae, method), X)
    assert same_weights(weights(vae), kept)
    assert vae.history_ == before
    assert optimizer_steps(vae) == {5 * 4}


def test_ctrl_c_stops_a_search(X):
    started = []

    def encoder(n_inputs, n_components):
        started.append(n_components)
        return PressingEncoder(n_inputs, n_components, 6 if len(started) == 3 else -1)

    search = GridSearchCV(
        small(encoder=encoder, early_stopping=False), {"n_components": [1, 2, 3]}, cv=2
    )
    interrupted(search.fit, X)
    assert started == [1, 1, 2]
    assert not hasattr(search, "best_estimator_")


def test_handler_of_the_users_own_is_left_alone(X):
    pressed = []

    def handler(signum, frame):
        pressed.append(signum)

    previous = signal.signal(signal.SIGINT, handler)
    try:
        vae = small(CtrlC("training batch", 2), early_stopping=False, max_epochs=3).fit(X)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, previous)
    assert set(pressed) == {signal.SIGINT}
    assert vae.n_iter_ == 3


@pytest.mark.parametrize("params", [{}, {"lr": 1e6, "max_epochs": 20}, {"alpha": 2}])
def test_handler_is_restored_whatever_happens(X, params):
    try:
        small(**params).fit(X)
    except (TrainingDivergedError, ValueError):
        assert params
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Stop(Callback):
    """Stops training as skorch's callbacks do."""

    def __init__(self, place, epoch):
        self.place = place
        self.epoch = epoch

    def stop(self, place, net):
        if (place, len(net.history)) == (self.place, self.epoch):
            raise KeyboardInterrupt

    def on_epoch_begin(self, net, **kwargs):
        self.stop("epoch begins", net)

    def on_batch_begin(self, net, training, **kwargs):
        self.stop("training batch begins" if training else "validation batch begins", net)

    def on_train_end(self, net, **kwargs):
        self.stop("train ends", net)

    def on_batch_end(self, net, training, **kwargs):
        self.stop("training batch" if training else "validation batch", net)

    def on_epoch_end(self, net, **kwargs):
        self.stop("epoch ends", net)


def stops(vae, *args, **kwargs):
    """Fit; a KeyboardInterrupt that got out would end pytest as well."""
    try:
        return vae.fit(*args, **kwargs)
    except KeyboardInterrupt:
        pytest.fail("a callback that stops training is a normal stop")


def test_a_callback_that_stops_at_the_end_of_an_epoch_is_no_error(X, snapshots):
    vae = stops(small(snapshots, Stop("epoch ends", 3), early_stopping=False, max_epochs=10), X)
    assert vae.n_iter_ == len(vae.history_) == 3
    assert same_weights(weights(vae), snapshots.log[2])


def test_a_callback_that_stops_does_not_cost_its_own_epoch(X, snapshots):
    # The loss falls in every epoch here, so the third is the best.
    vae = stops(small(snapshots, Stop("epoch ends", 3), max_epochs=10, tol=0.0), X)
    losses = [epoch["valid_loss"] for epoch in vae.history_]
    assert np.argmin(losses) == 2
    assert same_weights(weights(vae), snapshots.log[2])


@pytest.mark.parametrize(
    "place",
    [
        "epoch begins",
        "training batch begins",
        "training batch",
        "validation batch begins",
        "validation batch",
    ],
)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_callback_that_stops_within_an_epoch_is_no_error(X, place, early_stopping):
    vae = small(Stop(place, 3), early_stopping=early_stopping, max_epochs=10)
    stops(vae, X, X_val=table(30, 1))
    assert vae.n_iter_ == len(vae.history_)
    assert vae.n_iter_ in (2, 3)
    assert all(epoch["loss"] > 1 for epoch in vae.history_)  # as in every epoch that saw rows
    assert np.isfinite(vae.transform(X)).all()
    vae.set_params(net_params=None).partial_fit(X)
    assert vae.history_[-1]["epoch"] == vae.n_iter_


def test_a_callback_that_stops_when_training_has_ended_is_no_error(X):
    vae = stops(small(Stop("train ends", 3), early_stopping=False, max_epochs=3), X)
    assert vae.n_iter_ == 3


# --- progress


def test_verbose_shows_one_line_with_the_terms(X, capsys):
    small(verbose=1, max_epochs=3).fit(X)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    last = err.rstrip("\n").split("\r")[-1]
    assert "3/3" in last
    for term in ("loss", "reconstruction", "kl", "D", "valid loss"):
        assert f"{term} " in last


@pytest.mark.parametrize("params", [{"n_iter_no_change": 1, "tol": 1e6}, {"early_stopping": False}])
def test_verbose_line_ends_whenever_training_ends(X, capsys, params):
    vae = small(verbose=1, max_epochs=6, **params).fit(X)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{vae.n_iter_}/6" in err
    assert ("valid loss" in err) == vae.early_stopping


def test_verbose_line_ends_when_training_diverges(X, capsys):
    with pytest.raises(TrainingDivergedError):
        small(verbose=1, lr=1e6, max_epochs=20).fit(X)
    assert capsys.readouterr().err.endswith("\n")


def test_quiet_by_default(X, capsys):
    vae = small().fit(X).partial_fit(X)
    vae.score(X)
    assert capsys.readouterr() == ("", "")


def test_a_row_far_outside_the_training_rows_is_no_divergence(X):
    """A column that is constant in training has the smallest noise that there is."""
    flat = np.column_stack([X, np.zeros(len(X))])
    held_out = flat.copy()
    held_out[:, -1] = 500.0
    vae = small(max_epochs=30, lr=1e-2).fit(flat, X_val=held_out)
    assert vae.history_[-1]["valid_loss"] > 1e5
