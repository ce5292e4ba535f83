"""A view inside a fitted model: its objective taken apart on a table."""

from sk_infovae._inference.information import Decomposition, Information, decompose

__all__ = ["Decomposition", "Information", "decompose"]
