"""Rows drawn from the model beside real ones."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from sk_infovae._fitted import some_rows, vae_and_table
from sk_infovae._table.codecs import LevelCodec
from sk_infovae._table.reading import read_table
from sk_infovae.inspection._figure import COLOURS, DIVERGING, Display, hide

MOST_ROWS = 10_000
"""Rows that are shown of more."""

MOST_LEVELS = 12
"""Levels of a column that are shown of more: the first, the most frequent where without order."""

MOST_CORRELATED = 200
"""Numbers and indicators whose correlations are shown of more: the first."""

WIDEST = 4
"""Panels side by side."""


class GeneratedDisplay(Display):
    """Marginals of columns, and correlations, of real rows beside those of ``sample``.

    Make one by `from_estimator`.

    Parameters
    ----------
    real, generated : ndarray of shape (n_rows, n_columns)
        Cells: numbers in units of the table, times as days from the middle of the fit, codes of
        levels, NaN where missing.
    columns : sequence of str
        Names of the columns.
    levels : sequence of (list of str or None)
        Names of the levels of each column; None for numbers.

    Attributes
    ----------
    ax_ : ndarray of Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import GeneratedDisplay
    >>> X = load_iris(as_frame=True).data
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(X)
    >>> GeneratedDisplay.from_estimator(vae, X, random_state=0).generated.shape
    (150, 4)
    """

    def __init__(
        self,
        *,
        real: NDArray[Any],
        generated: NDArray[Any],
        columns: Sequence[str],
        levels: Sequence[list[str] | None],
    ):
        self.real = real
        self.generated = generated
        self.columns = columns
        self.levels = levels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_columns: int = 6,
        random_state: int | np.random.RandomState | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw as many rows as X has, and show both.

        Parameters
        ----------
        estimator : InfoVAETransformer, Pipeline with one, or a search over either
            Fitted.
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
            Real rows; of more than 10,000 a random part is shown.
        n_columns : int, default=6
            Columns whose marginals are shown: the first.
        random_state : int, RandomState or None, default=None
            Of `InfoVAETransformer.sample`.
        ax : Axes or array of Axes, default=None

        Returns
        -------
        display : GeneratedDisplay
        """
        vae, X = vae_and_table(estimator, X)
        check_is_fitted(vae)
        real = some_rows(read_table(vae, vae._layout, X), MOST_ROWS, seed=0)
        real = real.toarray() if sparse.issparse(real) else real
        generated = read_table(vae, vae._layout, vae.sample(len(real), random_state))
        found = vae._layout.schema.columns
        return cls(
            real=np.asarray(real),
            generated=np.asarray(generated),
            columns=[str(column.name) for column in found],
            levels=[
                [str(level) for level in column.levels] if isinstance(column, LevelCodec) else None
                for column in found
            ],
        ).plot(ax=ax, n_columns=n_columns)

    def plot(self, ax: Any = None, *, n_columns: int = 6) -> Self:
        """Draw the marginals, and both matrices of correlations.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
        n_columns : int, default=6
            Columns whose marginals are shown: the first.

        Returns
        -------
        self : GeneratedDisplay
        """
        shown = min(n_columns, len(self.columns))
        width = min(WIDEST, shown + 2)
        axes = self._panels(ax, -(-(shown + 2) // width), width, (3.2, 2.8))
        panels = axes.ravel()
        for j in range(shown):
            self._marginal(panels[j], j)
        panels[0].legend()
        image = None
        for panel, (name, values) in zip(panels[shown:], self.correlations().items(), strict=False):
            image = panel.imshow(values, vmin=-1, vmax=1, cmap=DIVERGING)
            panel.set(title=f"correlations, {name}", xticks=[], yticks=[])
        self.figure_.colorbar(image, ax=panels[shown : shown + 2].tolist(), shrink=0.8)
        hide(panels[shown + 2 :])
        return self

    def correlations(self) -> dict[str, NDArray[np.float64]]:
        """Correlations of the first 200 numbers and indicators of levels; 0 for a constant.

        Returns
        -------
        correlations : dict of ndarray
            "real" and "generated".
        """
        return {
            name: _correlations(self._indicators(cells))
            for name, cells in (("real", self.real), ("generated", self.generated))
        }

    def _indicators(self, cells: NDArray[Any]) -> NDArray[np.float64]:
        parts = []
        for values, levels in zip(cells.T, self.levels, strict=True):
            if levels is None:
                parts.append(values[:, None])
            else:
                codes = np.arange(min(len(levels), MOST_LEVELS))
                hole = np.isnan(values)[:, None]
                parts.append(np.where(hole, np.nan, values[:, None] == codes))
            if sum(part.shape[1] for part in parts) >= MOST_CORRELATED:
                break
        return np.hstack(parts)[:, :MOST_CORRELATED].astype(float)

    def _marginal(self, panel: Any, j: int) -> None:
        columns = [cells[:, j][~np.isnan(cells[:, j])] for cells in (self.real, self.generated)]
        levels, names = self.levels[j], ("real", "generated")
        if levels is None:
            edges = np.histogram_bin_edges(np.concatenate(columns), bins=30)
            for values, name, colour in zip(columns, names, COLOURS, strict=False):
                weights = np.full(len(values), 1 / max(1, len(values)))
                how = {"histtype": "stepfilled", "alpha": 0.55, "weights": weights}
                panel.hist(values, edges, label=name, color=colour, **how)
            panel.set_xlabel(self.columns[j])
        else:
            self._bars(panel, columns, levels)
            panel.set_xlabel(self.columns[j])
        panel.set_ylabel("share of rows")

    def _bars(self, panel: Any, columns: Sequence[NDArray[Any]], levels: list[str]) -> None:
        n = min(len(levels), MOST_LEVELS)
        for k, (values, name) in enumerate(zip(columns, ("real", "generated"), strict=True)):
            shares = [float(np.mean(values == code)) if len(values) else 0.0 for code in range(n)]
            places = np.arange(n) + 0.4 * (k - 0.5)
            panel.bar(places, shares, 0.4, color=COLOURS[k], hatch=(None, "//")[k], label=name)
        turned = {"rotation": 45, "ha": "right"} if n > 3 else {}
        panel.set_xticks(range(n), [level[:12] for level in levels[:n]], **turned)


def _correlations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each pair of columns, over the rows where both have cells, as pandas has it."""
    seen = (~np.isnan(values)).astype(float)
    centre = np.nansum(values, axis=0) / np.maximum(seen.sum(0), 1)
    x = np.nan_to_num(values - centre)
    x[np.abs(x) < 1e-9 * np.abs(centre)] = 0.0  # a constant, up to its rounding
    n = np.maximum(seen.T @ seen, 1)
    mean, square = x.T @ seen / n, (x**2).T @ seen / n  # of one column where another has cells
    spread = np.maximum(square - mean**2, 0.0)
    norms = np.sqrt(spread * spread.T)
    return np.divide(x.T @ x / n - mean * mean.T, norms, out=np.zeros_like(norms), where=norms > 0)
