"""Colours, markers and panels that the Displays share.

Text, lines and backgrounds that mean nothing follow matplotlib's settings, so that a style for dark
screens or for print changes them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#999999")
"""Okabe's and Ito's, which the colour-blind tell apart; grey in the place of black."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")

DIVERGING, SEQUENTIAL = "PuOr_r", "cividis"
"""Maps for signed values and for others."""

FAINT = 0.55
"""Opacity of what only helps to read."""


class Display:
    """What all Displays have: a figure and one or more axes, after ``plot``."""

    figure_: Any
    ax_: Any

    def _panels(
        self, ax: Any, n_rows: int, n_columns: int, size: tuple[float, float], **sharing: Any
    ) -> Any:
        """Axes in rows and columns, in a new figure or in the place of ``ax``.

        Parameters
        ----------
        ax : Axes, array of Axes or None
            Axes that are to be divided where more than one are wanted, or one for each.
        n_rows, n_columns : int
        size : tuple of float
            Width and height of one in a new figure, inches.
        **sharing
            ``sharex``, ``sharey`` of a new grid.

        Returns
        -------
        axes : ndarray of Axes, shape (n_rows, n_columns)
        """
        plt = _pyplot(type(self).__name__)
        if ax is None:
            width, height = size
            figure = plt.figure(figsize=(n_columns * width, n_rows * height), layout="constrained")
            axes = figure.subplots(n_rows, n_columns, squeeze=False, **sharing)
        elif not hasattr(ax, "plot"):
            axes = np.asarray(ax, dtype=object)
            if axes.size != n_rows * n_columns:
                raise ValueError(
                    f"ax must be one Axes or an array of {n_rows} x {n_columns}, one for each "
                    f"panel; got {axes.size}."
                )
            axes = axes.reshape(n_rows, n_columns)
        elif n_rows == n_columns == 1:
            axes = np.array([[ax]], dtype=object)
        else:
            axes = _divided(ax, n_rows, n_columns, sharing)
        self.figure_ = axes[0, 0].figure
        self.ax_ = axes[0, 0] if axes.size == 1 else axes
        return axes

    def _picture_grid(
        self, ax: Any, pictures: NDArray[Any], shades: NDArray[Any], names: Sequence[str]
    ) -> Any:
        """Pictures ``(n_rows, n_columns, height, width)`` in the grey values that ``shades`` spans.

        ``names`` are those of the rows. Returns the axes.
        """
        axes = self._panels(ax, pictures.shape[0], pictures.shape[1], (1.05, 1.1))
        scale = {"vmin": np.nanmin(shades), "vmax": np.nanmax(shades), "cmap": "gray"}
        for panels, row, name in zip(axes, pictures, names, strict=True):
            for panel, picture in zip(panels, row, strict=True):
                panel.imshow(picture, **scale)
                panel.set(xticks=[], yticks=[])
            panels[0].set_ylabel(name)
        return axes


def as_pictures(rows: NDArray[Any], image_shape: tuple[int, int]) -> NDArray[Any]:
    """Rows as pictures ``(n_rows, height, width)``.

    Raises
    ------
    ValueError
        When they have another number of pixels.
    """
    height, width = image_shape
    if height * width != rows.shape[1]:
        raise ValueError(
            f"image_shape must have as many pixels as X has columns, {rows.shape[1]}; got "
            f"{height} x {width}."
        )
    return rows.reshape(-1, height, width)


def _pyplot(name: str) -> Any:
    """matplotlib, imported where it is needed."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{name} needs matplotlib: pip install matplotlib.") from error
    return plt


def _divided(ax: Any, n_rows: int, n_columns: int, sharing: Any) -> Any:
    """Axes within the place of another, which goes."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            f"ax must be made by plt.subplots or the like to be divided into {n_rows} x "
            f"{n_columns} panels; got one at a free position. Pass an array of Axes instead."
        )
    ax.axis("off")
    grid = place.subgridspec(n_rows, n_columns)
    return grid.subplots(squeeze=False, **sharing)


def hide(axes: Sequence[Any]) -> None:
    """Leave panels empty."""
    for ax in axes:
        ax.axis("off")


def style(k: int) -> dict[str, Any]:
    """Colour and marker of the k-th class: no two of seventy are alike."""
    return {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}


def ink() -> Any:
    """The colour of text."""
    import matplotlib as mpl

    return mpl.rcParams["text.color"]
