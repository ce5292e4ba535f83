"""Which columns are read, and how a table of the same kind is built again."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from sk_infovae.exceptions import SchemaError
from sk_infovae.schema import check_readable, is_frame, read_schema

VALUES = np.array([[0.4, 2.5], [1.0, 3.5], [0.6, -1.2], [0.0, 7.0]])

PANDAS = {
    "float64": "float",
    "float32": "float",
    "Float64": "float",
    "Float32": "float",
    "int64": "int",
    "int8": "int",
    "uint8": "int",
    "Int64": "int",
    "UInt16": "int",
    "bool": "bool",
    "boolean": "bool",
    "float[pyarrow]": "float",
    "double[pyarrow]": "float",
    "int64[pyarrow]": "int",
    "int8[pyarrow]": "int",
    "uint32[pyarrow]": "int",
    "bool[pyarrow]": "bool",
}
POLARS = {
    pl.Float32: "float",
    pl.Float64: "float",
    pl.Int8: "int",
    pl.Int64: "int",
    pl.UInt8: "int",
    pl.UInt64: "int",
    pl.Boolean: "bool",
}
LIMITS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1),
    # float64 has no number between these and the end of the range.
    "int64": (-(2**63), 2**63 - 1024),
    "uint64": (0, 2**64 - 2048),
}


def pandas_frame(dtype, names=("a", "b")):
    """Two columns of zeros and ones, and a float column between them."""
    return pd.DataFrame(
        {
            names[0]: pd.Series([0, 1, 1]).astype(dtype),
            "other": [0.5, 1.5, 2.5],
            names[1]: pd.Series([1, 0, 1]).astype(dtype),
        }
    )


def polars_frame(dtype):
    return pl.DataFrame(
        {
            "a": pl.Series([0, 1, 1]).cast(dtype),
            "other": [0.5, 1.5, 2.5],
            "b": pl.Series([1, 0, 1]).cast(dtype),
        }
    )


def between(values):
    """The two columns of values with a float column between them."""
    return np.column_stack([values[:, 0], np.arange(len(values)) + 0.25, values[:, 1]])


def as_kind(values, kind):
    """What values of a kind look like: rint, above one half, or as they are."""
    return {"int": np.rint, "bool": lambda v: v > 0.5, "float": lambda v: v}[kind](values)


# What is read


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})])
def test_frames_are_known(frame):
    assert is_frame(frame)


@pytest.mark.parametrize(
    "X", [np.zeros((2, 2)), [[1.0]], sparse.csr_matrix((2, 2)), pd.Series([1]), pl.Series([1])]
)
def test_other_containers_are_no_frames(X):
    assert not is_frame(X)
    check_readable(X)


@pytest.mark.parametrize("dtype", PANDAS)
def test_kinds_of_pandas_columns(dtype):
    frame = pandas_frame(dtype)
    check_readable(frame)
    schema = read_schema(frame, 3)
    assert schema.container == "pandas"
    assert schema.kinds.tolist() == [PANDAS[dtype], "float", PANDAS[dtype]]
    assert schema.names == ["a", "other", "b"]


@pytest.mark.parametrize("dtype", POLARS)
def test_kinds_of_polars_columns(dtype):
    frame = polars_frame(dtype)
    check_readable(frame)
    schema = read_schema(frame, 3)
    assert schema.container == "polars"
    assert schema.kinds.tolist() == [POLARS[dtype], "float", POLARS[dtype]]
    assert schema.names == ["a", "other", "b"]


@pytest.mark.parametrize(
    ("X", "kind", "dtype"),
    [
        (np.zeros((2, 3)), "float", np.float64),
        (np.zeros((2, 3), np.float32), "float", np.float32),
        (np.zeros((2, 3), np.float16), "float", np.float64),
        (np.zeros((2, 3), np.int64), "float", np.float64),
        (np.zeros((2, 3), bool), "bool", np.float64),
        ([[1, 2, 3]], "float", np.float64),
        (sparse.csr_matrix((2, 3)), "float", np.float64),
        (sparse.csr_matrix((2, 3), dtype=np.float32), "float", np.float32),
    ],
)
def test_arrays_have_one_kind_and_come_back_as_floats(X, kind, dtype):
    schema = read_schema(X, 3)
    assert schema.container == "numpy"
    assert schema.kinds.tolist() == [kind] * 3
    built = schema.build(np.array([[0.4, 0.6, 2.5]]))
    assert isinstance(built, np.ndarray)
    assert built.dtype == dtype
    expected = [[0.0, 1.0, 1.0]] if kind == "bool" else [[0.4, 0.6, 2.5]]
    np.testing.assert_array_equal(built, np.array(expected, dtype=dtype))


# What is built


@pytest.mark.parametrize("dtype", PANDAS)
def test_pandas_comes_back_with_names_dtypes_and_index(dtype):
    frame, values = pandas_frame(dtype), VALUES.clip(0)
    index = pd.Index(["p", "q", "r", "s"], name="row")
    built = read_schema(frame, 3).build(between(values), index)
    pd.testing.assert_index_equal(built.index, index)
    pd.testing.assert_series_equal(built.dtypes, frame.dtypes)
    for name, column in zip(("a", "b"), values.T, strict=True):
        found = built[name].to_numpy(dtype=np.float64)
        np.testing.assert_allclose(found, as_kind(column, PANDAS[dtype]), rtol=1e-6)
    np.testing.assert_array_equal(built["other"], [0.25, 1.25, 2.25, 3.25])


@pytest.mark.parametrize("dtype", POLARS)
def test_polars_comes_back_with_names_and_dtypes(dtype):
    frame, values = polars_frame(dtype), VALUES.clip(0)
    built = read_schema(frame, 3).build(between(values))
    assert isinstance(built, pl.DataFrame)
    assert built.schema == frame.schema
    for name, column in zip(("a", "b"), values.T, strict=True):
        found = built[name].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(found, as_kind(column, POLARS[dtype]), rtol=1e-6)


def test_without_an_index_pandas_counts_rows():
    built = read_schema(pandas_frame("int64"), 3).build(between(VALUES))
    pd.testing.assert_index_equal(built.index, pd.RangeIndex(4))


@pytest.mark.parametrize("names", [("a", "c"), (0, 1), (("x", 1), ("x", 2)), ("", "ü")])
def test_any_column_names_come_back(names):
    frame = pandas_frame("int64", names)
    check_readable(frame)
    built = read_schema(frame, 3).build(between(VALUES))
    assert list(built.columns) == list(frame.columns)


def test_no_rows_keep_the_dtypes():
    for frame in (pandas_frame("Int64"), polars_frame(pl.UInt8)):
        built = read_schema(frame, 3).build(np.empty((0, 3)))
        assert built.shape == (0, 3)
        assert list(built.dtypes) == list(frame.dtypes)


@pytest.mark.parametrize("limits", LIMITS.items(), ids=LIMITS)
def test_integers_stay_within_the_range_of_their_dtype(limits):
    """Rounded half to even, then clipped: an expected value may lie outside."""
    name, (low, high) = limits
    values = np.array([-1e30, -1e3, -0.6, 2.5, 3.5, 1e3, 1e30])[:, None]
    expected = [min(max(int(np.rint(value)), low), high) for value in values[:, 0]]
    capital = name.replace("int", "Int").replace("u", "U")
    frames = [
        pd.DataFrame({"a": pd.Series([0, 1]).astype(dtype)})
        for dtype in (name, capital, name + "[pyarrow]")
    ]
    frames.append(pl.DataFrame({"a": pl.Series([0, 1]).cast(getattr(pl, capital))}))
    for frame in frames:
        built = read_schema(frame, 1).build(values)
        assert [int(value) for value in built["a"]] == expected
        assert list(built.dtypes) == list(frame.dtypes)


# What is refused

REFUSED = {
    "strings": ["a", "b"],
    "dates": [datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1)],
    "durations": [datetime.timedelta(1), datetime.timedelta(2)],
}


@pytest.mark.parametrize("cells", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("library", [pd, pl])
def test_columns_that_are_no_numbers_are_named(cells, library):
    frame = library.DataFrame({"fine": [1.0, 2.0], "bad one": cells, "yes": [True, False]})
    with pytest.raises(SchemaError, match=r"'bad one' \(.*Encode them before") as refusal:
        check_readable(frame)
    assert "'fine'" not in str(refusal.value)
    assert "'yes'" not in str(refusal.value)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"bad one": pd.Categorical(["x", "y"])}),
        pd.DataFrame({"bad one": pd.Categorical([1, 2])}),
        pd.DataFrame({"bad one": np.array([1.0, "x"], dtype=object)}),
        pd.DataFrame({"bad one": np.array([1.0, object()], dtype=object)}),
        pd.DataFrame({"bad one": [1 + 2j, 0j]}),
        pl.DataFrame({"bad one": pl.Series(["x", "y"], dtype=pl.Categorical)}),
        pl.DataFrame({"bad one": [[1, 2], [3]]}),
        pl.DataFrame({"bad one": [object(), object()]}),
    ],
    ids=["category", "numeric category", "mixed", "object", "complex", "pl category", "list", "pl"],
)
def test_categories_and_objects_are_named(frame):
    with pytest.raises(SchemaError, match=r"'bad one' \("):
        check_readable(frame)


def test_every_refused_column_is_named():
    frame = pd.DataFrame({"x": ["a"], 7: pd.to_datetime(["2020"]), "z": [1]})
    with pytest.raises(SchemaError, match=r"'x' \(.*\), 7 \(Datetime.*\)\. Encode"):
        check_readable(frame)
