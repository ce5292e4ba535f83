"""What each divergence can tell from the prior: 64 dimensions, batches of 256, float32.

In units of its standard deviation on the prior, within which a search or a training can't see.
"""

import math
from functools import lru_cache

import pytest
import torch
from gaussian_codes import learns, normals

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import DIVERGENCES, KSD, MMD, Codes

D, N, N_NULL = 64, 256, 40
VARIANCES = {"collapsed": 0.0, "almost collapsed": 1e-4, "shrunk": 0.5, "spread": 4.0}

CASES = {
    **{name: (cls(), N) for name, cls in DIVERGENCES.items() if not learns(cls())},
    "mmd imq": (MMD("imq"), N),
    "mmd, three bandwidths": (MMD(bandwidth=[16, 64, 256]), N),
    "mmd mixture": (MMD(estimator="mixture"), N),
    "ksd gaussian": (KSD("gaussian"), N),
    "kl, a million rows": (DIVERGENCES["kl"](), 10**6),
}


def estimates(case, variance, n_batches, seed):
    """D of batches of N(0, variance I), half of the variance within each q(z|x)."""
    divergence, n_rows = CASES[case]
    noise = normals(n_batches, 3, N, D, seed=seed, dtype=torch.float32)
    # A q(z|x) of no width at all has no density, which is what a collapsed encoder nears.
    spread = math.sqrt(variance / 2)
    values = []
    for to_mean, to_draw, further in noise:
        mean = spread * to_mean
        posterior = Posterior(mean, torch.full_like(mean, math.log(max(variance / 2, 1e-8))))
        rows = further[: divergence.noise_rows(N)]
        values.append(divergence(Codes(mean + spread * to_draw, posterior, rows, n_rows)))
    return torch.stack(values)


@lru_cache
def null(case):
    """Mean and standard deviation on the prior."""
    values = estimates(case, 1.0, N_NULL, seed=0)
    return values.mean().item(), values.std().item()


def in_deviations(case, law):
    mean, deviation = null(case)
    return ((estimates(case, VARIANCES[law], 4, seed=1) - mean) / deviation).tolist()


EVERY = [(case, law) for case in CASES for law in VARIANCES]


@pytest.mark.parametrize(("case", "law"), EVERY)
def test_is_told_from_the_prior(case, law):
    """Every batch by more than five deviations; ``-s`` prints their means."""
    found = in_deviations(case, law)
    print(f"\n{case}, {law}: {sum(found) / len(found):.1f}")
    assert min(found) > 5
