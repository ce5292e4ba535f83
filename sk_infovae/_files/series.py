"""Columns, dtypes and cells of pandas and polars as JSON, and back.

Of a table that fit saw, a model keeps no rows: the levels of each column that has some, its dtype,
a missing cell, and the header.
"""

import datetime
from collections.abc import Callable
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from sk_infovae.exceptions import ModelFileError

POLARS = (
    "Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64", "UInt128",
    "Float16", "Float32", "Float64", "Boolean", "String", "Categorical", "Enum", "Date", "Time",
    "Datetime", "Duration", "Null", "Object",
)  # fmt: skip
"""Its dtypes that a column can have."""

MOST_NAMES = 10_000_000
"""Of columns that a file names by a range."""

Write = Callable[[Any], Any]
Read = Callable[[Any], Any]


def write(value: Any, inner: Write) -> Any:
    """The JSON of a column, a header, a dtype or a cell; None for anything else.

    ``inner`` writes what it is made of.
    """
    if nw.dependencies.is_polars_series(value):
        return {"polars": [_polars_dtype(value.dtype), inner(_polars_cells(value))]}
    if nw.dependencies.is_pandas_series(value) or nw.dependencies.is_pandas_index(value):
        return _write_pandas(value, inner)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return {"date": value.isoformat()}
    pd = nw.dependencies.get_pandas()
    return None if pd is None else _write_cell(value, inner, pd)


def _write_cell(value: Any, inner: Write, pd: Any) -> Any:
    if value is pd.NA or value is pd.NaT:
        return {"missing": "NA" if value is pd.NA else "NaT"}
    if isinstance(value, pd.Timestamp):
        zone = None if value.tz is None else str(value.tz)
        return {"timestamp": [int(value.asm8.astype(np.int64)), value.unit, zone]}
    if isinstance(value, pd.Timedelta):
        return {"timedelta": [int(value.asm8.astype(np.int64)), value.unit]}
    if isinstance(value, pd.Interval):
        return {"interval": [inner(value.left), inner(value.right), value.closed]}
    return None


def _write_pandas(value: Any, inner: Write) -> Any:
    import pandas as pd

    if isinstance(value, pd.MultiIndex):
        return {"multi_index": [inner([*value]), inner([*value.names])]}
    name = inner(value.name)
    if isinstance(value, pd.RangeIndex):
        return {"range": [value.start, value.stop, value.step, name]}
    parts = [_pandas_dtype(value.dtype, inner), inner([*value.astype(object)]), name]
    if isinstance(value, pd.Index):
        return {"index": [*parts, getattr(value, "freqstr", None)]}
    return {"pandas": parts}


def _pandas_dtype(dtype: Any, inner: Write) -> Any:
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        return {"categories": inner(dtype.categories), "ordered": bool(dtype.ordered)}
    if isinstance(dtype, pd.StringDtype):
        return {"storage": dtype.storage, "missing": inner(dtype.na_value)}
    name = str(dtype)
    if name == "string[pyarrow]":  # arrow's own, which pandas reads as its StringDtype
        return {"arrow": "string"}
    if _dtype_named(name) != dtype:
        raise ModelFileError(f"A file can't hold a column of dtype {dtype!r}. Convert it first.")
    return name


def _dtype_named(name: str) -> Any:
    """A dtype by pandas' name for it, where no cell of it can be large."""
    import pandas as pd

    _zone(name)
    try:
        dtype = pd.api.types.pandas_dtype(name)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"{name!r} is no dtype of pandas by name. Convert it first."
        ) from error
    if isinstance(dtype, np.dtype) and dtype.kind not in "biufOmM":
        raise ModelFileError(f"A column can't be of dtype {name!r}. Convert it first.")
    return dtype


def _zone(name: str) -> str:
    """A time zone, or a name that holds one; none that makes pandas open a file of that name."""
    if "dateutil" in name or ".." in name:
        raise ModelFileError(f"{name!r} names a time zone by a file. Take one of zoneinfo's.")
    return name


def _read_pandas_dtype(tree: Any, read: Read) -> Any:
    import pandas as pd

    if isinstance(tree, str):
        return _dtype_named(tree)
    if "categories" in tree:
        return pd.CategoricalDtype(read(tree["categories"]), tree["ordered"])
    if "arrow" in tree:
        import pyarrow as pa

        return pd.ArrowDtype(pa.type_for_alias(tree["arrow"]))
    missing = read(tree["missing"])
    # pandas < 2.3 knows no other missing cell than NA.
    other = {} if missing is pd.NA else {"na_value": missing}
    return pd.StringDtype(tree["storage"], **other)


def _polars_dtype(dtype: Any) -> Any:
    import polars as pl

    base = dtype.base_type().__name__
    if isinstance(dtype, pl.Enum):
        return [base, dtype.categories.to_list()]
    if isinstance(dtype, pl.Datetime):
        return [base, dtype.time_unit, dtype.time_zone]
    return [base, dtype.time_unit] if isinstance(dtype, pl.Duration) else [base]


def _read_polars_dtype(tree: Any) -> Any:
    import polars as pl

    base, *arguments = tree
    return getattr(pl, POLARS[POLARS.index(base)])(*arguments)


def _polars_cells(series: Any) -> list[Any]:
    import polars as pl

    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    return (series.to_physical() if series.dtype.is_temporal() else series).to_list()


def _read_polars(tree: Any, read: Read) -> Any:
    import polars as pl

    dtype, cells = _read_polars_dtype(tree[0]), read(tree[1])
    if not dtype.is_temporal():
        return pl.Series(cells, dtype=dtype)
    physical = pl.Series([], dtype=dtype).to_physical().dtype
    return pl.Series(cells, dtype=physical).cast(dtype)


def _read_pandas(tree: Any, read: Read) -> Any:
    import pandas as pd

    dtype, cells, name = tree
    return pd.Series(read(cells), dtype=_read_pandas_dtype(dtype, read), name=read(name))


def _read_index(tree: Any, read: Read) -> Any:
    import pandas as pd

    dtype, cells, name, frequency = tree
    index = pd.Index(read(cells), dtype=_read_pandas_dtype(dtype, read), tupleize_cols=False)
    if frequency is not None:
        index.freq = frequency
    return index.rename(read(name))


def _read_range(tree: Any, read: Read) -> Any:
    import pandas as pd

    if len(range(*tree[:3])) > MOST_NAMES:
        raise ModelFileError(f"A range of more than {MOST_NAMES:,} names, got {tree[:3]}.")
    return pd.RangeIndex(*tree[:3], name=read(tree[3]))


def _read_multi_index(tree: Any, read: Read) -> Any:
    import pandas as pd

    return pd.MultiIndex.from_tuples(read(tree[0]), names=read(tree[1]))


def _read_missing(tree: str, read: Read) -> Any:
    import pandas as pd

    return {"NA": pd.NA, "NaT": pd.NaT}[tree]


def _read_timestamp(tree: Any, read: Read) -> Any:
    import pandas as pd

    ticks, unit, zone = tree
    time = pd.Timestamp(np.datetime64(ticks, unit))
    return time if zone is None else time.tz_localize("UTC").tz_convert(_zone(zone))


def _read_timedelta(tree: Any, read: Read) -> Any:
    import pandas as pd

    return pd.Timedelta(np.timedelta64(*tree))


def _read_interval(tree: Any, read: Read) -> Any:
    import pandas as pd

    return pd.Interval(read(tree[0]), read(tree[1]), tree[2])


READERS: dict[str, Callable[[Any, Read], Any]] = {
    "polars": _read_polars,
    "pandas": _read_pandas,
    "index": _read_index,
    "range": _read_range,
    "multi_index": _read_multi_index,
    "missing": _read_missing,
    "date": lambda tree, read: datetime.date.fromisoformat(tree),
    "timestamp": _read_timestamp,
    "timedelta": _read_timedelta,
    "interval": _read_interval,
}
"""By the key that says what it is."""
