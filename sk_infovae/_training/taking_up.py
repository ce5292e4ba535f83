"""A training that is kept while it goes on, and taken up where it was killed."""

import pickle
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import joblib
import torch
from skorch.callbacks import Callback, LRScheduler

from sk_infovae._base.checkpoints import Checkpoints
from sk_infovae._base.compat import default_generator
from sk_infovae._model.shares import refuse_memory
from sk_infovae._training.flat_adam import FlatAdam
from sk_infovae._training.hooks import load_optimizer_state, optimizer_state
from sk_infovae._training.net import InfoVAENet
from sk_infovae._training.plan import callbacks_of, can_clip
from sk_infovae._training.state import to_numpy, to_torch
from sk_infovae._training.training import Training

SHARE = 20
"""Training lasts this many times as long as keeping it, at least."""

RESUMABLE = ("optimizer", "callbacks", "compile")
"""Keys of net_params, or what comes before a double underscore, that leave nothing behind."""

LOADING = (
    "batch_size", "shuffle", "drop_last", "num_workers", "pin_memory", "prefetch_factor",
    "persistent_workers", "multiprocessing_context", "timeout",
)  # fmt: skip
"""Arguments of a loader that do the same."""

WHAT_CAN_BE_KEPT = (
    "memory can't keep {0}: of callbacks only LRScheduler and GradientNormClipping, of loaders "
    "only torch's own without a sampler can be taken up where they were. Leave it out of "
    "net_params, or set memory=None."
)


class TakeUp(Callback):
    """Puts a net, as training begins, where an earlier run has kept it.

    Comes behind the schedule, which it sets too.

    Parameters
    ----------
    checkpoints : Checkpoints
    key : str
    draws_globally : bool
        Whether torch's global generators are this training's own while it lasts.
    """

    def __init__(self, checkpoints: Checkpoints, key: str, draws_globally: bool):
        self.checkpoints, self.key, self.draws_globally = checkpoints, key, draws_globally

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Look for what was kept."""
        found = self.checkpoints.read(self.key)
        if found is None:
            return
        kept = to_torch(found)
        put_back(net, kept)
        if self.draws_globally:
            for generator, state in zip(_global_generators(net), kept["global"], strict=True):
                generator.set_state(state)


class Keep(Callback):
    """Keeps a net as epochs end, as often as costs little, and at the end of training.

    Comes behind the callbacks that an epoch's end changes.
    """

    def __init__(self, checkpoints: Checkpoints, key: str):
        self.checkpoints, self.key = checkpoints, key

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin to count the seconds."""
        self.last_, self.cost_, self.works_ = time.perf_counter(), 0.0, True

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep this epoch, if it is time."""
        if time.perf_counter() - self.last_ >= SHARE * self.cost_:
            self._keep(net, ended=False)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Keep the end; a Ctrl-C leaves an epoch half done."""
        if not net.interrupted_:
            self._keep(net, ended=True)

    def _keep(self, net: InfoVAENet, ended: bool) -> None:
        start = time.perf_counter()
        if self.works_:  # a full disk is said once
            self.works_ = self.checkpoints.write(self.key, kept_of(net, ended))
        self.last_ = time.perf_counter()
        self.cost_ = self.last_ - start


def kept_of(net: InfoVAENet, ended: bool) -> dict[str, Any]:
    """All that decides how the training of a lone model goes on, as arrays and plain values."""
    (member,) = net.members_
    kept = {
        "weights": dict(net.weights()),
        "moments": optimizer_state(net),
        "settings": [_settings(group) for group in net.optimizer_.param_groups],
        "schedules": [one.lr_scheduler_.state_dict() for one in _schedules(net)],
        "generators": [one.get_state() for one in _generators(net)],
        "global": [one.get_state() for one in _global_generators(net)],
        "member": {name: value for name, value in vars(member).items() if name != "plan"},
        "ended": ended,
    }
    return to_numpy(kept)


def put_back(net: InfoVAENet, kept: dict[str, Any]) -> None:
    """Put a net, fresh but for its place on a device, where `kept_of` found another."""
    (member,) = net.members_
    net.load_weights(kept["weights"])
    if isinstance(net.optimizer_, FlatAdam):
        load_optimizer_state(net, kept["moments"])
    else:
        net.optimizer_.load_state_dict({**net.optimizer_.state_dict(), "state": kept["moments"]})
    for schedule, state in zip(_schedules(net), kept["schedules"], strict=True):
        schedule.lr_scheduler_.load_state_dict(state)
    for group, settings in zip(net.optimizer_.param_groups, kept["settings"], strict=True):
        group.update(settings)
    for generator, state in zip(_generators(net), kept["generators"], strict=True):
        generator.set_state(state)
    vars(member).update(kept["member"])
    net.history_ = member.history
    has_ended = kept["ended"] or member.done
    net.epochs_left = 0 if has_ended else net.max_epochs - len(net.history)


def open_memory(estimator: Any) -> Checkpoints | None:
    """The folder in which an estimator wants its training kept; None where it does not.

    Raises
    ------
    ValueError
        Where another run could not go on from what was kept.
    OSError
        For a folder that can't be made or written to.
    """
    if estimator.memory is None:
        return None
    refuse_memory()
    if estimator.random_state is None:
        raise ValueError(
            "memory needs a random_state: with None each fit is another one, and none could be "
            "taken up. Set random_state=0, say."
        )
    if getattr(estimator, "_skl_callbacks", None):
        raise ValueError(
            "memory and callbacks of scikit-learn don't go together: these may stop a training, "
            "and would not be told of the epochs before. Set memory=None, or set_callbacks()."
        )
    check_can_be_kept(estimator.net_params or {})
    return Checkpoints(estimator.memory, "fit")


def key_of(training: Training, previous: InfoVAENet | None) -> str:
    """A fingerprint of all that a training begins with."""
    weights = dict(training.module.state_dict() if previous is None else previous.weights())
    moments = {} if previous is None else optimizer_state(previous)
    sets = [rows.content for rows in (training.rows, training.valid) if rows is not None]
    plan = replace(training.plan.comparable, device=training.plan.device)
    begins = plan, training.architecture, repr(training.module), training.seed
    try:
        return joblib.hash((*begins, to_numpy((weights, moments)), sets))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"memory needs parts of your own that pickle can name, got one that it can't: {error}. "
            "Define it at the top of a module, or set memory=None."
        ) from error


def check_can_be_kept(net_params: Mapping[str, Any]) -> None:
    """Refuse what has a state that nobody can read off.

    Raises
    ------
    ValueError
        Naming it.
    """
    for callback in callbacks_of(net_params):
        one = callback[1] if isinstance(callback, tuple) else callback
        if not (can_clip(one) or type(one) is LRScheduler or one is LRScheduler):
            raise ValueError(WHAT_CAN_BE_KEPT.format(f"the callback {one!r}"))
    for key, value in net_params.items():
        first, _, rest = key.partition("__")
        loads = first in ("iterator_train", "iterator_valid") and rest in LOADING
        if first not in RESUMABLE and not loads:
            raise ValueError(WHAT_CAN_BE_KEPT.format(f"{key}={value!r}"))


def _schedules(net: InfoVAENet) -> list[LRScheduler]:
    return [one for _, one in net.callbacks_ if isinstance(one, LRScheduler)]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    """What an optimizer knows of a group of parameters, learning rate and all."""
    return {name: value for name, value in group.items() if name != "params"}


def _generators(net: InfoVAENet) -> list[torch.Generator]:
    return [*net._shuffle, *net._train_noise]


def _global_generators(net: InfoVAENet) -> list[torch.Generator]:
    device = torch.device(net.device)
    if device.type != "cuda":
        return [default_generator]
    return [default_generator, torch.cuda.default_generators[device.index or 0]]
