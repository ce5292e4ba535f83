"""What pandas columns hold as numpy arrays, and back."""

import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_infovae._table import kinds
from sk_infovae._table.kinds import MAX_INT, TICKS_PER_DAY, datetime_limits, duration_limits

if TYPE_CHECKING:
    import pandas as pd

KINDS_OF_OBJECTS = {
    "string": "string",
    "boolean": "bool",
    "integer": "int",
    "floating": "float",
    "mixed-integer-float": "float",
    "date": "date",
    "empty": "float",  # a column of None alone has no dtype to speak of
}
"""From what pandas infers of the cells of an object column."""


def columns(frame: "pd.DataFrame") -> list["pd.Series"]:
    """Every column, also those that share a name."""
    return [series for _, series in frame.items()]


def header(frame: "pd.DataFrame") -> Any:
    """The names as pandas keeps them: with a dtype, levels and a name of their own."""
    return frame.columns


def kind_of(series: "pd.Series | pd.Index") -> str | None:
    """One of `sk_infovae._table.schema.KINDS`, or None for what can't be read."""
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    return (
        _kind_of_objects(series) if pd.api.types.is_object_dtype(dtype) else _kind_of_dtype(dtype)
    )


@lru_cache(256)
def _kind_of_dtype(dtype: Any) -> str | None:
    import pandas as pd

    if _time(dtype) is not None:
        return "time"
    tests = {
        "bool": pd.api.types.is_bool_dtype,
        "int": pd.api.types.is_integer_dtype,
        "float": pd.api.types.is_float_dtype,
        "string": _is_string,
    }
    return next((kind for kind, test in tests.items() if test(dtype)), None)


def _is_string(dtype: Any) -> bool:
    import pandas as pd

    if not isinstance(dtype, pd.ArrowDtype):
        return isinstance(dtype, pd.StringDtype)
    import pyarrow as pa

    arrow = dtype.pyarrow_dtype
    return pa.types.is_string(arrow) or pa.types.is_large_string(arrow)


def _kind_of_objects(series: "pd.Series | pd.Index") -> str | None:
    import pandas as pd

    kind = KINDS_OF_OBJECTS.get(pd.api.types.infer_dtype(series, skipna=True))
    if kind == "int":
        try:
            integers(series)
        except OverflowError:  # beyond 64 bits
            return None
    if kind == "date" and any(isinstance(cell, datetime.datetime) for cell in series.dropna()):
        return None  # which is a date to pandas
    return kind


def value_kind(series: "pd.Series") -> str | None:
    """Kind of the cells themselves: of a category, that of its categories."""
    import pandas as pd

    is_category = isinstance(series.dtype, pd.CategoricalDtype)
    cells = series.cat.categories if is_category else series
    return kind_of(pd.Series(cells) if cells.dtype == object else cells)


def _time(dtype: Any) -> tuple[str, str] | None:
    """Whether a dtype holds "naive" or "zoned" instants or a "duration", and its unit."""
    import pandas as pd

    if isinstance(dtype, pd.DatetimeTZDtype):
        return "zoned", dtype.unit
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        return ("duration" if dtype.kind == "m" else "naive"), np.datetime_data(dtype)[0]
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if arrow is None:
        return None
    import pyarrow as pa

    if pa.types.is_date(arrow):
        return "naive", "D" if pa.types.is_date32(arrow) else "ms"
    if pa.types.is_timestamp(arrow):
        return "zoned" if arrow.tz else "naive", arrow.unit
    return ("duration", arrow.unit) if pa.types.is_duration(arrow) else None


def like(series: "pd.Series") -> "pd.Series":
    """The dtype and, where there is one, the first missing cell: at most one row."""
    holes = np.flatnonzero(missing(series))
    return series.iloc[holes[:1]].reset_index(drop=True)


def missing(series: "pd.Series") -> NDArray[np.bool_]:
    """True for None, NaN, NaT and pd.NA."""
    holes = series.isna().to_numpy(dtype=bool)
    if isinstance(series.dtype, np.dtype) or kind_of(series) != "float":
        return holes
    return np.isnan(floats(series))  # to arrow NaN is a number


def floats(series: "pd.Series") -> NDArray[np.float64]:
    """Numbers and booleans as float64, NaN where missing."""
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def integers(series: "pd.Series") -> tuple[NDArray[Any], int]:
    """Integers, or ticks of a time since the epoch, and how many of them a unit has.

    Anything stands where a cell is missing.
    """
    if series.dtype == object:
        return _integers_of_objects(series)
    if _time(series.dtype) is None:
        wide = "uint64" if "uint" in str(series.dtype).lower() else "int64"
        return series.to_numpy(dtype=wide, na_value=0), 1
    kind, unit = _time(series.dtype) or ("", "")
    if not hasattr(series.dtype, "pyarrow_dtype"):
        series = series.dt.tz_convert(None) if kind == "zoned" else series
        return series.to_numpy().view(np.int64), TICKS_PER_DAY[unit]
    ticks = series.array.__arrow_array__().cast("int32" if unit == "D" else "int64")
    return ticks.fill_null(0).to_numpy().astype(np.int64), TICKS_PER_DAY[unit]


def _integers_of_objects(series: "pd.Series") -> tuple[NDArray[np.int64], int]:
    """Integers, or the days of dates."""
    seen = ~missing(series)
    cells = series.to_numpy()[seen]
    dates = cells.size > 0 and isinstance(cells[0], datetime.date)
    values = np.zeros(len(series), dtype=np.int64)
    values[seen] = cells.astype("datetime64[D]").view(np.int64) if dates else cells.astype(np.int64)
    return values, TICKS_PER_DAY["D"]


def limits(series: "pd.Series") -> tuple[int, int]:
    """Smallest and largest integer or tick that the dtype holds."""
    found = _time(series.dtype)
    if found is not None:
        kind, unit = found
        return (duration_limits if kind == "duration" else datetime_limits)(TICKS_PER_DAY[unit])
    if series.dtype == object:
        return (-MAX_INT, MAX_INT) if kind_of(series) == "int" else datetime_limits(1)
    bounds = np.iinfo(str(series.dtype).lower().removesuffix("[pyarrow]"))
    return int(bounds.min), int(bounds.max)


def largest(series: "pd.Series") -> float:
    """Largest float that the dtype holds."""
    own = getattr(series.dtype, "subtype", series.dtype)  # of a sparse one
    dtype = getattr(own, "numpy_dtype", own)
    return kinds.largest(dtype if getattr(dtype, "kind", "") == "f" else float)


def time_type(series: "pd.Series") -> str:
    """Times of one type can be compared with each other."""
    return (_time(series.dtype) or ("naive", "D"))[0]


def from_integers(
    values: NDArray[Any], holes: NDArray[np.bool_], like: "pd.Series", kind: str
) -> "pd.Series":
    """A column of the dtype of ``like`` from what `integers` gives, missing at ``holes``."""
    import pandas as pd

    if kind == "int":
        return from_numbers(values, holes, like)
    if kind == "date":
        return _objects(values.view("datetime64[D]").astype(object), holes, like)
    time_type, unit = _time(like.dtype) or ("", "")
    if hasattr(like.dtype, "pyarrow_dtype"):
        import pyarrow as pa

        ticks = pa.array(values.astype(np.int32 if unit == "D" else np.int64), mask=holes)
        return pd.Series(pd.arrays.ArrowExtensionArray(ticks.cast(like.dtype.pyarrow_dtype)))
    times = values.view(f"{'timedelta64' if time_type == 'duration' else 'datetime64'}[{unit}]")
    series = pd.Series(np.where(holes, np.array("NaT", times.dtype), times))
    return (
        series.dt.tz_localize("UTC").dt.tz_convert(like.dtype.tz)
        if time_type == "zoned"
        else series
    )


def from_numbers(values: NDArray[Any], holes: NDArray[np.bool_], like: "pd.Series") -> "pd.Series":
    """A column of the dtype of ``like`` from numbers or booleans, missing at ``holes``.

    A numpy dtype of integers or booleans, which has no missing cell, becomes float64 or object.
    """
    import pandas as pd

    if like.dtype == object:
        return _objects(values.astype(object), holes, like)
    if not holes.any():
        return pd.Series(values).astype(like.dtype)
    if isinstance(like.dtype, np.dtype) and like.dtype.kind != "f":
        return pd.Series(values).mask(holes)
    return pd.Series(values).astype(like.dtype).mask(holes)


def _objects(cells: NDArray[Any], holes: NDArray[np.bool_], like: "pd.Series") -> "pd.Series":
    """A column of objects, missing as the first missing cell in fit was."""
    import pandas as pd

    cells[holes] = like.iloc[0] if len(like) else None
    return pd.Series(cells, dtype=object)


def level_counts(series: "pd.Series") -> tuple[Any, NDArray[np.int64]]:
    """The levels seen, in the dtype's order where it has one or else sorted, and their counts."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        codes = series.cat.codes.to_numpy()
        counts = np.bincount(codes[codes >= 0], minlength=len(series.cat.categories))
        return series.cat.categories[counts > 0], counts[counts > 0]
    found = _indexed(series[~missing(series)]).value_counts(sort=False).sort_index()
    return found.index, found.to_numpy(dtype=np.int64)


def is_ordered(series: "pd.Series") -> bool:
    """Whether a categorical dtype has an order."""
    return bool(series.dtype.ordered)


def lookup(series: "pd.Series", levels: Any) -> NDArray[np.intp]:
    """Position of each cell in ``levels``; -1 for missing and for unseen ones."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        positions = np.append(levels.get_indexer(series.cat.categories), -1)
        return positions[series.cat.codes.to_numpy()]
    return np.where(missing(series), -1, levels.get_indexer(pd.Index(_indexed(series))))


def _indexed(series: "pd.Series") -> "pd.Series":
    """In a dtype that pandas has an index of."""
    return series.astype(np.float32) if series.dtype == np.float16 else series


def take(levels: Any, codes: NDArray[np.intp], like: "pd.Series") -> "pd.Series":
    """A column of the dtype of ``like`` from positions in ``levels``, missing at -1."""
    import pandas as pd

    if isinstance(like.dtype, pd.CategoricalDtype):
        positions = np.append(like.dtype.categories.get_indexer(levels), -1)
        return pd.Series(pd.Categorical.from_codes(positions[codes], dtype=like.dtype))
    holes = codes < 0
    if like.dtype == object:
        return _objects(np.asarray(levels, dtype=object)[codes], holes, like)
    cells = levels.to_series(index=range(len(levels))).reindex(codes).reset_index(drop=True)
    whole = isinstance(like.dtype, np.dtype) and like.dtype.kind in "iub"
    return cells if whole and holes.any() else cells.astype(like.dtype)


def nothing(n_rows: int, like: "pd.Series") -> "pd.Series":
    """A column of missing cells."""
    import pandas as pd

    if not len(like):
        return pd.Series([None] * n_rows, dtype=like.dtype)
    return like.iloc[np.zeros(n_rows, dtype=np.intp)].reset_index(drop=True)


def _common_dtype(series: "pd.Series", other: "pd.Series") -> Any:
    import pandas as pd

    if series.dtype == other.dtype:
        return series.dtype
    if not isinstance(series.dtype, pd.CategoricalDtype):
        return pd.concat([series, other]).dtype
    theirs = series.cat.categories
    if isinstance(other.dtype, pd.CategoricalDtype) and theirs.isin(other.cat.categories).all():
        return other.dtype
    new = pd.Index(other.astype(object).unique()).difference(theirs)
    return pd.CategoricalDtype(theirs.append(new), series.dtype.ordered)


def fill(series: "pd.Series", holes: NDArray[np.bool_], other: "pd.Series") -> "pd.Series":
    """The column with the cells at ``holes`` taken from ``other``, the rest as it was.

    Where its dtype can't hold those, one that holds both.
    """
    if not holes.any():
        return series
    other = other.set_axis(series.index)
    if holes.all():
        return other
    dtype = _common_dtype(series, other.iloc[holes])
    series = series.astype(dtype).copy()
    series.iloc[holes] = other.iloc[holes].astype(dtype).array
    return series


def frame(columns: list["pd.Series"], names: Any, index: Any = None) -> "pd.DataFrame":
    """A table of columns."""
    import pandas as pd

    table = pd.concat(dict(enumerate(columns)), axis=1, ignore_index=True)
    table.columns = names
    return table if index is None else table.set_axis(index, axis=0)


def from_other(series: Any) -> Any:
    """A polars column in pandas, every digit kept."""
    exact = series.dtype.is_integer() and series.null_count() > 0
    return series.to_pandas(use_pyarrow_extension_array=exact)
