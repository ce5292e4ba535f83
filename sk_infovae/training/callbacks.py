"""The callbacks that every fit brings: snapshots, progress line, scikit-learn's callbacks."""

from collections.abc import Callable
from typing import Any

from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

from sk_infovae.training.net import InfoVAENet, detached_copy


class LastEpoch(Callback):
    """Keeps weights and optimizer state of the last epoch that ended, for the way back."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget what an earlier fit kept."""
        self.take(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep this epoch."""
        self.take(net)

    def take(self, net: InfoVAENet) -> None:
        """Copy the net's state."""
        self.n_epochs_ = len(net.history)
        self.weights_ = detached_copy(net.module_.state_dict())
        self.optimizer_ = optimizer_state(net)

    def restore(self, net: InfoVAENet) -> None:
        """Put the net back to the last epoch that ended, history included."""
        net.module_.load_state_dict(self.weights_)
        load_optimizer_state(net, self.optimizer_)
        del net.history[self.n_epochs_ :]


def optimizer_state(net: InfoVAENet) -> dict[Any, dict[str, Any]]:
    """Copy of the optimizer's moments by parameter number."""
    state = net.optimizer_.state_dict()["state"]
    return {number: detached_copy(moments) for number, moments in state.items()}


def load_optimizer_state(net: InfoVAENet, state: dict[Any, Any]) -> None:
    """Give the optimizer its moments back, and leave its settings (lr, decay) as they are."""
    if state:
        current = net.optimizer_.state_dict()
        net.optimizer_.load_state_dict({**current, "state": state})


class ProgressLine(Callback):
    """One line that shows the epoch and the terms of the objective (verbose=1)."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the line."""
        self.line_ = tqdm(
            total=net.max_epochs, unit="epoch", desc="InfoVAE", dynamic_ncols=True, leave=True
        )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Refresh the line."""
        epoch = net.history[-1]
        parts = [
            f"loss {epoch['train_loss']:.2f}",
            f"reconstruction {epoch['train_reconstruction']:.2f}",
            f"kl {epoch['train_kl']:.2f}",
            f"D {epoch['train_divergence']:.4f}",
        ]
        if "valid_loss" in epoch:
            parts.append(f"valid loss {epoch['valid_loss']:.2f}")
        self.line_.set_postfix_str(", ".join(parts), refresh=False)
        self.line_.update()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the line."""
        self.line_.close()


class SklearnCallbacks(Callback):
    """Runs scikit-learn's callbacks (1.9 and later) as an epoch begins and ends.

    Parameters
    ----------
    context : CallbackContext
        Of the fit that the epochs belong to.
    fit : dict
        The ``estimator``, ``X`` and ``y`` of that fit.
    attributes : callable
        Makes an estimator's fitted attributes from a net, for callbacks that ask for them.
    """

    def __init__(self, context: Any, fit: dict[str, Any], attributes: Callable[[Any], Any]):
        self.context = context
        self.fit = fit
        self.attributes = attributes

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Open a task."""
        self.epoch_ = self.context.subcontext(task_name="epoch")
        self.epoch_.call_on_fit_task_begin(**self.fit)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Close the task, and stop where a callback says so."""
        if self.epoch_.call_on_fit_task_end(
            **self.fit, reconstruction_attributes=lambda: self.attributes(net)
        ):
            raise KeyboardInterrupt


def early_stopping(patience: int, tol: float) -> EarlyStopping:
    """Stop when the validation loss stands still, and restore the best weights."""
    return EarlyStopping(
        monitor="valid_loss",
        patience=patience,
        threshold=tol,
        threshold_mode="abs",
        load_best=True,
        sink=_silent,
    )


def cosine_schedule(max_epochs: int) -> LRScheduler:
    """Learning rate from lr to 0 along half a cosine (Loshchilov and Hutter, arXiv 1608.03983)."""
    return LRScheduler(CosineAnnealingLR, T_max=max(1, max_epochs), event_name="lr")


def _silent(text: str) -> None:
    """Say nothing; ``verbose`` has its own line."""
