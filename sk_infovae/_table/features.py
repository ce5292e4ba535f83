"""One column of a table as features of a matrix, and back to the very cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_infovae._table.codecs import ColumnCodec, LevelCodec, TickCodec
from sk_infovae._table.kinds import scaled, scaled_by_halves, unscaled

TOLERANCE = 1e-9
"""A float that comes back nearer than this part of itself needs no remainder."""

SCALING_ERROR = 4 * np.finfo(np.float64).eps
"""Scaling and its inverse move a number by less than this part of it and of the centre."""

GRIDS = tuple(float(10**k) for k in range(16)) + tuple(float(2**k) for k in range(20, 50, 5))
"""Numbers are often whole multiples of one of these parts: decimals, or float32."""

SAMPLE = 1000
"""Cells that refuse a grid before all are asked."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaled:
    """A number, time or code as its distance from a centre, in units of a scale.

    Attributes
    ----------
    column : ColumnCodec
    centre, scale : float
    grid : float
        Cells are whole multiples of 1 / grid; 0 where they are not.
    exact : bool
        Whether one feature is enough; else a second one carries what float64 can't hold.
    """

    column: ColumnCodec
    centre: float
    scale: float
    grid: float = 0.0
    exact: bool = True

    @classmethod
    def fit(
        cls, column: ColumnCodec, series: Any, cells: Matrix, centre: float, scale: float
    ) -> "Scaled":
        """Measure what it takes to give back these cells."""
        seen = cells[~np.isnan(cells)]
        plain = cls(column, centre, scale, _grid_of(seen))
        rest = column.remainder(series, plain._unscale(plain._scale(cells)))
        if rest is None or column.container == "numpy":
            return plain
        if column.kind == "float":
            rest = np.abs(rest[~np.isnan(cells)])
            exact = not (rest > TOLERANCE * np.abs(seen)).any()
        else:  # whole numbers: all that lie between those of fit are to come back
            size = np.abs(seen).max(initial=0.0) + abs(centre)
            exact = bool(SCALING_ERROR * size * plain._per_unit < 0.5)
        return cls(column, centre, scale, plain.grid, exact)

    @property
    def width(self) -> int:
        """Number of features."""
        return 1 if self.exact else 2

    def names(self, name: str) -> list[str]:
        """Names of the features, by that of the column."""
        return [name] if self.exact else [name, f"{name}_remainder"]

    def encode(self, series: Any, cells: Matrix) -> Matrix:
        """Features, NaN where missing."""
        x = self._scale(cells)
        if self.exact:
            return x[:, None]
        rest = self.column.remainder(series, self._unscale(x))
        assert rest is not None
        return np.column_stack([x, rest / self._rest_scale])

    def decode(self, features: Matrix) -> Any:
        """A native column."""
        rest = None if self.exact else features[:, 1] * self._rest_scale
        return self.column.decode(self._unscale(features[:, 0]), rest)

    @property
    def _rest_scale(self) -> float:
        """What a remainder is divided by, so that it weighs what it means: exact, a power of 2."""
        return float(2.0 ** min(1023, np.rint(np.log2(self.scale * self._per_unit))))

    @property
    def _per_unit(self) -> int:
        return self.column.per_unit if isinstance(self.column, TickCodec) else 1

    def _scale(self, cells: Matrix) -> Matrix:
        x = scaled(cells, self.centre, self.scale)
        if not np.isinf(x).any():
            return x
        return np.where(np.isinf(x), scaled_by_halves(cells, self.centre, self.scale), x)

    def _unscale(self, x: Matrix) -> Matrix:
        """Cells; those within rounding of the grid on the grid."""
        cells = unscaled(x, self.centre, self.scale)
        if not self.grid:
            return cells
        with np.errstate(over="ignore", invalid="ignore"):
            nearest = np.rint(cells * self.grid) / self.grid
            near = np.abs(nearest - cells) <= SCALING_ERROR * (np.abs(cells) + abs(self.centre))
        return np.where(near, nearest, cells)


@dataclass(frozen=True, eq=False)
class Indicators:
    """Levels as a 1 among zeros; a missing one as zeros alone.

    Attributes
    ----------
    column : LevelCodec
    has_holes : bool
        Whether cells were missing in fit.
    """

    column: LevelCodec
    has_holes: bool

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.column.levels)

    def names(self, name: str) -> list[str]:
        """Names of the features, by that of the column and of the level."""
        return [f"{name}_{level}" for level in self.column.levels]

    def encode(self, series: Any, cells: Matrix) -> NDArray[np.bool_]:
        """Features."""
        return cells[:, None] == np.arange(self.width)

    def decode(self, features: Matrix) -> Any:
        """The level of the largest feature; missing where all are 0.

        In a column that had holes, what the features lack of 1 speaks for a missing cell.
        """
        if not self.width:
            return self.column.decode(np.full(len(features), np.nan))
        features = np.nan_to_num(features)
        missing = ~features.any(axis=1)
        if self.has_holes:
            missing = features.max(axis=1) < 1 - features.sum(axis=1)
        return self.column.decode(np.where(missing, np.nan, features.argmax(axis=1)))


def _grid_of(cells: Matrix) -> float:
    """The coarsest of `GRIDS` that holds all cells, or 0."""
    most = float(np.abs(cells).max(initial=0.0))
    for grid in GRIDS:
        if most * grid > 2**49:
            continue
        if all((np.rint(some * grid) / grid == some).all() for some in (cells[:SAMPLE], cells)):
            return grid
    return 0.0
