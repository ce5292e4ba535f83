"""What happens to x as one dimension of the code moves."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sk_infovae._fitted import vae_and_table
from sk_infovae._table.codecs import LIBRARIES
from sk_infovae._table.schema import is_frame
from sk_infovae.estimator import InfoVAETransformer
from sk_infovae.inspection._figure import COLOURS, FAINT, Display, ink

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
    ):
        self.steps = steps
        self.dimensions = dimensions
        self.values = values
        self.pictures = pictures

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
            n_features = np.asarray(tables[0]).shape[1]
            if np.prod(image_shape) != n_features:
                raise ValueError(
                    f"image_shape must have as many pixels as X has columns, {n_features}; got "
                    f"{image_shape[0]} x {image_shape[1]}."
                )
            pictures = np.stack([np.asarray(table) for table in tables])
            pictures = pictures.reshape(len(which), n_steps, *image_shape)
        else:
            values = [
                _most_moved(vae, table, k, n_columns)
                for k, table in zip(which, tables, strict=True)
            ]
        return cls(steps=steps, dimensions=which, values=values, pictures=pictures).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a row of panels for each dimension.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None

        Returns
        -------
        self : LatentTraversalDisplay
        """
        return self._curves(ax) if self.pictures is None else self._images(ax, self.pictures)

    def _curves(self, ax: Any) -> Self:
        n_columns = max(len(row) for row in self.values)
        axes = self._panels(ax, len(self.values), n_columns, (3.2, 2.5), sharex=True)
        for panels, row, k in zip(axes, self.values, self.dimensions, strict=True):
            for panel, (name, values) in zip(panels, row, strict=True):
                is_number = values.dtype.kind in "fiumM"
                style = "default" if is_number else "steps-mid"
                values = values if is_number else values.astype(str)
                panel.plot(self.steps, values, color=COLOURS[0], marker="o", ms=3, drawstyle=style)
                panel.axvline(0, color=ink(), ls=":", lw=1, alpha=FAINT)
                panel.set(title=name, xlabel=f"component {k + 1} (standard deviations)")
        return self

    def _images(self, ax: Any, pictures: NDArray[Any]) -> Self:
        n_rows, n_steps = pictures.shape[:2]
        axes = self._panels(ax, n_rows, n_steps, (1.0, 1.05))
        scale = {"vmin": np.nanmin(pictures), "vmax": np.nanmax(pictures), "cmap": "gray"}
        for panels, row, k in zip(axes, pictures, self.dimensions, strict=True):
            for panel, picture, step in zip(panels, row, self.steps, strict=True):
                panel.imshow(picture, **scale)
                panel.set(xticks=[], yticks=[])
                if panels is axes[0]:
                    panel.set_title(f"{step:+.1f}", fontsize="small")
            panels[0].set_ylabel(f"component {k + 1}")
        return self


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
