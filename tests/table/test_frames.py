"""Which tables are read, and how a table of the same kind is built again."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from column_samples import (
    frame_of,
    pandas_columns,
    polars_columns,
    same_frame,
    unreadable_pandas_columns,
    unreadable_polars_columns,
)
from scipy import sparse

from sk_infovae._table import polars_
from sk_infovae._table.schema import LevelCodec, Schema, container_of, is_frame, read_columns
from sk_infovae.exceptions import SchemaError

KINDS = {
    "Int64": "int",
    "uint8": "int",
    "arrow int64": "int",
    "large uint64": "int",
    "objects: int": "int",
    "Float32": "float",
    "float16": "float",
    "sparse": "float",
    "arrow double": "float",
    "objects: float": "float",
    "nothing in object": "float",
    "bool": "bool",
    "boolean": "bool",
    "arrow bool": "bool",
    "objects: bool, NA": "bool",
    "text object": "string",
    "text str": "string",
    "text string[pyarrow]": "string",
    "arrow large_string": "string",
    "nothing in str": "string",
    "text category": "category",
    "category of int": "category",
    "objects: date, NaT": "date",
    "date32": "time",
    "zoned us": "time",
    "arrow duration ns": "time",
}
POLARS_KINDS = {
    "UInt8": "int",
    "Float32": "float",
    "Null": "float",
    "Boolean": "bool",
    "text String": "string",
    "nothing in String": "string",
    "text Categorical": "category",
    "Enum": "category",
    "Date": "time",
    "Time": "time",
    "zoned ns": "time",
    "Duration ms": "time",
}


def fitted(X, levels=None, dtype=np.float64):
    """The schema of X; categories and strings have levels, and the positions in ``levels``."""
    raw = read_columns(X, dtype)
    choices = [
        SimpleNamespace(
            has_levels=one.kind in ("string", "category") or j in (levels or ()), is_ordered=False
        )
        for j, one in enumerate(raw)
    ]
    return Schema.fit(X, raw, choices)


def numbers():
    return pd.DataFrame({"f": [0.5, -1.5, 2.0], "i": [1, 0, 7], "b": [True, False, True]})


def mixed():
    return numbers().assign(s=["x", None, "y"], t=pd.to_datetime(["2020", None, "2021"]))


# What is read


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})])
def test_frames_are_known(frame):
    assert is_frame(frame)
    assert container_of(frame) == type(frame).__module__.split(".")[0]


@pytest.mark.parametrize(
    "X", [np.zeros((2, 2)), [[1.0]], sparse.csr_matrix((2, 2)), pd.Series([1]), pl.Series([1])]
)
def test_other_containers_are_no_frames(X):
    assert not is_frame(X)
    assert container_of(X) == "numpy"


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_pandas_columns(name):
    schema = fitted(frame_of(pandas_columns()[name], "a b"))
    assert schema.container == "pandas"
    assert schema.kinds.tolist() == [KINDS[name]]
    assert schema.names == ["a b"]


@pytest.mark.parametrize("name", POLARS_KINDS)
def test_kinds_of_polars_columns(name):
    schema = fitted(frame_of(polars_columns()[name], "a b"))
    assert schema.container == "polars"
    assert schema.kinds.tolist() == [POLARS_KINDS[name]]
    assert schema.names == ["a b"]


@pytest.mark.parametrize(
    ("X", "dtype", "kind", "returned"),
    [
        (np.zeros((2, 3)), np.float64, "float", np.float64),
        (np.zeros((2, 3), np.float32), np.float32, "float", np.float32),
        (np.zeros((2, 3)), np.int64, "float", np.float64),
        (np.zeros((2, 3)), bool, "bool", np.float64),
        (sparse.csr_matrix((2, 3)), np.float64, "float", np.float64),
        (sparse.csr_matrix((2, 3), dtype=np.float32), np.float32, "float", np.float32),
    ],
)
def test_arrays_have_one_kind_and_come_back_as_floats(X, dtype, kind, returned):
    schema = fitted(X, dtype=dtype)
    assert schema.container == "numpy"
    assert schema.kinds.tolist() == [kind] * 3
    assert schema.encode(X) is X
    built = schema.decode(np.array([[0.4, 0.6, 2.5]]))
    assert isinstance(built, np.ndarray)
    assert built.dtype == returned
    expected = [[0.0, 1.0, 1.0]] if kind == "bool" else [[0.4, 0.6, 2.5]]
    np.testing.assert_array_equal(built, np.array(expected, dtype=returned))


def test_a_column_of_an_array_can_hold_levels():
    X = np.array([[3.0, 0.1], [7.0, 0.2], [np.nan, 0.3], [7.0, 0.4]])
    schema = fitted(X, levels=[0])
    assert schema.has_levels.tolist() == [True, False]
    cells = schema.encode(X)
    np.testing.assert_array_equal(cells[:, 0], [1, 0, np.nan, 0])
    np.testing.assert_array_equal(schema.decode(cells), X)
    np.testing.assert_array_equal(schema.encode(np.array([[5.0, 0.0]])), [[np.nan, 0.0]])
    with pytest.raises(SchemaError, match=r"'5\.0', a level that fit did not see"):
        schema.encode(np.array([[5.0, 0.0]]), "error")
    with pytest.raises(SchemaError, match="CSR"):
        fitted(sparse.csr_matrix(X), levels=[0])


# What is refused


@pytest.mark.parametrize("name", unreadable_pandas_columns())
def test_unreadable_pandas_columns_are_named(name):
    bad = unreadable_pandas_columns()[name]
    frame = pd.DataFrame({"fine": [1.0] * len(bad), "bad one": bad})
    with pytest.raises(SchemaError, match=r"'bad one' \(.*drop them") as refusal:
        read_columns(frame)
    assert "'fine'" not in str(refusal.value)


@pytest.mark.parametrize("name", unreadable_polars_columns())
def test_unreadable_polars_columns_are_named(name):
    bad = unreadable_polars_columns()[name]
    frame = pl.DataFrame({"fine": [1.0] * len(bad), "bad one": bad})
    with pytest.raises(SchemaError, match=r"'bad one' \(.*drop them") as refusal:
        read_columns(frame)
    assert "'fine'" not in str(refusal.value)


def test_every_unreadable_column_is_named():
    frame = pd.DataFrame({"x": [[1]], 7: [1j], "z": [1]})
    with pytest.raises(SchemaError, match=r"'x' \(object\), 7 \(complex128\)\. Convert"):
        read_columns(frame)


@pytest.mark.parametrize("library", [pd, pl])
def test_a_table_without_columns_is_refused(library):
    with pytest.raises(SchemaError, match=r"0 feature\(s\)"):
        read_columns(library.DataFrame())


# What is built


@pytest.mark.parametrize("build", [lambda X: X, pl.from_pandas], ids=["pandas", "polars"])
def test_cells_give_back_the_table(build):
    X = build(mixed())
    schema = fitted(X)
    same_frame(schema.decode(schema.encode(X)), X)


def test_pandas_takes_the_index_it_is_given():
    schema = fitted(numbers())
    cells = schema.encode(numbers())
    for index in [
        pd.Index(["p", "q", "q"], name="row"),
        pd.date_range("2020", periods=3),
        pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["n", "m"]),
    ]:
        pd.testing.assert_index_equal(schema.decode(cells, index).index, index)
        same_frame(schema.decode(cells, index), numbers().set_axis(index))
    pd.testing.assert_index_equal(schema.decode(cells).index, pd.RangeIndex(3))


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b", "a"],
        [3, 1, 2],
        ["", "ü", "count"],
        ["a", 1, None],
        pd.RangeIndex(3),
        pd.Index(["a", "b", "c"], name="columns"),
        pd.CategoricalIndex(["a", "b", "c"]),
        pd.date_range("2020", periods=3),
        pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1)], names=["u", "v"]),
    ],
    ids=str,
)
def test_any_names_come_back(names):
    X = numbers().set_axis(names, axis=1)
    schema = fitted(X)
    same_frame(schema.decode(schema.encode(X)), X)


@pytest.mark.parametrize("index", [["p", "q", "q"], pd.date_range("2020", periods=3)])
def test_any_index_is_read(index):
    X = mixed().set_axis(index)
    np.testing.assert_array_equal(fitted(X).encode(X), fitted(mixed()).encode(mixed()))


def test_polars_columns_may_have_any_name():
    X = pl.DataFrame({"count": ["a", "b"], "": ["x", "x"], "level": [1, 2]})
    schema = fitted(X)
    same_frame(schema.decode(schema.encode(X)), X)


@pytest.mark.parametrize("build", [lambda X: X, pl.from_pandas], ids=["pandas", "polars"])
def test_no_rows_keep_names_and_dtypes(build):
    X = build(mixed())
    built = fitted(X).decode(np.empty((0, 5)))
    assert built.shape == (0, 5)
    assert list(built.columns) == list(X.columns)
    assert list(built.dtypes) == list(X.dtypes)


# Another container than in fit


def test_pandas_and_polars_hold_the_same_cells():
    """Column by column: every dtype that goes over from one library to the other."""
    for name, series in pandas_columns().items():
        if name in ("category of intervals", "category of anything", "sparse", "objects: bool, NA"):
            continue  # unknown to polars
        X = frame_of(series)
        other = pl.DataFrame({"x": polars_.from_other(series)})
        cells = fitted(X).encode(X)
        np.testing.assert_allclose(fitted(X).encode(other), cells, rtol=1e-15, err_msg=name)
    for name, series in polars_columns().items():
        X = frame_of(series)
        schema = fitted(X)
        if name not in ("Time", "Date"):  # pandas has no clock, and Python's dates in another unit
            np.testing.assert_array_equal(
                schema.encode(
                    X.to_pandas(use_pyarrow_extension_array=name.startswith(("large", "beyond")))
                ),
                schema.encode(X),
                err_msg=name,
            )


def test_large_integers_with_holes_keep_every_digit_between_the_libraries():
    X = pl.DataFrame({"x": [2**60 + 1, None, 2**60 + 3]})
    pandas = pd.DataFrame({"x": pd.Series([2**60 + 1, None, 2**60 + 3], dtype="Int64")})
    for schema, other in [(fitted(pandas), X), (fitted(X), pandas)]:
        np.testing.assert_array_equal(schema.encode(other)[:, 0], [-1, np.nan, 1])


def test_an_array_of_numbers_is_as_good_as_a_frame():
    X = numbers()
    array = X.to_numpy(dtype=float)
    for frame in (X, pl.from_pandas(X)):
        np.testing.assert_array_equal(fitted(frame).encode(array), array)
        np.testing.assert_array_equal(fitted(array).encode(frame), array)


def test_an_array_is_no_table_of_levels_or_times():
    for X in (mixed(), pl.from_pandas(mixed())):
        with pytest.raises(SchemaError, match=r"column 's' .* an array can't hold\. Pass a DataF"):
            fitted(X).encode(np.zeros((2, 5)))
        with pytest.raises(
            SchemaError, match=r"Fit saw an array .* column 's' .* holds none\. Pas"
        ):
            fitted(np.zeros((2, 5))).encode(X)


# Missing cells


@pytest.mark.parametrize("build", [lambda X: X, pl.from_pandas], ids=["pandas", "polars"])
def test_holes_are_filled_and_nothing_else_changes(build):
    X = mixed().assign(f=[np.nan, 0.1 + 0.2, 2.0], i=pd.array([None, 2, 3], dtype="Int64"))
    X["large"] = [2**60 + 1, 5, 7]
    whole = X.assign(s=["x", "y", "y"], t=pd.to_datetime(["2020", "2021", "2021"]))
    whole = build(whole.assign(f=[1.5, 0.1 + 0.2, 2.0], i=pd.array([3, 2, 3], "Int64")))
    X = build(X)
    schema = fitted(X)
    holes = schema.holes(X)
    assert holes.tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
    cells = schema.encode(whole)
    rows = np.array([0, 1])
    same_frame(schema.fill(X, holes, rows, cells[rows]), whole)


def test_holes_of_arrays_are_filled_as_in_frames():
    X = np.array([[np.nan, 1.0, 0.0], [2.0, np.nan, 1.0]])
    for schema in (fitted(X), fitted(numbers())):
        filled = schema.fill(X, schema.holes(X), np.array([0, 1]), np.full((2, 3), 7.0))
        np.testing.assert_array_equal(filled, [[7.0, 1.0, 0.0], [2.0, 7.0, 1.0]])
    csr = sparse.csr_matrix(X)
    filled = fitted(csr).fill(csr, fitted(csr).holes(csr), np.array([0, 1]), np.full((2, 3), 7.0))
    assert sparse.issparse(filled)
    np.testing.assert_array_equal(filled.toarray(), [[7.0, 1.0, 0.0], [2.0, 7.0, 1.0]])


def test_NaN_in_arrow_and_in_polars_is_missing():
    arrow = pd.Series([0.0, 1.0], dtype="double[pyarrow]")
    frames = [(arrow / arrow).to_frame("x"), pl.DataFrame({"x": [float("nan"), 1.0]})]
    for X in frames:
        assert fitted(X).holes(X).tolist() == [[True], [False]]


# One library without the other

SCRIPT = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {other!r}:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
import {library} as library
from sk_infovae.preprocessing import TabularPreprocessor
X = library.DataFrame({{"x": [1.5, None, 2.0], "s": ["a", None, "b"], "i": [1, 2, 3]}})
numbers = TabularPreprocessor(categorical_features=["i"]).fit(X)
back = numbers.inverse_transform(numbers.transform(X))
assert back.equals(X), back
assert {other!r} not in sys.modules
"""


@pytest.mark.parametrize(("library", "other"), [("pandas", "polars"), ("polars", "pandas")])
def test_one_library_does_without_the_other(library, other):
    script = SCRIPT.format(library=library, other=other)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_levels_keep_no_rows():
    X = pd.DataFrame({"s": ["x", "y"] * 5000})
    (column,) = fitted(X).columns
    assert isinstance(column, LevelCodec)
    assert len(column.levels) == 2
    assert len(column.like) == 0
