"""Synthetic tables with known latents and known answers."""

from sk_infovae.datasets.mixed_table import make_mixed_table
from sk_infovae.datasets.truth import MixedTruth

__all__ = ["MixedTruth", "make_mixed_table"]
