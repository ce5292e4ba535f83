"""A training, and what has become of it so far."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skorch.history import History
from torch import Tensor

from sk_infovae.exceptions import TrainingDivergedError

EXPLODED = 1e4
"""An epoch's mean loss this many times the first batch's counts as diverged."""


@dataclass(eq=False)
class Member:
    """One model of those that train together; a lone fit has one.

    Attributes
    ----------
    plan : TrainingPlan
    number : int
        Its place among all that began.
    history : History
        skorch's record of the epochs.
    best, to_beat : float
        Least validation loss, and what the next must be below to count as better.
    misses : int
        Epochs in a row that were not better.
    best_weights : dict of Tensor or None
        Those of the epoch with the least validation loss.
    error : TrainingDivergedError or None
        What ended it.
    done : bool
        Whether it has stopped.
    """

    plan: Any
    number: int = 0
    history: History = field(default_factory=History)
    best: float = math.inf
    to_beat: float = math.inf
    misses: int = 0
    best_weights: dict[str, Tensor] | None = None
    error: TrainingDivergedError | None = None
    done: bool = False
    _loss_limit: float | None = None
    _lowest: dict[str, float] = field(default_factory=dict)

    def record(
        self, prefix: str, terms: Mapping[str, float], n_batches: int, first_loss: float
    ) -> None:
        """Write down an epoch's mean terms, unless the model has stopped."""
        if self.done:
            return
        if self._loss_limit is None and n_batches:
            self._loss_limit = EXPLODED * (1 + abs(first_loss))
        self.history.record(f"{prefix}_batch_count", n_batches)
        for name, value in terms.items():
            self.history.record(f"{prefix}_{name}", value)

    def judge(self, prefix: str, sound: bool) -> None:
        """Look for an explosion.

        A validation loss may be as large as it likes: a row far outside is no fault of training.
        """
        if self.done:
            return
        loss, limit = self.history[-1][f"{prefix}_loss"], self._loss_limit
        exploded = prefix == "train" and limit is not None and abs(loss) > limit
        if not math.isfinite(loss) or exploded or not sound:
            self.error, self.done = diverged(self.plan, len(self.history), prefix), True
            return
        # skorch's Checkpoint and others ask which epochs were the best so far.
        lowest = self._lowest.get(prefix, math.inf)
        self.history.record(f"{prefix}_loss_best", loss < lowest)
        self._lowest[prefix] = min(loss, lowest)

    def watch(self, loss: float) -> bool:
        """Count epochs without a better validation loss; True where this one is the best.

        skorch's EarlyStopping restores the last epoch that was better by the tolerance; here it is
        the best.
        """
        is_best = loss < self.best
        self.best = min(loss, self.best)
        if loss < self.to_beat:
            self.to_beat, self.misses = loss - self.plan.tol, 0
        else:
            self.misses += 1
        self.done = self.misses == self.plan.patience
        return is_best


def diverged(plan: Any, epoch: int, prefix: str) -> TrainingDivergedError:
    """The error of a training that went astray."""
    return TrainingDivergedError(
        f"Training diverged in epoch {epoch}: the {prefix} loss became NaN, infinite or "
        f"{EXPLODED:g} times as large as at the start (lr={plan.lr:g}, "
        f"batch_size={plan.batch_size}, lambd={plan.lambd:g}). Lower lr; clip gradients with "
        'net_params={"callbacks": '
        "[skorch.callbacks.GradientNormClipping(gradient_clip_value=1)]}; lower lambd; look for "
        "extreme values in X; or check an encoder or decoder of your own."
    )
