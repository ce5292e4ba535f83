"""net_params: callbacks, optimizer, loaders, and keys that are refused."""

import copy

import numpy as np
import pytest
import torch
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
from small_fits import optimizer_steps, same_weights, small, table, trained, weights

from sk_infovae.divergences import DIVERGENCES


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
    assert same_weights(trained(saved), snapshots.log[best])
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
    assert same_weights(trained(saved), weights(vae))


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
    params = {"net_params": {"iterator_train__sampler": sampler}, "warm_start": True}
    vae = small(early_stopping=False, **params).fit(X)
    assert optimizer_steps(vae) == {5 * 2}


@pytest.mark.slow
def test_loader_with_workers_gives_the_same_bits(X):
    with_workers = small(net_params={"iterator_train__num_workers": 2}).fit(X)
    np.testing.assert_array_equal(with_workers.transform(X), small().fit(X).transform(X))


class FirstGradients(Callback):
    """Keeps the gradients of the first step; the log belongs to the class, as fit clones it."""

    log: dict = {}  # noqa: RUF012

    def on_grad_computed(self, net, named_parameters, **kwargs):
        if not self.log:
            names = (name.replace("_orig_mod.", "") for name, _ in net.get_all_learnable_params())
            grads = (p.grad for _, p in named_parameters)
            self.log.update(
                (n, g.clone()) for n, g in zip(names, grads, strict=True) if g is not None
            )


@pytest.mark.parametrize("divergence", sorted(DIVERGENCES))
# torch 2.13's compiler uses parts of torch.jit that torch 2.13 deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_gradients_of_a_compiled_network_are_those_of_the_plain_one(X, divergence):
    """Compilers have dropped backward passes of others' functions: D is left out of compiling."""
    found = []
    for compiled in ({}, {"compile": True, "compile__backend": "aot_eager"}):
        FirstGradients.log = {}
        net_params = {"callbacks": [FirstGradients()], **compiled}
        vae = small(divergence=divergence, max_epochs=1, net_params=net_params).fit(X)
        assert hasattr(vae.net_.module_, "_orig_mod") == bool(compiled)
        assert not hasattr(vae.net_.criterion_, "_orig_mod")
        found.append(FirstGradients.log)
    eager, other = found
    assert eager.keys() == other.keys()
    assert len(eager) > 5
    for name, gradient in eager.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


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
