"""A loss that turns NaN or explodes."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from small_fits import optimizer_steps, same_weights, small, weights
from torch import nn

from sk_infovae.exceptions import TrainingDivergedError
from sk_infovae.likelihoods import Gaussian


class NaNAfter(nn.Module):
    """An encoder that returns NaN from some training batch on, in training."""

    def __init__(self, n_inputs, n_components, good_batches):
        super().__init__()
        self.linear = nn.Linear(n_inputs, 2 * n_components)
        self.good_batches = good_batches
        self.n_batches = 0

    def forward(self, x):
        self.n_batches += self.training
        breaks = self.training and self.n_batches > self.good_batches
        return self.linear(x) * (torch.nan if breaks else 1.0)


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


def good_epochs(n_epochs, vae, n_rows):
    """An encoder that returns NaN after so many epochs of a fit."""
    held_out = round(vae.validation_fraction * n_rows) if vae.early_stopping else 0
    return nan_after(n_epochs * int(np.ceil((n_rows - held_out) / vae.batch_size)))


@pytest.mark.parametrize(
    "params",
    [
        {"lr": 1e6},
        {"lr": 1e6, "early_stopping": False},
        {"lr": 1e30, "early_stopping": False},
        {"encoder": nan_after(0)},
        {"encoder": nan_after(3)},
        {"encoder": NaNGradient},
        {"net_params": {"optimizer": torch.optim.SGD}, "lr": 10.0},
    ],
    ids=[
        "lr",
        "no validation",
        "huge lr",
        "NaN at once",
        "NaN in the first epoch",
        "NaN gradient",
        "SGD",
    ],
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


def test_a_row_far_outside_the_training_rows_is_no_divergence(X):
    """A column that is constant in training has the smallest noise that there is."""
    X = np.tile(X, (40, 1))  # so many rows that training sees cells as far out as they are
    flat = np.column_stack([X, np.zeros(len(X))])
    held_out = flat.copy()
    held_out[:, -1] = 500.0
    vae = small(max_epochs=10, lr=1e-2, likelihood=Gaussian("learned"))
    vae.fit(flat, X_val=held_out)
    assert vae.history_[-1]["valid_loss"] > 100 * abs(vae.history_[-1]["loss"])


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("lr", [1e-2, 0.3])
def test_what_diverges_later_goes_back_to_its_best_epoch(X, snapshots, early_stopping, lr):
    vae = small(snapshots, max_epochs=20, early_stopping=early_stopping, lr=lr)
    vae.set_params(encoder=good_epochs(6, vae, len(X)))
    with pytest.warns(ConvergenceWarning, match=r"(?s)in epoch 7: .* to nan \(lr=.*Lower") as said:
        vae.fit(X)
    assert said[0].filename == __file__
    losses = [epoch["valid_loss" if early_stopping else "loss"] for epoch in vae.history_]
    assert vae.n_iter_ == len(losses) == len(vae.net_.history) == 6
    best = int(np.argmin(losses))
    assert f"that of epoch {best + 1}, its best" in str(said[0].message)
    assert same_weights(weights(vae), snapshots.log[best])
    for answer in (vae.transform(X), vae.score_samples(X), vae.inverse_transform(vae.transform(X))):
        assert np.isfinite(answer).all()


def test_without_a_better_epoch_it_is_an_error(X):
    """Weights that are as random as those of the start are nothing to go back to."""
    vae = small(lr=1e-9, max_epochs=20, early_stopping=False)
    vae.set_params(encoder=good_epochs(3, vae, len(X)), net_params={"optimizer__maximize": True})
    vae.set_params(lr=1e-2)
    with pytest.raises(TrainingDivergedError, match="in epoch 4: the train loss went from"):
        vae.fit(X)


def test_a_warm_start_goes_on_from_where_it_went_back_to(X):
    vae = small(max_epochs=10, warm_start=True, early_stopping=False)
    vae.set_params(encoder=good_epochs(4, vae, len(X)))
    with pytest.warns(ConvergenceWarning, match="diverged in epoch 5"):
        vae.fit(X)
    before, vae.net_.module_.encoder.good_batches = weights(vae), 10**6
    assert vae.net_.optimizer_.state_dict()["state"] == {}  # moments of the way astray
    vae.set_params(max_epochs=1, lr=1e-12).fit(X)
    for name, value in weights(vae).items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=1e-4)
    assert vae.n_iter_ == 5
