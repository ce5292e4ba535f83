"""What polars columns hold as numpy arrays, and back."""

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_infovae._table import kinds
from sk_infovae._table.kinds import TICKS_PER_DAY, datetime_limits, duration_limits

if TYPE_CHECKING:
    import polars as pl


def columns(frame: "pl.DataFrame") -> list["pl.Series"]:
    """Every column."""
    return frame.get_columns()


def header(frame: "pl.DataFrame") -> list[str]:
    """The names."""
    return frame.columns


def kind_of(series: "pl.Series") -> str | None:
    """One of `sk_infovae._table.schema.KINDS`, or None for what can't be read."""
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Boolean:
        return "bool"
    if dtype.is_integer():
        return "int"
    if dtype.is_float() or dtype == pl.Null:
        return "float"
    if dtype in (pl.Categorical, pl.Enum):
        return "category"
    if dtype == pl.String:
        return "string"
    if dtype.is_temporal():
        return "time"
    if dtype == pl.Object and all(isinstance(cell, Real) for cell in series if cell is not None):
        return "float"
    return None


def value_kind(series: "pl.Series") -> str | None:
    """Kind of the cells themselves: categories are strings."""
    kind = kind_of(series)
    return "string" if kind == "category" else kind


def like(series: "pl.Series") -> "pl.Series":
    """The dtype and, where there is one, the first missing cell: at most one row."""
    import polars as pl

    if series.dtype == pl.Object:
        return series.clear()
    holes = missing(series)
    return series.filter(pl.Series(holes)).head(1) if holes.any() else series.clear()


def missing(series: "pl.Series") -> NDArray[np.bool_]:
    """True for null and NaN."""
    holes = series.is_null()
    if series.dtype.is_float():
        holes = holes | series.is_nan().fill_null(True)
    return holes.to_numpy()


def floats(series: "pl.Series") -> NDArray[np.float64]:
    """Numbers and booleans as float64, NaN where missing."""
    import polars as pl

    if series.dtype == pl.Object:
        return np.array([np.nan if cell is None else cell for cell in series], dtype=np.float64)
    return series.cast(pl.Float64).fill_null(np.nan).to_numpy()


def integers(series: "pl.Series") -> tuple[NDArray[Any], int]:
    """Integers, or ticks of a time since the epoch, and how many of them a unit has.

    Anything stands where a cell is missing.
    """
    import polars as pl

    values, unit = series.to_physical().fill_null(0), _unit(series)
    wide = pl.UInt64 if values.dtype.is_unsigned_integer() else pl.Int64
    return values.cast(wide).to_numpy(), 1 if unit is None else TICKS_PER_DAY[unit]


def _unit(series: "pl.Series") -> str | None:
    """Unit of a time; None for other columns."""
    import polars as pl

    dtype: Any = series.dtype
    if not dtype.is_temporal():
        return None
    days_or_times = {pl.Date: "D", pl.Time: "ns"}
    return days_or_times.get(dtype) or dtype.time_unit


def largest(series: "pl.Series") -> float:
    """Largest float that the dtype holds."""
    name = str(series.dtype).lower()
    return kinds.largest(name if name.startswith("float") else float)


def limits(series: "pl.Series") -> tuple[int, int]:
    """Smallest and largest integer or tick that the dtype holds, of 64 bits at most."""
    import polars as pl

    unit = _unit(series)
    if series.dtype == pl.Time:
        return 0, TICKS_PER_DAY["ns"] - 1
    if unit is not None:
        is_duration = series.dtype == pl.Duration
        return (duration_limits if is_duration else datetime_limits)(TICKS_PER_DAY[unit])
    bounds = np.iinfo(str(series.dtype).lower().replace("128", "64"))
    return int(bounds.min), int(bounds.max)


def time_type(series: "pl.Series") -> str:
    """Times of one type can be compared with each other."""
    import polars as pl

    if series.dtype in (pl.Duration, pl.Time):
        return "duration" if series.dtype == pl.Duration else "clock"
    return "zoned" if getattr(series.dtype, "time_zone", None) else "naive"


def from_integers(
    values: NDArray[Any], holes: NDArray[np.bool_], like: "pl.Series", kind: str
) -> "pl.Series":
    """A column of the dtype of ``like`` from what `integers` gives, missing at ``holes``."""
    return from_numbers(values, holes, like)


def from_numbers(values: NDArray[Any], holes: NDArray[np.bool_], like: "pl.Series") -> "pl.Series":
    """A column of the dtype of ``like`` from numbers or booleans, missing at ``holes``."""
    import polars as pl

    if like.dtype == pl.Null:
        return like.clear(len(values)) if holes.all() else _with_holes(pl.Series(values), holes)
    if like.dtype == pl.Object:
        cells = [None if hole else cell for cell, hole in zip(values, holes, strict=True)]
        return pl.Series(cells, dtype=pl.Object)
    return _as_like(_with_holes(pl.Series(values), holes), like)


def _as_like(series: "pl.Series", like: "pl.Series") -> "pl.Series":
    """In the dtype of ``like``; missing is NaN where the first missing cell in fit was."""
    nan = like.dtype.is_float() and like.null_count() < len(like)
    series = series.cast(like.dtype)
    return series.fill_null(np.nan) if nan else series


def _with_holes(series: "pl.Series", holes: NDArray[np.bool_]) -> "pl.Series":
    if not holes.any():
        return series
    return series.zip_with(_series(~holes), series.clear(len(series)))


def _series(values: NDArray[Any]) -> "pl.Series":
    import polars as pl

    return pl.Series(values)


def level_counts(series: "pl.Series") -> tuple[Any, NDArray[np.int64]]:
    """The levels seen, in the dtype's order where it has one or else sorted, and their counts."""
    import polars as pl

    in_order = series.dtype == pl.Enum or not isinstance(series.dtype, pl.Categorical)
    series = series if in_order else series.cast(pl.String)
    found = series.alias("level").filter(_series(~missing(series))).value_counts().sort(by="level")
    levels = found.to_series(0)
    levels = levels.cast(pl.String) if levels.dtype == pl.Enum else levels
    return levels, found["count"].to_numpy().astype(np.int64)


def is_ordered(series: "pl.Series") -> bool:
    """Whether a categorical dtype has an order."""
    import polars as pl

    return series.dtype == pl.Enum


def lookup(series: "pl.Series", levels: Any) -> NDArray[np.intp]:
    """Position of each cell in ``levels``; -1 for missing and for unseen ones."""
    import polars as pl

    if series.dtype != levels.dtype:
        numbers = levels.dtype.is_numeric() or levels.dtype == pl.Boolean
        common = pl.Float64 if numbers else levels.dtype
        series, levels = series.cast(common), levels.cast(common)
    positions = _series(np.arange(len(levels)))
    codes = series.replace_strict(levels, positions, default=-1, return_dtype=pl.Int64)
    return codes.fill_null(-1).to_numpy()


def take(levels: Any, codes: NDArray[np.intp], like: "pl.Series") -> "pl.Series":
    """A column of the dtype of ``like`` from positions in ``levels``, missing at -1."""
    return _as_like(_with_holes(levels.gather(np.maximum(codes, 0)), codes < 0), like)


def nothing(n_rows: int, like: "pl.Series") -> "pl.Series":
    """A column of missing cells."""
    return like.clear(n_rows)


def fill(series: "pl.Series", holes: NDArray[np.bool_], other: "pl.Series") -> "pl.Series":
    """The column with the cells at ``holes`` taken from ``other``, the rest as it was.

    Where its dtype can't hold those, one that holds both.
    """
    import polars as pl

    if not holes.any():
        return series
    old, new = series.dtype, other.dtype
    if isinstance(old, pl.Enum) and isinstance(new, pl.Enum) and old != new:
        theirs, ours = old.categories.to_list(), new.categories.to_list()
        added = [level for level in ours if level not in theirs]
        dtype = new if set(theirs) <= set(ours) else pl.Enum(theirs + added)
        series, other = series.cast(dtype), other.cast(dtype)
    return other.alias(series.name).zip_with(_series(holes), series)


def frame(columns: list["pl.Series"], names: Any, index: Any = None) -> "pl.DataFrame":
    """A table of columns."""
    import polars as pl

    return pl.DataFrame(dict(zip(names, columns, strict=True)))


def from_other(series: Any) -> Any:
    """A pandas column in polars."""
    import polars as pl

    if series.dtype == "category":  # of anything, where polars knows strings alone
        series = series.astype(object)
    objects = series.dtype == object
    return pl.from_pandas(series.where(series.notna(), None) if objects else series)
