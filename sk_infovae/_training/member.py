"""A training, and what has become of it so far."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from skorch.history import History
from torch import Tensor

from sk_infovae.exceptions import TrainingDivergedError

EXPLODED = 1e4
"""An epoch's mean loss this many times the first batch's counts as diverged."""

BROKEN = "last step broke the weights"
"""What happened where the loss was still sound."""


@dataclass(eq=False)
class Member:
    """One model of those that train together; a lone fit has one.

    Attributes
    ----------
    plan : TrainingPlan
    history : History
        skorch's record of the epochs.
    best, to_beat : float
        Least loss, and what the next must be below to count as better.
    misses : int
        Epochs in a row that were not better.
    held_out : bool
        Whether the least loss is that of held-out rows, and ends the training.
    best_epoch, best_weights : int, dict of Tensor or None
        The epoch with the least loss, and what it left.
    n_good : int
        Epochs that ended well.
    error : TrainingDivergedError or None
        What ended it.
    done : bool
        Whether it has stopped.
    """

    plan: Any
    history: History = field(default_factory=History)
    best: float = math.inf
    to_beat: float = math.inf
    misses: int = 0
    held_out: bool = False
    best_epoch: int = 0
    best_weights: dict[str, Tensor] | None = None
    n_good: int = 0
    error: TrainingDivergedError | None = None
    done: bool = False
    _first_loss: float = math.nan
    _lowest: dict[str, float] = field(default_factory=dict)

    def record(
        self, prefix: str, terms: Mapping[str, float], n_batches: int, first_loss: float
    ) -> None:
        """Write down an epoch's mean terms, unless the model has stopped."""
        if self.done:
            return
        if math.isnan(self._first_loss) and n_batches:
            self._first_loss = first_loss
        self.history.record(f"{prefix}_batch_count", n_batches)
        for name, value in terms.items():
            self.history.record(f"{prefix}_{name}", value)

    def judge(self, prefix: str, sound: bool) -> None:
        """Look for an explosion.

        A validation loss may be as large as it likes: a row far outside is no fault of training.
        """
        if self.done:
            return
        loss, limit = self.history[-1][f"{prefix}_loss"], EXPLODED * (1 + abs(self._first_loss))
        exploded = not math.isfinite(loss) or (prefix == "train" and abs(loss) > limit)
        if exploded or not sound:
            change = f"{prefix} loss went from {self._first_loss:.3g} to {loss:.3g}"
            self.error = diverged(self.plan, len(self.history), change if exploded else BROKEN)
            self.done = True
            return
        # skorch's Checkpoint and others ask which epochs were the best so far.
        lowest = self._lowest.get(prefix, math.inf)
        self.history.record(f"{prefix}_loss_best", loss < lowest)
        self._lowest[prefix] = min(loss, lowest)

    def watch(self) -> bool:
        """Whether the epoch is the best so far; counts those that are not, where rows are held out.

        skorch's EarlyStopping restores the last epoch that was better by the tolerance; here it is
        the best.
        """
        epoch, self.n_good = self.history[-1], len(self.history)
        self.held_out = "valid_loss" in epoch and self.plan.patience is not None
        loss = epoch["valid_loss" if self.held_out else "train_loss"]
        is_best = loss < self.best
        if is_best:
            self.best, self.best_epoch = loss, self.n_good
        if loss < self.to_beat:
            self.to_beat, self.misses = loss - self.plan.tol, 0
        else:
            self.misses += 1
        self.done = self.held_out and self.misses == self.plan.patience
        return is_best

    @property
    def goes_back(self) -> bool:
        """Whether what diverged has an epoch to go back to: one that was better than the start."""
        better = self._lowest.get("train", math.inf) < self._first_loss
        return self.error is not None and self.best_weights is not None and better

    def ended(self) -> dict[str, Tensor] | None:
        """What to put back after training, the epoch that diverged forgotten; None for the last."""
        if self.error is not None:
            del self.history[self.n_good :]
        return self.best_weights if self.held_out or self.goes_back else None

    def warning(self) -> ConvergenceWarning | None:
        """What went wrong on the way, and was mended."""
        if not self.goes_back:
            return None
        return ConvergenceWarning(
            f"{self.error} The model is that of epoch {self.best_epoch}, its best."
        )


def diverged(plan: Any, epoch: int, what: str) -> TrainingDivergedError:
    """The error of a training that went astray."""
    return TrainingDivergedError(
        f"Training diverged in epoch {epoch}: the {what} (lr={plan.lr:g}, "
        f"batch_size={plan.batch_size}, lambd={plan.lambd:g}). Lower lr; clip gradients with "
        'net_params={"callbacks": '
        "[skorch.callbacks.GradientNormClipping(gradient_clip_value=1)]}; lower lambd; look for "
        "extreme values in X; or check an encoder or decoder of your own."
    )
