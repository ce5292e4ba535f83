"""The terms of the objective, epoch by epoch."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_infovae._fitted import vae_and_table
from sk_infovae.inspection._figure import COLOURS, FAINT, Display, hide, ink

LABELS = {
    "loss": "loss (nats)",
    "reconstruction": "E log p(x|z) (nats)",
    "kl": "KL(q(z|x) || p(z)) (nats)",
    "divergence": "D(q(z), p(z))",
    "neighbors": "neighbours' information (nats)",
}
"""The terms, and the units in which they stand."""

WIDEST = 3
"""Panels side by side."""


class HistoryDisplay(Display):
    """Each term of the objective against the epochs, of training and of held-out rows.

    Make one by `from_estimator` or `from_history`.

    Parameters
    ----------
    history : list of dict
        As ``history_`` of an InfoVAETransformer: numbers by name for each epoch, those of held-out
        rows with ``valid_`` before the name.

    Attributes
    ----------
    ax_ : Axes or ndarray of Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import HistoryDisplay
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(load_iris().data)
    >>> HistoryDisplay.from_estimator(vae).terms
    ['loss', 'reconstruction', 'kl', 'divergence']
    """

    def __init__(self, *, history: Sequence[dict[str, Any]]):
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Show the training of an estimator.

        Parameters
        ----------
        estimator : InfoVAETransformer, Pipeline with one, or a search over either
            Fitted.
        ax : Axes or array of Axes, default=None

        Returns
        -------
        display : HistoryDisplay
        """
        vae, _ = vae_and_table(estimator)
        check_is_fitted(vae)
        return cls.from_history(vae.history_, ax=ax)

    @classmethod
    def from_history(cls, history: Sequence[dict[str, Any]], *, ax: Any = None) -> Self:
        """Show a history.

        Parameters
        ----------
        history : list of dict
            As ``history_``; at least one epoch.
        ax : Axes or array of Axes, default=None

        Returns
        -------
        display : HistoryDisplay
        """
        if not len(history):
            raise ValueError("history must hold at least one epoch; got none. Fit first.")
        return cls(history=list(history)).plot(ax=ax)

    @property
    def terms(self) -> list[str]:
        """Names of what is shown: the objective's terms, then other numbers of the history."""
        last = self.history[-1]
        numbers = [
            name
            for name, value in last.items()
            if isinstance(value, Real) and not isinstance(value, bool | np.bool_)
        ]
        own = [name for name in LABELS if name in numbers]
        known = {"epoch", "dur", *own, *(f"valid_{name}" for name in own)}
        return own + [name for name in numbers if name not in known]

    def plot(self, ax: Any = None) -> Self:
        """Draw a panel for each term.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            Axes to divide, or one for each term.

        Returns
        -------
        self : HistoryDisplay
        """
        terms = self.terms
        n_columns = min(WIDEST, len(terms))
        n_rows = -(-len(terms) // n_columns)
        axes = self._panels(ax, n_rows, n_columns, (3.6, 2.8)).ravel()
        epochs, best = self._values("epoch"), self._best()
        for panel, term in zip(axes, terms, strict=False):
            panel.plot(epochs, self._values(term), color=COLOURS[0], label="training rows")
            if f"valid_{term}" in self.history[-1]:
                held_out = self._values(f"valid_{term}")
                panel.plot(epochs, held_out, color=COLOURS[1], ls="--", label="held-out rows")
            if best is not None:
                line = {"color": ink(), "ls": ":", "lw": 1, "alpha": FAINT}
                panel.axvline(best, label="least held-out loss", **line)
            panel.set(xlabel="epoch", ylabel=LABELS.get(term, term))
        axes[0].legend()
        hide(axes[len(terms) :])
        return self

    def _values(self, name: str) -> list[float]:
        return [epoch.get(name, np.nan) for epoch in self.history]

    def _best(self) -> float | None:
        """The epoch whose held-out loss is the least."""
        losses = np.array(self._values("valid_loss"), dtype=float)
        if np.isnan(losses).all():
            return None
        return self._values("epoch")[int(np.nanargmin(losses))]
