"""A view inside a fitted model: its objective taken apart on a table, and pictures of it.

The Displays are those of scikit-learn: ``from_estimator`` and the like measure and draw, ``plot``
draws again, ``ax_`` and ``figure_`` are what was drawn on. They need matplotlib.
"""

from sk_infovae._inference.information import Decomposition, Information, decompose
from sk_infovae.inspection._generated import GeneratedDisplay
from sk_infovae.inspection._history import HistoryDisplay
from sk_infovae.inspection._information import InformationDisplay
from sk_infovae.inspection._latent import LatentDisplay
from sk_infovae.inspection._loadings import LoadingsDisplay
from sk_infovae.inspection._reconstruction import ReconstructionDisplay
from sk_infovae.inspection._tradeoff import TradeoffDisplay
from sk_infovae.inspection._traversal import LatentTraversalDisplay

__all__ = [
    "Decomposition",
    "GeneratedDisplay",
    "HistoryDisplay",
    "Information",
    "InformationDisplay",
    "LatentDisplay",
    "LatentTraversalDisplay",
    "LoadingsDisplay",
    "ReconstructionDisplay",
    "TradeoffDisplay",
    "decompose",
]
