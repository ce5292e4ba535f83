"""The state of a net: arrays and a description, from which it is rebuilt."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from skorch.history import History
from torch import Tensor

from sk_infovae._base.seeds import private_rng
from sk_infovae._base.threads import mind_a_fork
from sk_infovae._model.architecture import Architecture
from sk_infovae._training.hooks import load_optimizer_state, optimizer_state
from sk_infovae._training.net import InfoVAENet
from sk_infovae._training.plan import TrainingPlan, resolve_device


def net_state(net: InfoVAENet) -> dict[str, Any]:
    """Weights, the optimizer's moments and history of a net as numpy arrays and plain values."""
    return {
        "weights": to_numpy(dict(net.weights())),
        "optimizer": to_numpy(optimizer_state(net)),
        "optimizer_class": type(net.optimizer_).__name__,
        "history": net.epochs(),
        "seed": net.seeds[0],
    }


def rebuild_net(
    architecture: Architecture, plan: TrainingPlan, state: dict[str, Any]
) -> InfoVAENet:
    """Build the net that `net_state` described, by the plan that trained it.

    A device that this machine does not have is replaced by the CPU.
    """
    mind_a_fork()
    try:
        resolve_device(plan.device)
    except ValueError:
        plan = replace(plan, device="cpu")
    with private_rng(0, "cpu"):
        module = architecture.build()
    weights = to_torch(state["weights"])
    prefix = "criterion.critic."
    critic = {
        name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)
    }
    loss = plan.make_loss(architecture.n_components, state["seed"], critic)
    net = plan.make_net(module, loss, architecture.n_components, seeds=(state["seed"],))
    net.load_weights(weights)
    if type(net.optimizer_).__name__ == state["optimizer_class"]:
        load_optimizer_state(net, to_torch(state["optimizer"]))
    net.history_ = History(state["history"])
    net.callbacks = []
    net._set_training(False)
    return net


def to_numpy(value: Any) -> Any:
    """A copy with arrays in the place of tensors, in dicts, lists and tuples too."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy().copy()
    return _each(to_numpy, value)


def to_torch(value: Any) -> Any:
    """A copy with tensors in the place of arrays."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    return _each(to_torch, value)


def _each(convert: Callable[[Any], Any], value: Any) -> Any:
    if type(value) is dict:
        return {key: convert(one) for key, one in value.items()}
    return type(value)(map(convert, value)) if type(value) in (list, tuple) else value
