"""Every divergence of the registry and its variants, on batches that are not of the prior."""

import pytest
import torch
from gaussian_codes import normals

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import DIVERGENCES, KSD, MMD, Adversarial, Codes, SlicedWasserstein

VARIANTS = [
    MMD(bandwidth=0.7),
    MMD(bandwidth=(0.5, 2.0, 8.0)),
    MMD("imq"),
    MMD("imq", bandwidth=(1.0, 6.0)),
    MMD(estimator="mixture"),
    MMD("imq", estimator="mixture"),
    KSD("gaussian"),
    KSD(bandwidth=0.7),
    SlicedWasserstein(n_projections=5),
    Adversarial(hidden_layer_sizes=(4,), gradient_penalty=0),
]
EVERY = [*(cls() for cls in DIVERGENCES.values()), *VARIANTS]


def over(divergences):
    return pytest.mark.parametrize("divergence", divergences, ids=repr)


over_all = over(EVERY)

N_ROWS = 100
"""Rows of the data set in the laws of form; more than any batch of theirs."""


def inputs(divergence, *leading, d=3, seed=0, dtype=torch.float64):
    """Of batches that are not of the prior: means, log-variances, noise of z, further noise."""
    first, second, noise = normals(3, *leading, d, seed=seed, dtype=dtype)
    shape = *leading[:-1], divergence.noise_rows(leading[-1]), d
    further = normals(*shape, seed=seed + 1, dtype=dtype)
    return 0.5 + 0.8 * first, -1 + 0.3 * second, noise, further


def random_parameters(divergence, d=3, seed=0):
    """Starting values moved by noise: a last layer of 0 would hide the others."""
    start = divergence.init_parameters(d, torch.Generator().manual_seed(seed))
    return {
        name: one.double() + 0.1 * normals(*one.shape, seed=seed) for name, one in start.items()
    }


def evaluate(divergence, means, log_variances, noise, further, parameters):
    """D as a function of what the encoder returns."""
    posterior = Posterior(means, log_variances)
    return divergence(Codes(posterior.rsample(noise), posterior, further, N_ROWS, parameters))
