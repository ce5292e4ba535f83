"""The callbacks that every fit brings: snapshots, patience, scikit-learn's callbacks."""

from collections.abc import Callable
from typing import Any

from skorch.callbacks import Callback, LRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from sk_infovae._training.flat_adam import FlatAdam
from sk_infovae._training.net import InfoVAENet, detached_copy

COMPACT = 0.75
"""A stack is made smaller when no more than this part of it is still training."""


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
        self.weights_ = detached_copy(net.weights())
        self.optimizer_ = optimizer_state(net)

    def restore(self, net: InfoVAENet) -> None:
        """Put the net back to the last epoch that ended, history included."""
        net.load_weights(self.weights_)
        load_optimizer_state(net, self.optimizer_)
        del net.history[self.n_epochs_ :]


def optimizer_state(net: InfoVAENet) -> dict[Any, dict[str, Any]]:
    """Copy of the optimizer's moments by parameter number."""
    optimizer = net.optimizer_
    flat = isinstance(optimizer, FlatAdam)
    state = optimizer.moments() if flat else optimizer.state_dict()["state"]
    return {number: detached_copy(moments) for number, moments in state.items()}


def load_optimizer_state(net: InfoVAENet, state: dict[Any, Any]) -> None:
    """Give the optimizer its moments back, and leave its settings (lr, decay) as they are."""
    optimizer = net.optimizer_
    flat = isinstance(optimizer, FlatAdam)
    groups = [optimizer.parameters] if flat else [g["params"] for g in optimizer.param_groups]
    parameters = [parameter for group in groups for parameter in group]
    # The divergence may have been changed in between, and its parameters with it.
    fits = {
        number: moments
        for number, moments in state.items()
        if number < len(parameters) and _fit(moments, parameters[number])
    }
    if fits and flat:
        optimizer.load_moments(fits)
    elif fits:
        optimizer.load_state_dict({**optimizer.state_dict(), "state": fits})


def _fit(moments: dict[str, Any], parameter: Tensor) -> bool:
    """Whether every moment is a number or of the parameter's shape."""
    tensors = [value for value in moments.values() if isinstance(value, Tensor) and value.ndim]
    return all(tensor.shape == parameter.shape for tensor in tensors)


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


class Patience(Callback):
    """Keeps the weights of each model's best epoch, and stops it when its validation loss stands.

    The last one to stop ends the training. A stack goes on with the others, and is made smaller
    when no more than `COMPACT` of it still trains.
    """

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Compare with the epochs before."""
        for k, member in enumerate(net.members_):
            if not member.done and member.watch():
                member.best_weights = net.weights_of(k)
        going_on = [k for k, member in enumerate(net.members_) if not member.done]
        if not going_on:
            raise KeyboardInterrupt
        if len(going_on) <= COMPACT * len(net.members_):
            net.keep_models(going_on)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Put the best weights of a lone model back; moments that led astray are forgotten."""
        if net.rates:
            return
        (member,) = net.members_
        weights = member.ended()
        if weights is not None:
            net.load_weights(weights)
        if member.error is not None:
            net.optimizer_.state.clear()


class Watch(Callback):
    """Tells how a stack gets on, after each epoch.

    Parameters
    ----------
    tell : callable
        Told how many models took part, and how many epochs all models together have left at most.
    """

    def __init__(self, tell: Callable[[int, int], None]):
        self.tell = tell

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Count who takes part."""
        self.n_active_ = sum(not member.done for member in net.members_)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Count who goes on."""
        going_on = sum(not member.done for member in net.members_)
        self.tell(self.n_active_, going_on * (net.max_epochs - len(net.history)))


def cosine_schedule(max_epochs: int) -> LRScheduler:
    """Learning rate from lr to 0 along half a cosine (Loshchilov and Hutter, arXiv 1608.03983)."""
    return LRScheduler(CosineAnnealingLR, T_max=max(1, max_epochs), event_name="lr")
