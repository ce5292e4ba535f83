"""What comes back of a row."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_infovae._fitted import cells_and_decoded, columns_of_levels, vae_and_table
from sk_infovae.inspection._figure import COLOURS, FAINT, Display, as_pictures, ink


class ReconstructionDisplay(Display):
    """Rows beside ``inverse_transform(transform(X))``: pictures, or the error of each column.

    Make one by `from_estimator`. The error of a column is that of always guessing its mean, or its
    most frequent level, at 1; a constant column has none.

    Parameters
    ----------
    errors : ndarray of shape (n_columns,)
        Mean squared error by variance, or part of wrong cells by that of the most frequent level.
    columns : sequence of str
        Names of the columns.
    of_levels : ndarray of bool, shape (n_columns,)
        Which ones hold levels or booleans.
    pictures : ndarray of shape (2, n_rows, height, width) or None
        Rows, and what came back.

    Attributes
    ----------
    ax_ : Axes or ndarray of Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import ReconstructionDisplay
    >>> X = load_iris(as_frame=True).data
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(X)
    >>> ReconstructionDisplay.from_estimator(vae, X).errors.shape
    (4,)
    """

    def __init__(
        self,
        *,
        errors: NDArray[Any],
        columns: Sequence[str],
        of_levels: NDArray[Any],
        pictures: NDArray[Any] | None = None,
    ):
        self.errors = errors
        self.columns = columns
        self.of_levels = of_levels
        self.pictures = pictures

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        n_rows: int = 8,
        n_columns: int = 20,
        ax: Any = None,
    ) -> Self:
        """Send rows there and back.

        Parameters
        ----------
        estimator : InfoVAETransformer, Pipeline with one, or a search over either
            Fitted.
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        image_shape : tuple of int, default=None
            Height and width, where a row is a picture.
        n_rows : int, default=8
            Pictures to show: the first rows.
        n_columns : int, default=20
            Columns to show, with the largest errors.
        ax : Axes or array of Axes, default=None

        Returns
        -------
        display : ReconstructionDisplay
        """
        vae, X = vae_and_table(estimator, X)
        cells, decoded = cells_and_decoded(vae, X)
        of_levels = columns_of_levels(vae)
        pictures = None
        if image_shape is not None:
            shown = (as_pictures(table[:n_rows], image_shape) for table in (cells, decoded))
            pictures = np.stack(list(shown))
        errors = column_errors(cells, decoded, of_levels)
        found = np.flatnonzero(~np.isnan(errors))
        worst = found[np.argsort(-errors[found], kind="stable")[:n_columns]]
        return cls(
            errors=errors[worst],
            columns=[str(vae._layout.schema.names[j]) for j in worst],
            of_levels=of_levels[worst],
            pictures=pictures,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw pictures where there are some, else a bar for each column.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None

        Returns
        -------
        self : ReconstructionDisplay
        """
        if self.pictures is None:
            self._bars(ax)
        else:
            self._picture_grid(ax, self.pictures, self.pictures[0], ("rows", "came back"))
        return self

    def _bars(self, ax: Any) -> None:
        n = len(self.errors)
        panel = self._panels(ax, 1, 1, (5.6, max(2.4, 1.0 + 0.27 * n)))[0, 0]
        places = np.arange(n)
        for levels, name, colour, hatch in (
            (False, "numbers: squared error / variance", COLOURS[0], None),
            (True, "levels: wrong cells / those of the most frequent level", COLOURS[1], "//"),
        ):
            mine = self.of_levels == levels
            if mine.any():
                bar = {"color": colour, "hatch": hatch, "label": name}
                panel.barh(places[mine], self.errors[mine], **bar)
        panel.axvline(1, color=ink(), ls=":", alpha=FAINT, label="a constant guess")
        panel.set_yticks(places, self.columns)
        panel.invert_yaxis()
        panel.set(xlabel="error by that of a constant guess", xlim=(0, None))
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25 if n < 8 else -0.12))


def column_errors(
    cells: NDArray[np.float64], decoded: NDArray[np.float64], of_levels: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Error of each column by that of a constant guess; NaN where that has none."""
    errors = np.full(cells.shape[1], np.nan)
    for j, levels in enumerate(of_levels):
        seen = ~np.isnan(cells[:, j])
        x, back = cells[seen, j], decoded[seen, j]
        if not len(x):
            continue
        if levels:
            guess = np.unique(x, return_counts=True)
            off, worst = np.mean(x != back), np.mean(x != guess[0][guess[1].argmax()])
        else:
            off, worst = np.mean((x - back) ** 2), np.var(x)
        if worst > 0:
            errors[j] = off / worst
    return errors
