"""Divergences D(q(z), p(z)) between the aggregated posterior and the prior N(0, I).

One file each. To add one: write the class in a file of its own and name it in ``DIVERGENCES``;
the contract tests run on it by themselves.
"""

from sk_infovae.divergences.adversarial import Adversarial
from sk_infovae.divergences.base import Codes, Divergence
from sk_infovae.divergences.kl import KL
from sk_infovae.divergences.ksd import KSD
from sk_infovae.divergences.mmd import MMD
from sk_infovae.divergences.sliced_wasserstein import SlicedWasserstein

DIVERGENCES: dict[str, type[Divergence]] = {
    "mmd": MMD,
    "kl": KL,
    "sliced_wasserstein": SlicedWasserstein,
    "ksd": KSD,
    "adversarial": Adversarial,
}

__all__ = [
    "DIVERGENCES",
    "KL",
    "KSD",
    "MMD",
    "Adversarial",
    "Codes",
    "Divergence",
    "SlicedWasserstein",
]
