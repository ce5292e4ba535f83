"""Ctrl-C, and callbacks that stop training."""

import copy
import signal

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    Callback,
)
from small_fits import optimizer_steps, same_weights, small, table, weights
from torch import nn

from sk_infovae.exceptions import TrainingDivergedError


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
