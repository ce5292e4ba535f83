"""What happens to x as one dimension of the code moves."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sk_infovae._fitted import vae_and_table
from sk_infovae._table.codecs import LIBRARIES
from sk_infovae._table.schema import is_frame
from sk_infovae.estimator import InfoVAETransformer
from sk_infovae.inspection._figure import COLOURS, FAINT, Display, as_pictures, ink

FIRST_DIMENSIONS = 4
"""Dimensions that are shown of more, the first of which explain most."""


class LatentTraversalDisplay(Display):
    """Decoded codes on a line along each dimension, the others held: a row of panels for each.

    Make one by `from_estimator`.

    Parameters
    ----------
    steps : ndarray of shape (n_steps,)
        Where the dimension is put, in standard deviations of the prior.
    dimensions : sequence of int
        Which ones are moved.
    values : list of list of (str, ndarray of shape (n_steps,))
        For each dimension the name and the decoded values of some columns, in units of the table.
    pictures : ndarray of shape (n_dimensions, n_steps, height, width) or None
        In the place of columns.
    levels : dict of str to sequence of str, default=None
        Levels of columns in their order, from below; in alphabetical order by default.

    Attributes
    ----------
    ax_ : Axes or ndarray of Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import LatentTraversalDisplay
    >>> X = load_iris(as_frame=True).data
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(X)
    >>> LatentTraversalDisplay.from_estimator(vae, n_steps=5).steps
    array([-2., -1.,  0.,  1.,  2.])
    """

    def __init__(
        self,
        *,
        steps: NDArray[Any],
        dimensions: Sequence[int],
        values: Sequence[Sequence[tuple[str, NDArray[Any]]]],
        pictures: NDArray[Any] | None = None,
        levels: Mapping[str, Sequence[str]] | None = None,
    ):
        self.steps = steps
        self.dimensions = dimensions
        self.values = values
        self.pictures = pictures
        self.levels = levels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        dimensions: Sequence[int] | None = None,
        at: ArrayLike | None = None,
        span: float = 2.0,
        n_steps: int = 9,
        n_columns: int = 3,
        image_shape: tuple[int, int] | None = None,
        ax: Any = None,
    ) -> Self:
        """Move each dimension from ``-span`` to ``span`` and decode.

        Parameters
        ----------
        estimator : InfoVAETransformer, Pipeline with one, or a search over either
            Fitted.
        dimensions : sequence of int, default=None
            Which ones; by default the first four, which explain most.
        at : array-like of shape (n_components,), default=None
            Where the other dimensions are held: a row's code, say. The prior's mean by default.
        span : float, default=2.0
            In standard deviations of the prior.
        n_steps : int, default=9
            Codes on each line.
        n_columns : int, default=3
            Columns for each dimension: those with the largest loadings on it.
        image_shape : tuple of int, default=None
            Height and width, where a row is a picture.
        ax : Axes or array of Axes, default=None

        Returns
        -------
        display : LatentTraversalDisplay
        """
        vae, _ = vae_and_table(estimator)
        check_is_fitted(vae)
        d = vae._n_features_out
        which = list(range(d))[:FIRST_DIMENSIONS] if dimensions is None else list(dimensions)
        centre = np.zeros(d) if at is None else np.asarray(at, dtype=float).ravel()
        if centre.shape != (d,):
            raise ValueError(
                f"at must hold one number for each of the n_components={d} dimensions; got "
                f"{centre.size}."
            )
        steps = np.linspace(-span, span, n_steps)
        tables = [vae.inverse_transform(_line(centre, k, steps)) for k in which]
        pictures, values = None, []
        if image_shape is not None:
            pictures = np.stack([as_pictures(np.asarray(table), image_shape) for table in tables])
        else:
            values = [
                _most_moved(vae, table, k, n_columns)
                for k, table in zip(which, tables, strict=True)
            ]
        display = cls(
            steps=steps,
            dimensions=which,
            values=values,
            pictures=pictures,
            levels={
                str(column.name): np.asarray(column.levels).astype(str).tolist()
                for column in vae._layout.schema.every
                if hasattr(column, "levels")
            },
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a row of panels for each dimension.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None

        Returns
        -------
        self : LatentTraversalDisplay
        """
        if self.pictures is None:
            self._curves(ax)
        else:
            self._images(ax, self.pictures)
        return self

    def _curves(self, ax: Any) -> None:
        n_columns = max(len(row) for row in self.values)
        axes = self._panels(ax, len(self.values), n_columns, (3.2, 2.5), sharex=True)
        for panels, row, k in zip(axes, self.values, self.dimensions, strict=True):
            for panel, (name, values) in zip(panels, row, strict=True):
                is_number = values.dtype.kind in "fiumM"
                style = "default" if is_number else "steps-mid"
                if not is_number:
                    values = values.astype(str)
                    reached = set(values)
                    order = (self.levels or {}).get(name, sorted(reached))
                    panel.yaxis.update_units([level for level in order if level in reached])
                panel.plot(self.steps, values, color=COLOURS[0], marker="o", ms=3, drawstyle=style)
                panel.axvline(0, color=ink(), ls=":", lw=1, alpha=FAINT)
                panel.set(title=name, xlabel=f"component {k + 1} (standard deviations)")

    def _images(self, ax: Any, pictures: NDArray[Any]) -> None:
        names = [f"component {k + 1}" for k in self.dimensions]
        axes = self._picture_grid(ax, pictures, pictures, names)
        for panel, step in zip(axes[0], self.steps, strict=True):
            panel.set_title(f"{step:+.1f}", fontsize="small")


def _line(centre: NDArray[Any], k: int, steps: NDArray[Any]) -> NDArray[Any]:
    """Codes that differ in one dimension."""
    codes = np.tile(centre, (len(steps), 1))
    codes[:, k] = steps
    return codes


def _most_moved(
    vae: InfoVAETransformer, table: Any, k: int, most: int
) -> list[tuple[str, NDArray[Any]]]:
    """Names and values of the columns with the largest loadings on a dimension."""
    strength = np.nan_to_num(np.abs(vae.loadings_[:, k]), nan=-1.0)
    which = np.argsort(-strength, kind="stable")[:most]
    every, schema = vae._layout.schema.every, vae._layout.schema
    columns = LIBRARIES[schema.container].columns(table) if is_frame(table) else np.asarray(table).T
    return [(str(every[j].name), np.asarray(columns[j])) for j in which if strength[j] >= 0]
