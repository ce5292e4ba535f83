"""Early stopping, and rows to validate on."""

import numpy as np
import pytest
from skorch.callbacks import LRScheduler
from small_fits import TERMS, same_weights, small, table, weights


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
    steady = LRScheduler(policy="StepLR", step_size=99)  # the last epoch is the best no more
    vae = small(snapshots, steady, max_epochs=12, lr=0.1, n_iter_no_change=100, tol=tol).fit(X)
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
