"""Train one model, or many of one shape as one batched network.

alpha, lambd, learning rates, bandwidths of D, seeds and rows change no shape, so the candidates and
folds of a search can take each step together. A lone fit is the same loop with one model. One that
stops or diverges leaves the stack and touches no other.
"""

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import joblib
import torch
from skorch.helper import predefined_split
from skorch.history import History
from torch import Tensor

from sk_infovae._base.checkpoints import Checkpoints
from sk_infovae._base.seeds import private_rng
from sk_infovae._base.threads import one_thread
from sk_infovae._model.networks import stack_modules
from sk_infovae._model.objective import stack_losses
from sk_infovae._model.shares import ALONE, CURRENT
from sk_infovae._training.flat_adam import FlatAdam
from sk_infovae._training.hooks import (
    LastEpoch,
    Patience,
    SklearnCallbacks,
    Watch,
    load_optimizer_state,
    optimizer_state,
)
from sk_infovae._training.member import Member
from sk_infovae._training.net import InfoVAENet
from sk_infovae._training.progress import ProgressLine
from sk_infovae._training.rows import Rows, StackedRows
from sk_infovae._training.taking_up import Keep, TakeUp
from sk_infovae._training.training import Training
from sk_infovae.exceptions import TrainingDivergedError

CHECKED_ROWS = 256
"""Rows of which processes that train together compare the sum."""

SMALL_STEP = 2**23
"""Weights times rows of a step below which threads cost more to call than they save."""


def train_alone(
    training: Training,
    previous: InfoVAENet | None = None,
    watcher: SklearnCallbacks | None = None,
    kept: tuple[Checkpoints, str] | None = None,
) -> InfoVAENet:
    """Train one model and return its net.

    Parameters
    ----------
    training : Training
    previous : InfoVAENet or None
        Lends its history and the state of its optimizer.
    watcher : SklearnCallbacks or None
        Tells scikit-learn's callbacks about every epoch.
    kept : tuple of Checkpoints and str, or None
        Where the training is kept while it goes on, and by what key it is taken up again.

    Returns
    -------
    net : InfoVAENet
        After a Ctrl-C it stands where the last finished epoch left it, and ``interrupted_`` is
        True. Where training diverged it stands where its best epoch left it, and ``warning_`` says
        so.

    Raises
    ------
    TrainingDivergedError
        Where no epoch was better than the start.
    """
    plan, last_epoch, line = training.plan, LastEpoch(), ProgressLine()
    hooks: list[Any] = [("last_epoch", last_epoch), ("patience", Patience())]
    if watcher is not None:
        hooks.append(("sklearn_callbacks", watcher))
    if kept is not None:
        take_up = TakeUp(*kept, training.draws_globally)
        hooks = [("take_up", take_up), *hooks, ("keep", Keep(*kept))]
    if plan.verbose:
        hooks.append(("progress_line", line))
    net = assemble([training], hooks)
    if previous is not None:
        net.earlier = previous.epochs()
        net.load_weights(previous.weights())
        net.plain_module.likelihood.calibrate(None)
        if type(previous.optimizer_) is type(net.optimizer_):
            load_optimizer_state(net, optimizer_state(previous))
    own_draws = private_rng(training.seed, plan.device)
    with own_draws if training.draws_globally else nullcontext(), closing(line):
        run(net, training.rows, training.valid)
    if net.interrupted_:
        last_epoch.restore(net)
    return settle(net, net.members_[0], net.epochs(), hooks)


def train_together(
    trainings: Sequence[Training], tell: Callable[[int, int], None] | None = None
) -> list[InfoVAENet | TrainingDivergedError]:
    """Train models with equal keys in one stack, each as it would be trained alone.

    A training that diverges with no epoch to go back to yields its error instead of a net. ``tell``
    is told after each epoch how many models took part, and how many epochs all models together have
    left at most.
    """
    hooks: list[Any] = [("patience", Patience())]
    if tell is not None:
        hooks.append(("watch", Watch(tell)))
    net = assemble(trainings, hooks)
    members = list(net.members_)
    # Freeing a block of this size makes glibc keep the pages of large tensors from one step to the
    # next; to get them anew each time costs a fifth of the time.
    torch.empty(31 * 2**20, dtype=torch.uint8)
    run(net, *stacked_rows(trainings))
    if net.interrupted_:
        raise KeyboardInterrupt
    last = {member: k for k, member in enumerate(net.members_)}
    results: list[InfoVAENet | TrainingDivergedError] = []
    for member, training in zip(members, trainings, strict=True):
        weights = member.ended()
        if member.error is not None and weights is None:
            results.append(member.error)
        else:
            own = net.weights_of(last[member]) if weights is None else weights
            results.append(lone_net(training, member, own))
    return results


def assemble(trainings: Sequence[Training], hooks: list[Any]) -> InfoVAENet:
    """The net of one model, or of a stack, about to begin."""
    first, n_components = trainings[0], trainings[0].architecture.n_components
    losses = [one.plan.make_loss(n_components, one.seed) for one in trainings]
    if len(trainings) == 1:
        seeds, own = (first.seed,), {}
        module, loss = first.module, losses[0]
    else:
        of_model, streams = streams_of(trainings)
        seeds = tuple(one.seed for one in streams)
        own = {"rates": tuple(one.plan.lr for one in trainings)}
        module = stack_modules([one.module for one in trainings])
        loss = stack_losses(losses, first.plan.device)
    net = first.plan.make_net(module, loss, n_components, seeds=seeds, hooks=hooks, **own)
    if own:
        net.stream_of_model_ = torch.tensor(of_model, device=net.device)
    net.members_ = [Member(one.plan) for one in trainings]
    net.history_ = net.members_[0].history
    return net


def streams_of(trainings: Sequence[Training]) -> tuple[list[int], list[Training]]:
    """Which stream of batches and noise feeds each model, and a training for each stream.

    Models on the same rows in the same order share one.
    """
    keys, of_model, streams = [], [], []
    for training in trainings:
        sets = [one for one in (training.rows, training.valid) if one is not None]
        key = (training.seed, *(part for rows in sets for part in rows.identity))
        if key not in keys:
            keys.append(key)
            streams.append(training)
        of_model.append(keys.index(key))
    return of_model, streams


def stacked_rows(trainings: Sequence[Training]) -> tuple[Rows, Rows | None]:
    """Rows of all streams side by side, for training and for validation."""
    _, streams = streams_of(trainings)
    valid = [one.valid for one in streams if one.valid is not None]
    return StackedRows([one.rows for one in streams]), StackedRows(valid) if valid else None


def run(net: InfoVAENet, rows: Rows, valid: Rows | None) -> None:
    """skorch's loop over the epochs, together with other processes where there are any."""
    meet(net, rows, valid)
    net.train_split = None if valid is None else predefined_split(valid)
    n_weights = sum(parameter.numel() for parameter in net.module_.parameters())
    small = net.device == "cpu" and n_weights * net.batch_size < SMALL_STEP
    with one_thread() if small else nullcontext(), no_denormals():
        net.partial_fit(rows)
    net.train_split = None  # it holds rows


def meet(net: InfoVAENet, rows: Rows, valid: Rows | None) -> None:
    """Begin together with other processes: with the same task, and the same weights.

    Raises
    ------
    ProcessesDifferError
        Where the tasks differ.
    ValueError
        For what needs all rows of a batch in one process.
    """
    shares, module = CURRENT.get(), net.plain_module
    if shares.size == 1:
        return
    if module.likelihood.has_closed_form:
        raise ValueError(
            "data_parallel can't train a likelihood that is set by whole batches, such as "
            "Gaussian('optimal'). Choose another scale ('calibrated' is the default)."
        )
    try:
        plans = joblib.hash([member.plan.comparable for member in net.members_])
    except (pickle.PicklingError, AttributeError, TypeError):  # a lambda in net_params, say
        plans = "0"
    task = {
        "rows": float(len(rows)),
        "cells": checksum(rows),
        "validation rows": 0.0 if valid is None else float(len(valid)),
        "validation cells": 0.0 if valid is None else checksum(valid),
        "seeds": float(sum(net.seeds)),
        "parameters": float(int(plans[:12], 16)),
    }
    shares.check_agreement(task, net.device)
    with torch.no_grad():
        for parameter in net._learned().parameters():
            parameter.copy_(shares.first_of(parameter))


def checksum(rows: Rows) -> float:
    """A sum of some cells that tells rows and columns apart."""
    x = rows.spread(min(len(rows), CHECKED_ROWS)).x.nan_to_num().double().abs()
    places = torch.arange(1, x.shape[-2] + 1)[:, None] * torch.arange(1, x.shape[-1] + 1).sqrt()
    return (x * places.to(x)).sum().item()


@contextmanager
def no_denormals() -> Iterator[None]:
    """Numbers below 1e-38 are 0 in this thread, and what they were before afterwards.

    A product of matrices that hold some takes two hundred times as long; SiLU makes them of what
    lies below -88.
    """
    before = not (torch.tensor(1e-40) * 1.0).item()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def settle(net: InfoVAENet, member: Member, epochs: list[Any], hooks: list[Any]) -> InfoVAENet:
    """The net without what only training needs."""
    net.warning_ = member.warning()
    if isinstance(net.optimizer_, FlatAdam):
        net.optimizer_.release()
    net.drop_batches()
    net._written = None
    net.history_, net.earlier = History(epochs), []
    # These may hold rows, or copies of the weights.
    net.callbacks, net.members_, net._listening = [], [], {}
    net.callbacks_ = [pair for pair in net.callbacks_ if pair not in hooks]
    net._set_training(False)
    return net


def lone_net(training: Training, member: Member, weights: dict[str, Tensor]) -> InfoVAENet:
    """The net that a fit alone would have left, but for the optimizer's moments."""
    net = assemble([training], [])
    net.load_weights(weights)
    return settle(net, member, member.history, [])


def seconds_per_epoch(trainings: Sequence[Training]) -> float:
    """What an epoch of one model takes in the stack of these, by steps that are then forgotten."""
    net, (rows, _) = assemble(trainings, []), stacked_rows(trainings)
    net._n_rows, net._listening, seconds = len(rows), {}, []
    net.write_out()
    batches = net.get_iterator(rows, training=True)
    batch = next(iter(batches))
    net._set_training(True)
    before = CURRENT.set(ALONE)  # other processes may not measure
    for _ in range(3):  # the first one also warms up
        start = time.perf_counter()
        net.train_step(batch)["loss"].tolist()
        seconds.append(time.perf_counter() - start)
    CURRENT.reset(before)
    return min(seconds) * len(batches) / len(trainings)
