"""Which columns each dimension moves."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sk_infovae._fitted import vae_and_table
from sk_infovae.inspection._figure import DIVERGING, Display

FEW_CELLS = 60
"""Cells up to which the numbers stand in them."""


class LoadingsDisplay(Display):
    """Loadings of columns on dimensions, as a table of colours.

    Make one by `from_estimator`.

    Parameters
    ----------
    loadings : ndarray of shape (n_features, n_components)
        What a column moves, in standard deviations of its own, as a dimension moves by one.
    columns : sequence of str
        Names of the columns.
    shares : ndarray of shape (n_components,) or None
        Share of the variance that each dimension explains.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import LoadingsDisplay
    >>> X = load_iris(as_frame=True).data
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(X)
    >>> LoadingsDisplay.from_estimator(vae).loadings.shape
    (4, 2)
    """

    def __init__(
        self,
        *,
        loadings: NDArray[Any],
        columns: Sequence[str],
        shares: NDArray[Any] | None = None,
    ):
        self.loadings = loadings
        self.columns = columns
        self.shares = shares

    @classmethod
    def from_estimator(cls, estimator: Any, *, n_columns: int = 20, ax: Any = None) -> Self:
        """Show ``loadings_``.

        Parameters
        ----------
        estimator : InfoVAETransformer, Pipeline with one, or a search over either
            Fitted.
        n_columns : int, default=20
            Columns to show, in the order of the table; of more, those that move most.
        ax : Axes, default=None

        Returns
        -------
        display : LoadingsDisplay
        """
        vae, _ = vae_and_table(estimator)
        check_is_fitted(vae)
        strength = np.nan_to_num(np.linalg.norm(vae.loadings_, axis=1), nan=-1.0)
        most = np.argsort(-strength, kind="stable")[:n_columns]
        which = np.sort(most[strength[most] >= 0])
        every = [str(column.name) for column in vae._layout.schema.every]
        return cls(
            loadings=vae.loadings_[which],
            columns=[every[j] for j in which],
            shares=vae.explained_variance_ratio_,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the table.

        Parameters
        ----------
        ax : Axes, default=None

        Returns
        -------
        self : LoadingsDisplay
        """
        n, d = self.loadings.shape
        longest = max(map(len, self.columns), default=0)
        size = (1.8 + 0.1 * longest + max(1.4, 0.7 * d), max(3.0, 1.0 + 0.27 * n))
        panel = self._panels(ax, 1, 1, size)[0, 0]
        most = max(np.nanmax(np.abs(self.loadings), initial=0.0), 1e-6)
        colours = {"cmap": DIVERGING, "vmin": -most, "vmax": most, "aspect": "auto"}
        image = panel.imshow(self.loadings, **colours)
        panel.set_yticks(range(n), self.columns)
        panel.set_xticks(range(d), self._names())
        panel.set_xlabel("component" + ("" if self.shares is None else ", share of the variance"))
        if n * d <= FEW_CELLS:
            for (j, k), value in np.ndenumerate(self.loadings):
                dark = abs(value) > 0.6 * most
                text = {"ha": "center", "va": "center", "color": "white" if dark else "black"}
                panel.text(k, j, f"{value:.2f}", **text)
        label = "deviations of the column\nfor one of the component"
        self.figure_.colorbar(image, ax=panel, label=label)
        return self

    def _names(self) -> list[str]:
        d = self.loadings.shape[1]
        if self.shares is None:
            return [f"{k + 1}" for k in range(d)]
        return [f"{k + 1}\n{share:.0%}" for k, share in enumerate(self.shares)]
