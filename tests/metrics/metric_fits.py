"""Models whose metrics are known, and tables for them."""

import copy
import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_wine

from sk_infovae import InfoVAETransformer, metrics

SURE = 4.0
"""Standard errors that an estimate may be off: one run in 16,000."""

METRICS = {name: getattr(metrics, name) for name in metrics.__all__}
DRAWN = ("elbo", "mutual_information")
"""Metrics with noise of their own: a row's draws depend on its place."""

X, Y = load_wine(return_X_y=True)
HOLES = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.15, np.nan, X)

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def small(n_components=2, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 10,
        "lr": 1e-2,
        "batch_size": 32,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    return InfoVAETransformer(n_components, **(defaults | params))


def linear(data, encoder, bias, log_variance, decoder, decoder_bias=0.0, **params):
    """A model fitted to data for its scaling, with linear networks of the weights given.

    q(z|x) = N(A x + b, V) and p(x|z) has the mean (or log-odds) W z + c, in standardised x.
    """
    encoder = torch.as_tensor(np.atleast_2d(encoder))
    settings = {"hidden_layer_sizes": (), "max_epochs": 1, "n_importance_samples": 512}
    vae = small(len(encoder), **(settings | params)).fit(data)
    with torch.no_grad():
        vae.module_.encoder.weight.copy_(torch.cat([encoder, 0 * encoder]))
        both = np.concatenate([np.broadcast_to(b, len(encoder)) for b in (bias, log_variance)])
        vae.module_.encoder.bias.copy_(torch.as_tensor(both))
        vae.module_.decoder.weight.copy_(torch.as_tensor(decoder))
        vae.module_.decoder.bias[:] = torch.as_tensor(decoder_bias)
    return vae


def with_seed(vae, seed):
    """The same fitted model with other draws."""
    vae = copy.copy(vae)
    vae._layout = dataclasses.replace(vae._layout, seed=seed)
    return vae


def over_seeds(metric, vae, data, n=20):
    """Mean over n seeds of the draws, its standard error, and the spread of one value."""
    values = np.array([metric(with_seed(vae, seed), data) for seed in range(n)])
    spread = values.std(ddof=1)
    return values.mean(), spread / math.sqrt(n), spread


def mixed_frame(n=200):
    """Floats, integers and booleans that hang together, with holes where pandas has them."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=n)
    floats = 100 + 20 * (z + 0.3 * rng.normal(size=n))
    return pd.DataFrame(
        {
            "float": np.where(rng.uniform(size=n) < 0.2, np.nan, floats),
            "int": np.rint(3 * z + rng.normal(size=n)).astype(np.int32),
            "bool": z + 0.3 * rng.normal(size=n) > 0.5,
            "rare": rng.uniform(size=n) < 0.05,
        }
    )
