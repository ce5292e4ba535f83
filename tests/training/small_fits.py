"""Small models, and what is asked of them after training."""

import numpy as np
import torch
from skorch.callbacks import (
    Callback,
)

from sk_infovae import InfoVAETransformer

TERMS = ("loss", "reconstruction", "kl", "divergence")


def small(*callbacks, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 5,
        "batch_size": 32,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    if callbacks:
        defaults["net_params"] = {"callbacks": list(callbacks)}
    return InfoVAETransformer(**(defaults | params))


def table(n_rows=120, seed=0):
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 4))
    return plane + 0.1 * rng.normal(size=(n_rows, 4))


def weights(net_or_vae):
    """What training moves: all but the noise that is calibrated when it has ended."""
    return trained(net_or_vae.module_.state_dict())


def trained(state):
    return {k: value.clone() for k, value in state.items() if not k.endswith("correction")}


def same_weights(one, other):
    return all(torch.equal(one[name], other[name]) for name in one | other)


def optimizer_steps(vae):
    return {int(state["step"]) for state in vae.net_.optimizer_.state.values()}


class Snapshots(Callback):
    """Keeps the weights of every epoch; the log belongs to the class, as fit clones callbacks."""

    log: list = []  # noqa: RUF012

    def on_epoch_end(self, net, **kwargs):
        self.log.append(weights(net))
