"""From cells to the model's units, and exactly back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

from sk_infovae._table.disk import DiskTable
from sk_infovae._table.kinds import largest, scaled, scaled_by_halves, unscaled

BLOCK_CELLS = 2**21
"""Cells handled at a time, so that no pass over X holds a second copy of it."""


FENCE = 30.0
"""Cells more interquartile ranges than this outside the quartiles do not set centre and scale."""

REACH = 8.0, 30.0
"""Standard deviations from the centre beyond which training sees cells as if they stood there."""

MOST_OF_A_VARIANCE = 1 / 4
"""Of a column's variance what one cell may be; `REACH` follows the number of rows for its sake."""

TAILS = {0.25: 0.0, 0.10: 5.0, 0.05: 5.0, 0.01: 5.0}
"""What a pair of quantiles leaves on each side, in the order tried; the cells needed there."""

FARTHEST = 1e30
"""Standard deviations from the centre beyond which a cell counts as if it stood there."""

SQUARABLE = 1e-100, 1e100
"""Columns with their largest number outside are measured in another unit, for the squares' sake."""

NOTHING = 1e-300
"""A column within this far from 0 is constant."""

FENCE_ROWS, FENCE_CELLS = 50, 2**17
"""The quantiles are taken of so many cells, evenly spaced, and of so many rows at least."""


def row_blocks(n_rows: int, n_columns: int, most: int | None = None) -> Iterator[slice]:
    """Slices of rows of about `BLOCK_CELLS` cells each, and of at most ``most`` rows."""
    size = max(1, BLOCK_CELLS // max(1, n_columns))
    size = size if most is None else min(size, most)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


@dataclass(frozen=True, eq=False)
class Standardizer:
    """``x = (X - centre) / scale`` per column, missing cells filled, and back.

    All arrays have shape (n_columns,) and are float64: for values near 1e8 that differ in the
    ninth digit, float32 would lose everything.

    Attributes
    ----------
    centre, scale : ndarray
        Mean and standard deviation of the observed cells, those beyond a fence (`FENCE`)
        counted as if they stood there; 0 and 1 for a column that is not standardised.
    fill : ndarray
        What stands for a missing cell, in the model's units: the column's mean.
    low, high : ndarray
        Range of the observed cells, units of X.
    has_holes : ndarray of bool
        Columns with a missing cell.
    standardised : ndarray of bool
        Columns with a centre and a scale of their own.
    far : float
        Training draws in what lies further from the centre, in the model's units.
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    fill: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    has_holes: NDArray[np.bool_]
    standardised: NDArray[np.bool_]
    far: float

    @classmethod
    def fit(
        cls, X: Any, standardised: NDArray[np.bool_], levels: NDArray[np.bool_] | bool = False
    ) -> "Standardizer":
        """Measure the columns of a float ndarray, CSR matrix or `DiskTable`, NaN where missing.

        Columns of ``levels`` hold codes; code 0 stands for a missing one.
        """
        fences = _fences(X)
        measure: Any = _measure_sparse if sparse.issparse(X) else _measure_dense
        measure = _measure_on_disk if isinstance(X, DiskTable) else measure
        mean, scale, low, high, holes = measure(X, *fences)
        mean, low, high = (np.nan_to_num(a, nan=0.0) for a in (mean, low, high))
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
        return cls(
            centre=np.where(standardised, mean, 0.0),
            scale=np.where(standardised, scale, 1.0),
            fill=np.where(standardised | levels, 0.0, mean),
            low=low,
            high=high,
            has_holes=holes,
            standardised=standardised,
            # As training has it, in float32.
            far=float(np.float32(np.clip(np.sqrt(MOST_OF_A_VARIANCE * X.shape[0]), *REACH))),
        )

    def encode(
        self, X: Any, dtype: type[np.floating]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Turn rows of X into the model's units.

        Returns
        -------
        x : ndarray of shape (n_rows, n_columns)
            Of the given dtype, finite everywhere; where standardised within `FARTHEST`.
        mask : ndarray of bool or None
            True where a cell was observed; None where all were.
        """
        X = X.toarray() if sparse.issparse(X) else X
        x = scaled(X, self.centre, self.scale)
        with np.errstate(over="ignore"):
            plain = x.astype(dtype, order="C", copy=False)
        if is_plain(plain):
            return plain, None
        missing = np.isnan(x)
        if np.isinf(x).any():
            x = np.where(np.isinf(x), scaled_by_halves(X, self.centre, self.scale), x)
        x = np.where(missing, self.fill, x)
        if not is_plain(x):
            far = np.where(self.standardised, FARTHEST, largest(dtype))
            x = x.clip(-far, far)
        observed = np.ascontiguousarray(~missing) if missing.any() else None
        return x.astype(dtype, order="C", copy=False), observed

    def encode_for_training(
        self, X: Any, dtype: type[np.floating]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """As `encode`; numbers beyond `far` are drawn in, lest one cell rules a batch."""
        x, mask = self.encode(X, dtype)
        if x.max(initial=0.0) > self.far or x.min(initial=0.0) < -self.far:
            x = np.where(self.standardised, x.clip(-self.far, self.far), x)
        return x, mask

    def decode(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Turn the model's units back into those of X, float64 and finite."""
        return unscaled(x, self.centre, self.scale)

    def reach(self, columns: NDArray[np.bool_]) -> float:
        """Largest distance from the centre in these columns, in the model's units."""
        with np.errstate(over="ignore"):
            ends = np.abs(np.stack([self.low, self.high]) - self.centre) / self.scale
        return float(ends[:, columns].max(initial=0.0))

    def log_jacobian(self, mask: NDArray[np.bool_] | None) -> Any:
        """log |dx / dX| over the observed cells: what turns log p(x) into log p(X)."""
        per_column = -np.log(self.scale)
        return per_column.sum() if mask is None else mask @ per_column


def is_plain(x: NDArray[Any]) -> bool:
    """A quick look by the sum of squares for NaN and for what is far; False leaves it open.

    On one thread: those of BLAS would stand in torch's way.
    """
    flat = x.ravel(order="K")
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.einsum("i,i->", flat, flat) < FARTHEST**2)


def _unit(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    fences: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """A power of 2, in which a column's numbers within its fence can be squared; 1 for most."""
    low, high = np.fmax(low, fences[0]), np.fmin(high, fences[1])
    most = np.nan_to_num(np.fmax(np.abs(low), np.abs(high)))
    odd = (most > NOTHING) & ((most < SQUARABLE[0]) | (most > SQUARABLE[1]))
    return np.where(odd, np.exp2(np.frexp(most)[1] - 1.0), 1.0)


def _measure_dense(
    X: NDArray[Any], lowest: NDArray[np.float64], highest: NDArray[np.float64]
) -> tuple[NDArray[Any], ...]:
    """Mean, scale, low, high and holes by blocks of columns, NaN ignored."""
    parts = []
    width = max(1, BLOCK_CELLS // X.shape[0])
    for columns in gen_batches(X.shape[1], width):
        block = np.array(X[:, columns], dtype=np.float64, order="C")
        with np.errstate(invalid="ignore"):
            low, high = block.min(axis=0), block.max(axis=0)
        holes = np.isnan(low)
        if holes.any():
            low, high = np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)
        if (low < lowest[columns]).any() or (high > highest[columns]).any():
            block = block.clip(lowest[columns], highest[columns])
        unit = _unit(low, high, (lowest[columns], highest[columns]))
        if (unit != 1).any():
            block = block / unit
        with np.errstate(invalid="ignore"):
            scaler = StandardScaler().fit(block)
        constant = scaler.scale_ != np.sqrt(scaler.var_)
        scale = np.where(constant, 1.0, scaler.scale_ * unit)
        parts.append((scaler.mean_ * unit, scale, low, high, holes))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _measure_on_disk(
    X: DiskTable, lowest: NDArray[np.float64], highest: NDArray[np.float64]
) -> tuple[NDArray[Any], ...]:
    """The same by blocks of rows: in one pass, two where a column needs a unit of its own."""
    blocks = list(row_blocks(*X.shape))
    if len(blocks) == 1:
        return _measure_dense(X[:], lowest, highest)
    low, high = np.full((2, X.shape[1]), np.nan)
    holes, unit = np.zeros(X.shape[1], dtype=bool), np.ones(X.shape[1])
    while True:
        moments = np.zeros((3, X.shape[1]))
        for rows in blocks:
            block = X[rows].astype(np.float64, copy=False)
            low, high = np.fmin(low, np.fmin.reduce(block)), np.fmax(high, np.fmax.reduce(block))
            holes |= np.isnan(block).any(axis=0)
            with np.errstate(over="ignore", invalid="ignore"):
                moments = _merge(moments, block.clip(lowest, highest) / unit)
        before, unit = unit, _unit(low, high, (lowest, highest))
        if np.array_equal(before, unit):
            break
    n, mean, squares = moments
    scale = _root(squares / np.maximum(n, 1), mean, X.shape[0], unit)
    return mean * unit, scale * unit, low, high, holes


def _merge(moments: NDArray[np.float64], block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Number, mean and sum of squares about it, by column, with some rows more (Chan et al. 1983).

    scikit-learn's own are NaN for good after a block that lacks a column.
    """
    n, mean, squares = moments
    there = ~np.isnan(block)
    n_more = there.sum(axis=0)
    mean_more = np.where(there, block, 0.0).sum(axis=0) / np.maximum(n_more, 1)
    squares_more = np.square(np.where(there, block - mean_more, 0.0)).sum(axis=0)
    n_all, step = n + n_more, mean_more - mean
    share = n_more / np.maximum(n_all, 1)
    return np.stack(
        [n_all, mean + step * share, squares + squares_more + np.square(step) * n * share]
    )


def _root(
    variance: NDArray[np.float64],
    mean: NDArray[np.float64],
    n_rows: int,
    unit: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Standard deviations; 1, whatever the unit, of a constant column.

    As in StandardScaler: that is one with a variance within rounding of 0.
    """
    rounding = n_rows * np.finfo(np.float64).eps
    constant = variance <= rounding * variance + (rounding * mean) ** 2
    return np.where(constant, 1.0 / unit, np.sqrt(variance))


def _measure_sparse(
    X: Any, lowest: NDArray[np.float64], highest: NDArray[np.float64]
) -> tuple[NDArray[Any], ...]:
    """The same of a CSR matrix, from the numbers that it stores."""
    cells, fences = X.astype(np.float64), (lowest, highest)
    low, high = min_max_axis(cells, axis=0, ignore_nan=True)
    holes = np.zeros(X.shape[1], dtype=bool)
    holes[cells.indices[np.isnan(cells.data)]] = True
    unit, column = _unit(low, high, fences), cells.indices
    cells.data = np.clip(cells.data, lowest[column], highest[column]) / unit[column]
    mean, variance = mean_variance_axis(cells, axis=0)
    mean, scale = mean * unit, _root(variance, mean, X.shape[0], unit) * unit
    # Where 0 lies beyond a fence, the zeros that aren't stored count as if they stood there.
    for j in np.flatnonzero((lowest > 0) | (highest < 0)):
        one = slice(j, j + 1)
        mean[one], scale[one], *_ = _measure_dense(X[:, one].toarray(), lowest[one], highest[one])
    return mean, scale, low, high, holes


def _fences(X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each column's cells stop counting: `FENCE` interquartile ranges off the quartiles.

    Where the quartiles coincide, the first wider pair of quantiles of `TAILS` that differ stands
    for them, and a multiple of its distance for their range: the one that makes the two equal
    under a normal distribution. So the part of the cells that can set the scale alone shrinks from
    a quarter to a hundredth, and rare counts and indicators remain content. Quantiles with hardly
    a cell beyond them are the extremes themselves and say nothing; a column without such a pair
    has no fence.
    """
    most = max(FENCE_ROWS, FENCE_CELLS // max(1, X.shape[1]))
    some = X[np.linspace(0, X.shape[0] - 1, min(X.shape[0], most)).astype(int)]
    some = np.sort(some.toarray() if sparse.issparse(some) else some, axis=0).astype(np.float64)
    last = np.maximum((~np.isnan(some)).sum(axis=0) - 1, 0)  # NaN is sorted to the end
    fences = np.array([[-np.inf], [np.inf]]) * np.ones(X.shape[1])
    for tail, needed in TAILS.items():
        low, high = (
            some[np.rint(share * last).astype(int), np.arange(some.shape[1])]
            for share in (tail, 1 - tail)
        )
        with np.errstate(over="ignore"):
            reach = FENCE * (high - low) * norm.ppf(0.25) / norm.ppf(tail)
        first = np.isinf(fences).all(axis=0) & (high > low) & (tail * last >= needed)
        fences = np.where(first, [low - reach, high + reach], fences)
    return fences[0], fences[1]
