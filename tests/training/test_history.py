"""The history: every term of every epoch, of the rows that trained and of those held out."""

import pytest
from skorch.callbacks import (
    Callback,
)
from small_fits import TERMS, small, table


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


def test_history_prints_the_first_and_the_last_epochs(X):
    few, many = (small(max_epochs=n, early_stopping=False).fit(X).history_ for n in (3, 20))
    title, names, *rows = repr(few).split("\n")
    assert title == "3 epochs"
    assert names.split() == ["epoch", *TERMS]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    for row, epoch in zip(rows, few, strict=True):
        assert [float(cell) for cell in row.split()] == pytest.approx(
            list(epoch.values()), rel=1e-3
        )
    shown = [row.split()[0] for row in repr(many).split("\n")[2:]]
    assert shown == ["1", "2", "3", "4", "...", "17", "18", "19", "20"]
    assert len({len(line) for line in repr(few).split("\n")[1:]}) == 1  # aligned
    assert repr(type(few)()) == "0 epochs"
    assert few == list(few)  # a list in all else
