"""Columns of every dtype go through a file and come back the same."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from column_samples import frame_of, pandas_columns, polars_columns, same_frame

from sk_infovae._files import container
from sk_infovae._files.model import KNOWN, RECORDS
from sk_infovae._files.values import Reader, Writer
from sk_infovae._model.layout import ColumnSpec, read_schema

COLUMNS = {f"pandas {name}": series for name, series in pandas_columns().items()}
COLUMNS |= {f"polars {name}": series for name, series in polars_columns().items()}


def through_a_file(value):
    writer = Writer(RECORDS, KNOWN)
    tree = writer.write(value, "value")
    _, tree, arrays = container.unpack(container.pack("test", 1, tree, writer.arrays), "test", 1)
    return Reader(RECORDS, arrays, KNOWN, ()).read(tree)


def same_schema(back, schema, X):
    cells = schema.encode(X)
    np.testing.assert_array_equal(back.encode(X), cells)
    same_frame(back.decode(cells), schema.decode(cells))
    holes = np.full_like(cells, np.nan)
    same_frame(back.decode(holes), schema.decode(holes))


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("levels", [False, True])
def test_every_column(name, levels):
    if levels and "arrow duration" in name and pd.__version__ < "3":
        pytest.skip("pandas 2 takes each level of arrow's durations to nanoseconds, or fails")
    X = frame_of(COLUMNS[name])
    spec = ColumnSpec(categorical_features=["x"] if levels else "from_dtype")
    schema, _ = read_schema(X, None, spec)
    same_schema(through_a_file(schema), schema, X)


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        [1, 0],
        [("a", 1), ("a", 2)],
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["one", None]),
        pd.Index(["a", "a"], name="twice"),
        pd.date_range("2020", periods=2, tz="UTC"),
        pd.RangeIndex(2),
        pd.CategoricalIndex(["u", "v"]),
        [None, "x"],
    ],
    ids=str,
)
def test_every_header(names):
    X = pd.DataFrame(np.arange(4.0).reshape(2, 2))
    X.columns = names
    schema, _ = read_schema(X, None, ColumnSpec())
    back = through_a_file(schema)
    same_schema(back, schema, X)
    assert back.header.equals(schema.header)
    assert type(back.header) is type(schema.header)
    assert list(back.header.names) == list(schema.header.names)
    assert repr(back.names) == repr(schema.names)


def test_free_text_of_both_libraries():
    words = [f"word {k}" for k in range(90)]
    for X in (pd.DataFrame({"note": words, "x": 0.5}), pl.DataFrame({"note": words, "x": 0.5})):
        schema, _ = read_schema(X, None, ColumnSpec())
        assert schema.left_out == ["note"]
        same_schema(through_a_file(schema), schema, X)


def test_scalars_and_containers():
    values = {
        "floats": [0.1, -0.0, float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308],
        "integers": [0, -1, 2**53 + 1, 2**64, -(2**70)],
        "text": ["", "süd 雪", "\ud800", "\x00", "a\nb"],
        ("tuple", 1): (1, (2, "x"), [3]),
        None: {1: "a", "1": "b", 1.5: None},
    }
    back = through_a_file(values)
    assert repr(back) == repr(values)
    assert np.isnan(through_a_file(float("nan")))
    for array in [np.arange(6.0).reshape(2, 3).T, np.zeros((0, 3)), np.array(5, np.uint8)]:
        found = through_a_file(array)
        np.testing.assert_array_equal(found, array)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.flags.writeable
    names = np.array([["a", "b"]], dtype=object)
    np.testing.assert_array_equal(through_a_file(names), names)
