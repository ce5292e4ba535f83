"""Divergences D(q(z), p(z)) between the aggregated posterior and the prior N(0, I).

One file each. To add one: write the class in a file of its own and name it in ``DIVERGENCES``;
the contract tests run on it by themselves.
"""

from sk_infovae.divergences.base import Divergence
from sk_infovae.divergences.mmd import MMD

DIVERGENCES: dict[str, type[Divergence]] = {
    "mmd": MMD,
}

__all__ = ["DIVERGENCES", "MMD", "Divergence"]
