"""Columns of every dtype that a table can have, in pandas and in polars, for tests of schema."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

TEXTS = ["north", "", "nan", "süd 雪", None]
DATES = [dt.date(2020, 2, 29), None, dt.date(1850, 3, 4)]
INSTANTS = ["2020-01-01 12:34:56.789123456", "1700-01-01", None, "2200-05-05 00:00:00.000000001"]
INTEGERS = "Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64".split()
UNITS = ("s", "ms", "us", "ns")


def pandas_columns():
    """Name to series; the names say what is in it."""
    found = {}
    for name in [*INTEGERS, "boolean", "Float32", "Float64"]:
        found[name] = pd.Series([1, 0, None, 1], dtype=name)
    for name in [*map(str.lower, INTEGERS), "bool", "float16", "float32", "float64"]:
        found[name] = pd.Series([1, 0, 1, 1]).astype(name)
    for name in ["int64", "uint8", "bool", "double", "float"]:
        found[f"arrow {name}"] = (
            pd.Series([1, 0, None, 1]).astype("Int64").astype(f"{name}[pyarrow]")
        )
    for name in ["object", "str", "string", "string[python]", "string[pyarrow]", "category"]:
        found[f"text {name}"] = pd.Series(TEXTS, dtype=name)
    for name in ["string", "large_string"]:
        found[f"arrow {name}"] = pd.Series(TEXTS, dtype=pd.ArrowDtype(getattr(pa, name)()))
    found["nothing in str"] = pd.Series([None, None], dtype=pd.StringDtype())
    found["nothing in Int64"] = pd.Series([None, None], dtype="Int64")
    found["nothing in object"] = pd.Series([None, None], dtype=object)
    found["nothing in float"] = pd.Series([np.nan, np.nan])
    found["date32"] = pd.Series(DATES, dtype=pd.ArrowDtype(pa.date32()))
    found["date64"] = pd.Series(DATES, dtype=pd.ArrowDtype(pa.date64()))
    found["sparse"] = pd.Series(pd.arrays.SparseArray([0.0, 1.0, 0.0, np.nan]))
    found["decimals"] = pd.Series([0.1, 31.7, 1e3, 0.05, 0.0])
    found["zeros among reals"] = pd.Series([0.0, *np.float32([1 / 3, 3.14159, 100.1])])
    return found | pandas_objects() | pandas_categories() | pandas_integers() | pandas_times()


def pandas_objects():
    cells = {
        "objects: text, NaN": ["a", np.nan, "b"],
        "objects: float": [1.25, None, 2.5],
        "objects: int": [1, np.nan, 2],
        "objects: int beyond 2^53": [2**60 + 1, None, 2**61 + 3],
        "objects: bool": [True, None, False],
        "objects: bool, NA": [True, pd.NA, False],
        "objects: date": DATES,
        "objects: date, NaT": [DATES[0], pd.NaT, DATES[2]],
    }
    return {name: pd.Series(list_, dtype=object) for name, list_ in cells.items()}


def pandas_categories():
    ordered = pd.Categorical(["lo", "hi", None], categories=["lo", "mid", "hi"], ordered=True)
    cells = {
        "ordered": ordered,
        "of int": pd.Categorical([3, 1, None]),
        "of float": pd.Categorical([0.5, 1, None]),
        "of bool": pd.Categorical([True, False]),
        "of time": pd.Categorical(pd.to_datetime(["2020", "2021"])),
        "of intervals": pd.cut([1.0, 2.0, 3.0, np.nan], 2),
        "of anything": pd.Categorical(["a", 1, None]),
        "of nothing": pd.Categorical([None, None], categories=["a"]),
        "of one": pd.Categorical(["a", "a"]),
    }
    return {f"category {name}": pd.Series(cell) for name, cell in cells.items()}


def pandas_integers():
    """Integers that no float64 holds."""
    return {
        "beyond 2^53": pd.Series([2**53 + 1, 2**53 + 3, -5]),
        "large int64": pd.Series([2**63 - 1, -(2**63), 5]),
        "large uint64": pd.Series([2**64 - 1, 0, 5], dtype="uint64"),
        "large Int64": pd.Series([2**63 - 1, None, -(2**63) + 7, 2**53 + 1], dtype="Int64"),
        "large UInt64": pd.Series([2**64 - 1, None, 5], dtype="UInt64"),
        "large arrow": pd.Series([2**63 - 1, None, 2**53 + 1], dtype="int64[pyarrow]"),
    }


def pandas_times():
    found = {"last instants": pd.Series([pd.Timestamp.min, pd.Timestamp.max, pd.NaT])}
    instants = pd.Series(pd.to_datetime(INSTANTS, format="ISO8601").as_unit("ns"))
    ticks = pd.Series([1, None, 10**13 + 1], dtype="Int64").astype("int64[pyarrow]")
    for unit in UNITS:
        times = instants.dt.as_unit(unit)
        utc = times.dt.tz_localize("UTC")
        found[f"datetime {unit}"] = times
        found[f"zoned {unit}"] = utc.dt.tz_convert("America/New_York")
        found[f"arrow datetime {unit}"] = times.astype(pd.ArrowDtype(pa.timestamp(unit)))
        zoned = pd.ArrowDtype(pa.timestamp(unit, "Europe/Oslo"))
        found[f"arrow zoned {unit}"] = utc.astype(zoned)
        found[f"arrow duration {unit}"] = ticks.astype(pd.ArrowDtype(pa.duration(unit)))
        found[f"duration {unit}"] = pd.Series(np.array([1, -7, 10**9], f"timedelta64[{unit}]"))
        found[f"duration {unit}"][1] = pd.NaT
    return found


def polars_columns():
    """Name to series; the names say what is in it."""
    found = {}
    for name in [*INTEGERS, "Float32", "Float64", "Boolean"]:
        found[name] = pl.Series([1, 0, None, 1]).cast(getattr(pl, name))
    dtypes = {"String": pl.String, "Categorical": pl.Categorical}
    for name, dtype in dtypes.items():
        found[f"text {name}"] = pl.Series(TEXTS, dtype=dtype)
        found[f"nothing in {name}"] = pl.Series([None, None], dtype=dtype)
    levels = pl.Enum(["lo", "mid", "hi"])
    for unit in UNITS[1:]:
        times = pl.Series([dt.datetime(2020, 1, 1, 3, 4, 5, 123457), None, dt.datetime(1700, 1, 1)])
        times = times.cast(pl.Datetime(unit))  # type: ignore[arg-type]
        found[f"Datetime {unit}"] = times
        utc = times.dt.replace_time_zone("UTC")
        found[f"zoned {unit}"] = utc.dt.convert_time_zone("America/New_York")
        found[f"Duration {unit}"] = pl.Series([1, None, 10**13 + 1]).cast(pl.Duration(unit))  # type: ignore[arg-type]
    return found | {
        "Enum": pl.Series(["lo", "hi", None], dtype=levels),
        "Enum of nothing": pl.Series([None, None], dtype=levels),
        "NaN": pl.Series([1.0, float("nan"), 2.5]),
        "null": pl.Series([1.0, None, 2.5]),
        "Null": pl.Series([None, None]),
        "Date": pl.Series([*DATES, dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
        "Time": pl.Series([dt.time(0), None, dt.time(23, 59, 59, 999999)]),
        "beyond 2^53": pl.Series([2**53 + 1, None, -(2**53) - 3]),
        "large Int64": pl.Series([2**63 - 1, -(2**63), None, 5]),
        "large UInt64": pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64),
        "decimals": pl.Series([0.1, 31.7, 1e3, 0.05, 0.0]),
    }


def unreadable_pandas_columns():
    objects = {
        "decimals": [Decimal(1)],
        "lists": [[1], [2, 3]],
        "dicts": [{"a": 1}],
        "arrays": [np.zeros(2), np.ones(2)],
        "numbers and text": [1, "a"],
        "bytes": [b"a"],
        "dates and times": [dt.date(2020, 1, 1), dt.datetime(2020, 1, 1)],
        "timestamps": [pd.Timestamp("2020")],
        "beyond 64 bits": [2**70],
        "anything": [object()],
    }
    arrow = {
        "arrow decimals": ([Decimal(1)], pa.decimal128(5, 2)),
        "arrow lists": ([[1]], pa.list_(pa.int64())),
        "arrow bytes": ([b"a"], pa.binary()),
        "arrow clock": ([dt.time(1)], pa.time64("us")),
    }
    return (
        {name: pd.Series(cells, dtype=object) for name, cells in objects.items()}
        | {name: pd.Series(c, dtype=pd.ArrowDtype(dtype)) for name, (c, dtype) in arrow.items()}
        | {
            "period": pd.Series(pd.period_range("2020", periods=2, freq="D")),
            "interval": pd.Series(pd.interval_range(0, 2)),
            "complex": pd.Series([1j]),
        }
    )


def unreadable_polars_columns():
    return {
        "decimals": pl.Series([Decimal(1)]),
        "lists": pl.Series([[1], [2, 3]]),
        "arrays": pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
        "structs": pl.Series([{"a": 1}]),
        "bytes": pl.Series([b"a"]),
        "objects": pl.Series([object()], dtype=pl.Object),
    }


def frame_of(series, name="x"):
    """A table of one column."""
    if isinstance(series, pd.Series):
        return series.reset_index(drop=True).to_frame(name)
    return pl.DataFrame({name: series})


def same_frame(back, X):
    """Equal to the last bit: dtypes, categories, zones, and which marker stands where missing."""
    if isinstance(X, pd.DataFrame):
        pd.testing.assert_frame_equal(back, X, check_exact=True)
        for j in [j for j, dtype in enumerate(X.dtypes) if pd.api.types.is_object_dtype(dtype)]:
            pairs = zip(back.iloc[:, j], X.iloc[:, j], strict=True)
            assert all(type(one) is type(other) for one, other in pairs), j
        return
    assert isinstance(back, pl.DataFrame)
    assert back.schema == X.schema
    text = [pl.col(name).cast(pl.String) for name in X.columns if X[name].dtype == pl.Categorical]
    back, X = back.with_columns(*text), X.with_columns(*text)
    assert back.equals(X, null_equal=True), (back, X)
