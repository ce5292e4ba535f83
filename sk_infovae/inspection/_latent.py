"""Codes as points."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from sk_infovae._fitted import vae_and_table
from sk_infovae.inspection._figure import COLOURS, FAINT, SEQUENTIAL, Display, hide, ink, style

MOST_CLASSES = 70
"""Pairs of colour and marker."""

MOST_WHOLE_NUMBERS = 20
"""Different whole numbers up to which they are classes."""

FIRST_DIMENSIONS = 4
"""Dimensions that are shown of more, the first of which explain most."""

HATCHES = ("", "//", "\\\\", "..", "xx", "++", "oo", "--")
"""Patterns of classes in a histogram, so that colour is not all that tells them apart."""

PRIOR_RADII = tuple(np.sqrt(-2 * np.log1p(-np.array([0.5, 0.95]))))
"""Radii of the circles that hold half and 95 % of the prior in two dimensions."""


class LatentDisplay(Display):
    """Codes of rows: two dimensions against each other, or each pair of several.

    Make one by `from_estimator` or `from_codes`.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_dimensions)
        Posterior means, in standard deviations of the prior.
    names : sequence of str
        Name of each dimension.
    y : ndarray of shape (n_samples,) or None
        Class or value of each row: numbers are values if they have fractions, or if more than
        twenty differ. NaN is drawn in grey; beside the values of one dimension it has no place.
    deviations : ndarray like codes or None
        Standard deviations of q(z|x), for ellipses.

    Attributes
    ----------
    ax_ : Axes or ndarray of Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import LatentDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(X)
    >>> display = LatentDisplay.from_estimator(vae, X, y, n_ellipses=20)
    >>> display.codes.shape
    (150, 2)
    """

    def __init__(
        self,
        *,
        codes: NDArray[Any],
        names: Sequence[str],
        y: NDArray[Any] | None = None,
        deviations: NDArray[Any] | None = None,
    ):
        self.codes = codes
        self.names = names
        self.y = y
        self.deviations = deviations

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        dimensions: Sequence[int] | None = None,
        ax: Any = None,
        **how: Any,
    ) -> Self:
        """Embed rows and show them.

        Parameters
        ----------
        estimator : InfoVAETransformer, Pipeline with one, or a search over either
            Fitted.
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Class or value of each row.
        dimensions : sequence of int, default=None
            Which ones; by default the first four, which explain most.
        ax : Axes or array of Axes, default=None
        **how
            Of `plot`.

        Returns
        -------
        display : LatentDisplay
        """
        vae, X = vae_and_table(estimator, X)
        codes, deviations = vae.posterior(X)
        names = [
            f"component {k + 1}\n({share:.0%} of the variance)"
            for k, share in enumerate(vae.explained_variance_ratio_)
        ]
        which = list(range(codes.shape[1]))[:FIRST_DIMENSIONS] if dimensions is None else dimensions
        named = [names[k] for k in which]
        display = cls._checked(codes[:, which], y, deviations[:, which], named)
        return display.plot(ax=ax, **how)

    @classmethod
    def from_codes(
        cls,
        Z: ArrayLike,
        y: ArrayLike | None = None,
        *,
        deviations: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        ax: Any = None,
        **how: Any,
    ) -> Self:
        """Show codes that are there already, of this or another method.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_dimensions)
        y : array-like of shape (n_samples,), default=None
            Class or value of each row.
        deviations : array-like like Z, default=None
            Standard deviations of the codes.
        names : sequence of str, default=None
            Of the dimensions.
        ax : Axes or array of Axes, default=None
        **how
            Of `plot`.

        Returns
        -------
        display : LatentDisplay
        """
        codes: Any = check_array(Z, input_name="Z")
        d = codes.shape[1]
        named = [f"component {k + 1}" for k in range(d)] if names is None else list(names)
        if len(named) != d:
            raise ValueError(
                f"names must hold one name for each of the {d} columns of Z; got {len(named)}."
            )
        spread: Any = deviations
        if spread is not None:
            spread = check_array(spread, input_name="deviations")
        return cls._checked(codes, y, spread, named).plot(ax=ax, **how)

    @classmethod
    def _checked(
        cls, codes: NDArray[Any], y: Any, deviations: NDArray[Any] | None, names: Sequence[str]
    ) -> Self:
        check_consistent_length(codes, y, deviations)
        labels = None if y is None else column_or_1d(np.asarray(y))
        return cls(codes=codes, names=names, y=labels, deviations=deviations)

    def plot(
        self,
        ax: Any = None,
        *,
        n_ellipses: int = 0,
        prior: bool = True,
        label: str | None = None,
        **scatter: Any,
    ) -> Self:
        """Draw the codes.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            Axes to draw on, or to divide where there are more than two dimensions.
        n_ellipses : int, default=0
            Rows, evenly spaced, that get the ellipse of one standard deviation of q(z|x); beside
            the values of one dimension a bar.
        prior : bool, default=True
            Whether to draw the circles that hold half and 95 % of the prior N(0, I).
        label : str, default=None
            Title of the legend or of the scale of colours.
        **scatter
            Of `matplotlib.axes.Axes.scatter`.

        Returns
        -------
        self : LatentDisplay
        """
        d = self.codes.shape[1]
        if d == 1:
            panel = self._panels(ax, 1, 1, (6, 4))[0, 0]
            if self.y is None or self._classes() is not None:
                self._histogram(panel, prior, label)
            else:
                self._against_values(panel, n_ellipses, label, scatter)
            return self
        size = (6.4, 5.6) if d == 2 else (3, 3)
        axes = self._panels(ax, d - 1, d - 1, size, sharex="col", sharey="row")
        points = None
        for column, row in combinations(range(d), 2):
            panel = axes[row - 1, column]
            points = self._pair(panel, column, row, scatter)
            if prior:
                _circles(panel)
            if n_ellipses and self.deviations is not None:
                self._ellipses(panel, column, row, n_ellipses)
        hide(axes[np.triu_indices(d - 1, 1)])
        self._name_axes(axes, prior)
        self._explain(axes, points, label)
        return self

    def _name_axes(self, axes: Any, prior: bool) -> None:
        """Names below and on the left, and one scale for all dimensions."""
        d = self.codes.shape[1]
        half = 1.05 * max(np.abs(self.codes).max(), PRIOR_RADII[-1] * prior)
        for column, row in combinations(range(d), 2):
            panel = axes[row - 1, column]
            panel.set_aspect("equal", adjustable="datalim" if d == 2 else "box")
            if d > 2:
                panel.set(xlim=(-half, half), ylim=(-half, half))
        for panel, name in zip(axes[-1], self.names[:-1], strict=True):
            panel.set_xlabel(name)
        for panel, name in zip(axes[:, 0], self.names[1:], strict=True):
            panel.set_ylabel(name)

    def _explain(self, axes: Any, points: Any, label: str | None) -> None:
        """A legend of classes beside the panels, or a scale of values."""
        if self._classes() is not None:
            handles, texts = axes[0, 0].get_legend_handles_labels()
            alone = axes.size == 1
            place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if alone else {}
            columns = 1 if len(texts) <= 12 else 2
            axes[0, -1].legend(handles, texts, title=label, ncols=columns, **place)
        elif self.y is not None:
            self.figure_.colorbar(points, ax=axes.ravel().tolist(), label=label, shrink=0.8)

    def _classes(self) -> NDArray[Any] | None:
        """The classes, or None where y are values or not there."""
        if self.y is None:
            return None
        if self.y.dtype.kind in "fiub":
            found = np.unique(self.y[~np.isnan(self.y)] if self.y.dtype.kind == "f" else self.y)
            whole = np.array_equal(found, np.rint(found)) if self.y.dtype.kind == "f" else True
            return found if whole and len(found) <= MOST_WHOLE_NUMBERS else None
        found = np.unique(self.y.astype(str))
        if len(found) > MOST_CLASSES:
            raise ValueError(
                f"y must have at most {MOST_CLASSES} classes, pairs of colour and marker that can "
                f"be told apart; got {len(found)}. Join the rare ones, or pass numbers."
            )
        return found

    def _members(self, one: Any) -> NDArray[np.bool_]:
        """Rows of a class."""
        y: Any = self.y
        return y == one if y.dtype.kind in "fiub" else y.astype(str) == one

    def _points(self, scatter: dict[str, Any]) -> dict[str, Any]:
        """How points are drawn."""
        size = float(np.clip(12000 / len(self.codes), 5, 30))
        how = {"s": size, "linewidths": 0, "alpha": 0.75, "rasterized": len(self.codes) > 5000}
        return how | scatter

    def _some(self, most: int) -> NDArray[np.intp]:
        """Rows, evenly spaced."""
        n = len(self.codes)
        return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))

    def _pair(self, panel: Any, column: int, row: int, scatter: dict[str, Any]) -> Any:
        """Points of two dimensions; returns those that a scale of colours speaks of."""
        how = self._points(scatter)
        x, y = self.codes[:, column], self.codes[:, row]
        if self.y is not None and self.y.dtype.kind == "f" and np.isnan(self.y).any():
            holes = np.isnan(self.y)
            panel.scatter(x[holes], y[holes], **({"color": COLOURS[-1], "marker": "."} | how))
        classes = self._classes()
        if classes is not None:
            for k, one in enumerate(classes):
                mine = self._members(one)
                panel.scatter(x[mine], y[mine], label=str(one), **(style(k) | how))
            return None
        values: dict[str, Any] = (
            {"color": COLOURS[0]} if self.y is None else {"c": self.y, "cmap": SEQUENTIAL}
        )
        if self.y is not None and self.y.dtype.kind == "f":
            seen = ~np.isnan(self.y)
            x, y, values["c"] = x[seen], y[seen], self.y[seen]
        return panel.scatter(x, y, **(values | how))

    def _ellipses(self, panel: Any, column: int, row: int, most: int) -> None:
        """One standard deviation of q(z|x) around some rows."""
        from matplotlib.collections import EllipseCollection

        some, spread = self._some(most), self.deviations
        assert spread is not None
        collection = EllipseCollection(
            2 * spread[some, column],
            2 * spread[some, row],
            np.zeros(len(some)),
            units="xy",
            offsets=self.codes[some][:, [column, row]],
            transOffset=panel.transData,
            facecolors="none",
            edgecolors=ink(),
            linewidths=0.7,
            alpha=FAINT,
        )
        panel.add_collection(collection)

    def _histogram(self, panel: Any, prior: bool, label: str | None) -> None:
        """One dimension, beside the prior's density."""
        values, classes = self.codes[:, 0], self._classes()
        groups = [("rows", values)]
        if classes is not None:
            groups = [(str(one), values[self._members(one)]) for one in classes]
        edges = np.histogram_bin_edges(values, "auto")
        for k, (name, part) in enumerate(groups):
            weights = np.full(len(part), 1 / (len(values) * np.diff(edges)[0]))
            how = {"color": style(k)["color"], "hatch": HATCHES[k % len(HATCHES)], "alpha": 0.6}
            panel.hist(part, edges, weights=weights, label=name, histtype="stepfilled", **how)
        if prior:
            z = np.linspace(min(-3, edges[0]), max(3, edges[-1]), 200)
            density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
            panel.plot(z, density, color=ink(), ls=":", label="prior")
        panel.set(xlabel=self.names[0], ylabel="density")
        panel.legend(title=label)

    def _against_values(
        self, panel: Any, n_bars: int, label: str | None, scatter: dict[str, Any]
    ) -> None:
        """One dimension against the values of the rows."""
        z, y = self.codes[:, 0], self.y
        panel.scatter(z, y, **({"color": COLOURS[0]} | self._points(scatter)))
        if n_bars and self.deviations is not None and y is not None:
            some = self._some(n_bars)
            bars = {"fmt": "none", "ecolor": ink(), "elinewidth": 0.7, "alpha": FAINT}
            panel.errorbar(z[some], y[some], xerr=self.deviations[some, 0], **bars)
        panel.set(xlabel=self.names[0], ylabel=label or "value")


def _circles(panel: Any) -> None:
    """Where the prior's mass lies."""
    from matplotlib.patches import Circle

    for radius in PRIOR_RADII:
        circle = Circle((0, 0), radius, fill=False, color=ink(), ls=":", lw=1, alpha=FAINT)
        panel.add_patch(circle)
    panel.autoscale_view()
