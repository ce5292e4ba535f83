"""One column of a table as float64 cells, and back in its own dtype.

A cell is a number in the units of X, 0 or 1 for a boolean, the code of a level, the days of a time;
NaN where it is missing. What float64 can't hold comes beside it as a remainder.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sk_infovae._table import numpy_, pandas_, polars_
from sk_infovae._table.kinds import MAX_INT
from sk_infovae.exceptions import SchemaError

LIBRARIES: dict[str, Any] = {"numpy": numpy_, "pandas": pandas_, "polars": polars_}

GROUPS = {
    **dict.fromkeys(("float", "int", "bool"), "numbers"),
    **dict.fromkeys(("time", "date"), "times"),
}
"""Kinds whose cells can be levels of each other."""

EXACT = 2**53
"""Up to here float64 holds every integer."""

Cells = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ColumnCodec(ABC):
    """How one column is read and written.

    Attributes
    ----------
    name : Hashable
        Its name, or its position in an array.
    kind : str
        "float", "int", "bool", "string", "category", "time" or "date", by its dtype.
    like : native series
        Of its dtype; the first missing cell of fit, or no row.
    container : str
        Key of `LIBRARIES`.
    """

    name: Hashable
    kind: str
    like: Any
    container: str

    reads: ClassVar[tuple[str, ...]] = ("float", "int", "bool")
    """The kinds that it can read; what it was in fit need not be what it is in transform."""

    @property
    def library(self) -> Any:
        """The module that reads and writes such series."""
        return LIBRARIES[self.container]

    @abstractmethod
    def encode(self, series: Any) -> Cells:
        """Cells of a native series."""

    @abstractmethod
    def decode(self, cells: Cells, remainder: Cells | None = None) -> Any:
        """A native series of the cells; NaN becomes what the dtype has for a missing cell."""

    def remainder(self, series: Any, cells: Cells) -> Cells | None:
        """What `decode` must add to these cells to give back the series to the last digit."""
        return None

    def can_read(self, series: Any) -> bool:
        """Whether a series of the same library is of a kind that fits."""
        return self.library.kind_of(series) in self.reads

    def check(self, series: Any) -> None:
        """Refuse a series that is of another kind than in fit.

        Raises
        ------
        SchemaError
            Naming the column, the two kinds and the mend.
        """
        found = self.library.kind_of(series)
        if self.can_read(series) or (found is not None and self.library.missing(series).all()):
            return
        raise SchemaError(
            f"Column {self.name!r} was of kind {self.kind!r} (dtype {self.like.dtype}) in fit, and "
            f"is {found or 'unreadable'!r} (dtype {series.dtype}) now. Convert it to the dtype it "
            "had in fit."
        )


@dataclass(frozen=True, eq=False)
class NumberCodec(ColumnCodec):
    """Floats, booleans, and integers that float64 holds.

    ``low`` and ``high`` are what the type allows: the dtype's range, 0 where fit saw no negative.
    """

    low: float = -np.inf
    high: float = np.inf

    def encode(self, series: Any) -> Cells:
        """The numbers themselves; an array of them is as good as a series."""
        if isinstance(series, np.ndarray):
            return numpy_.floats(series)
        if self.library.kind_of(series) not in self.reads:  # checked: nothing but missing cells
            return np.full(len(series), np.nan)
        return self.library.floats(series)

    def decode(self, cells: Cells, remainder: Cells | None = None) -> Any:
        """Rounded for integers, within the type's bounds; True above one half for booleans."""
        cells = cells if remainder is None else cells + remainder
        holes = np.isnan(cells)
        if self.kind == "bool":
            return self.library.from_numbers(cells > 0.5, holes, self.like)
        cells = np.clip(cells, self.low, self.high)
        if self.kind != "int":
            return self.library.from_numbers(cells, holes, self.like)
        wide = np.uint64 if self.high > 2**63 else np.int64
        whole = np.where(holes, 0, np.rint(cells)).astype(wide)
        return self.library.from_numbers(whole, holes, self.like)

    def remainder(self, series: Any, cells: Cells) -> Cells | None:
        """The difference; booleans need none."""
        return None if self.kind == "bool" else self.encode(series) - cells


@dataclass(frozen=True, eq=False)
class TickCodec(ColumnCodec):
    """Times, and integers beyond 2^53: exact 64-bit differences from an origin.

    A cell is the difference divided by ``per_unit``: days for a time.
    """

    origin: int = 0
    per_unit: int = 1
    low: int = -MAX_INT
    high: int = MAX_INT

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """Times where it was a time, integers where it was an integer."""
        return ("time", "date") if self.kind in ("time", "date") else ("int",)

    def can_read(self, series: Any) -> bool:
        """A length of time is no point in time, a time without zone none with one."""
        same = super().can_read(series)
        if same and self.kind != "int":
            return self.library.time_type(series) == self.library.time_type(self.like)
        return same

    def differences(self, series: Any) -> NDArray[np.int64]:
        """Ticks since the origin, exact; 0 where missing."""
        holes = self.library.missing(series)
        values, per_unit = self.library.integers(series)
        values = self._in_own_unit(np.where(holes, 0, values), per_unit)
        origin = np.array(self.origin % 2**64, dtype=np.uint64)
        ticks = (values.astype(np.uint64) - origin).view(np.int64)
        if ((values < self.origin) != (ticks < 0))[~holes].any():
            raise self._too_far()
        return np.where(holes, 0, ticks)

    def _in_own_unit(self, values: NDArray[Any], per_unit: int) -> NDArray[Any]:
        """Ticks in the resolution of fit: what is finer is cut off."""
        if per_unit >= self.per_unit:
            return values // (per_unit // self.per_unit)
        factor = self.per_unit // per_unit
        if len(values) and max(-int(values.min()), int(values.max())) > MAX_INT // factor:
            raise self._too_far()
        return values * factor

    def _too_far(self) -> SchemaError:
        return SchemaError(
            f"Column {self.name!r} holds values farther from those of fit than 64 bits of dtype "
            f"{self.like.dtype} reach. Leave these rows out, or fit on a coarser dtype."
        )

    def encode(self, series: Any) -> Cells:
        """Units since the origin, rounded to float64."""
        if self.library.kind_of(series) not in self.reads:  # checked: nothing but missing cells
            return np.full(len(series), np.nan)
        cells = self.differences(series) / self.per_unit
        return np.where(self.library.missing(series), np.nan, cells)

    def decode(self, cells: Cells, remainder: Cells | None = None) -> Any:
        """The nearest tick that the dtype has, plus the remainder."""
        ticks, (low, high) = self._nearest(cells), self._bounds
        if remainder is not None:
            rest = np.clip(np.rint(np.nan_to_num(remainder)), -EXACT, EXACT).astype(np.int64)
            ticks = ticks + np.clip(rest, low - np.minimum(ticks, 0), high - np.maximum(ticks, 0))
        values = ticks.view(np.uint64) + np.array(self.origin % 2**64, dtype=np.uint64)
        values = values if self.high > MAX_INT else values.view(np.int64)
        return self.library.from_integers(values, np.isnan(cells), self.like, self.kind)

    def remainder(self, series: Any, cells: Cells) -> Cells | None:
        """Ticks between the series and the decoded cells."""
        if self.library.kind_of(series) not in self.reads:
            return np.full(len(series), np.nan)
        ticks = (self.differences(series) - self._nearest(cells)).astype(np.float64)
        return np.where(np.isnan(cells), np.nan, ticks)

    @property
    def _bounds(self) -> tuple[int, int]:
        """Smallest and largest difference that the type allows."""
        return max(self.low - self.origin, -MAX_INT - 1), min(self.high - self.origin, MAX_INT)

    def _nearest(self, cells: Cells) -> NDArray[np.int64]:
        low, high = (_towards_zero(bound) for bound in self._bounds)
        with np.errstate(over="ignore"):
            ticks = np.rint(np.nan_to_num(cells * self.per_unit))
        return np.clip(ticks, low, high).astype(np.int64)


@dataclass(frozen=True, eq=False)
class LevelCodec(ColumnCodec):
    """Categories, strings, or anything read as such: the code of a level.

    Attributes
    ----------
    levels : native sequence
        In the order of their codes: their own order where it matters, else the most frequent
        first.
    """

    levels: Any = None

    def can_read(self, series: Any) -> bool:
        """Numbers for numbers, texts for texts, times for times; a category by its categories."""
        if not len(self.levels):
            return True
        ours, theirs = self.library.value_kind(self.levels), self.library.value_kind(series)
        if None in (ours, theirs):  # categories of no single kind
            return self.library.kind_of(series) == "category"
        return GROUPS.get(ours, ours) == GROUPS.get(theirs, theirs)

    def encode(self, series: Any) -> Cells:
        """Codes, NaN for a level that fit did not see."""
        if not (len(self.levels) and self.can_read(series)):
            return np.full(len(series), np.nan)
        codes = self.library.lookup(series, self.levels)
        return np.where(codes < 0, np.nan, codes)

    def decode(self, cells: Cells, remainder: Cells | None = None) -> Any:
        """The levels of the nearest codes."""
        if not len(self.levels):
            return self.library.nothing(len(cells), self.like)
        codes = np.clip(np.rint(cells), 0, len(self.levels) - 1)
        codes = np.where(np.isnan(cells), -1, codes).astype(np.intp)
        return self.library.take(self.levels, codes, self.like)

    def check_seen(self, series: Any, cells: Cells) -> None:
        """Refuse a level that fit did not see.

        Raises
        ------
        SchemaError
            Naming the column, the level and the mend.
        """
        unseen = np.isnan(cells) & ~self.library.missing(series)
        if unseen.any():
            first = int(unseen.argmax())
            level = series.iloc[first] if hasattr(series, "iloc") else series[first]
            raise SchemaError(
                f"Column {self.name!r} holds '{level}', a level that fit did not see. Fit on rows "
                "that have it, or set handle_unknown='missing'."
            )


def fit_column(
    name: Hashable, kind: str, series: Any, container: str, *, levels: bool, ordered: bool
) -> ColumnCodec:
    """Measure a column of a DataFrame, or one of an array that holds levels.

    Raises
    ------
    SchemaError
        For an order that the column does not have.
    """
    library = LIBRARIES[container]
    like = library.like(series)
    if levels:
        found = _levels(name, kind, series, library, ordered)
        return LevelCodec(name, kind, like, container, found)
    if kind in ("int", "time", "date"):
        return _fit_integers(name, kind, series, like, container)
    cells = library.floats(series) if kind == "float" else np.empty(0)
    negative = not len(cells) or np.nanmin(cells, initial=0.0) < 0
    most = library.largest(series)
    return NumberCodec(name, kind, like, container, -most if negative else 0.0, most)


def _fit_integers(name: Hashable, kind: str, series: Any, like: Any, container: str) -> ColumnCodec:
    """Times as ticks; integers as plain numbers where float64 holds them all."""
    library = LIBRARIES[container]
    values, per_unit = library.integers(series)
    values = values[~library.missing(series)]
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    low, high = library.limits(series)
    low, high = min(low, least), max(high, most)
    if len(values) and least >= 0 and (kind == "int" or library.time_type(series) == "duration"):
        low = 0
    if kind != "int" or most > EXACT or least < -EXACT:
        # From half-way no difference overflows; 2**63 - 1 is larger than its negative.
        origin = (least + most + 1) // 2
        return TickCodec(name, kind, like, container, origin, per_unit, low, high)
    return NumberCodec(name, kind, like, container, _towards_zero(low), _towards_zero(high))


def _towards_zero(bound: int) -> float:
    """The float64 nearest to a bound that does not lie beyond it."""
    nearest = float(bound)
    return nearest if abs(int(nearest)) <= abs(bound) else float(np.nextafter(nearest, 0))


def _levels(name: Hashable, kind: str, series: Any, library: Any, ordered: bool) -> Any:
    """The levels seen, in the order of their codes."""
    if ordered and (kind == "string" or (kind == "category" and not library.is_ordered(series))):
        raise SchemaError(
            f"Column {name!r} has no order (dtype {series.dtype}), which its ordinal likelihood "
            "needs. Convert it to an ordered categorical dtype (an Enum in polars), or choose "
            "'categorical'."
        )
    levels, counts = library.level_counts(series)
    if ordered:
        return levels
    return levels[np.argsort(-counts, kind="stable")]
