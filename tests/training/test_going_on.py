"""Going on: warm starts and partial_fit."""

import copy
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
)
from small_fits import optimizer_steps, same_weights, small, weights
from torch import nn


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
    """With moments of its own: those of a fit that is over are gone, in memory as in a pickle."""
    vae = small().fit(X)
    assert optimizer_steps(vae) == set()
    loaded = pickle.loads(pickle.dumps(vae))
    for one in (vae, loaded):
        one.partial_fit(X)
        assert one.n_iter_ == 6
        assert optimizer_steps(one) == {4}
    assert same_weights(weights(vae), weights(loaded))


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
