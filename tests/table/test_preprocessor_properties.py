"""Tables of any columns, with holes anywhere: `TabularPreprocessor` gives them back."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from column_samples import same_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_infovae.preprocessing import TabularPreprocessor

tries = settings(derandomize=True, deadline=None, max_examples=40)

SIZED = {f"{u}int{bits}": (u, bits) for u in ("", "u") for bits in (8, 16, 32, 64)}
RANGES = {
    name: (0, 2**bits - 1) if u else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for name, (u, bits) in SIZED.items()
}
TICKS = st.integers(-(2**40), 2**40) | st.integers(-(10**18), 9 * 10**18)
DECIMALS = st.integers(-(10**6), 10**6).map(lambda k: k / 100)
SINGLES = st.floats(-1e6, 1e6, width=32)
TEXT = st.sampled_from(["a", "b", "", "nan", "None", "ü", "a b"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=4
)
DATES = st.dates(dt.date(2, 1, 1), dt.date(9998, 1, 1))
HOLE = st.booleans()


def capital(name):
    return name.replace("int", "Int").replace("u", "U")


def zoned(unit):
    return pd.DatetimeTZDtype(unit, "Europe/Oslo")


# Name to the cells, and from cells with None for holes to a series.
PANDAS = {"bool": (st.booleans(), "boolean"), "float": (DECIMALS, "float64")}
PANDAS |= {"single": (SINGLES, "float32"), "nullable": (DECIMALS, "Float64")}
PANDAS |= {"text": (TEXT, "string"), "objects": (TEXT, object), "categories": (TEXT, "category")}
PANDAS |= {"flags": (st.booleans(), object), "dates": (DATES, object)}
PANDAS |= {"arrow date": (DATES, pd.ArrowDtype(pa.date32()))}
PANDAS |= {name: (st.integers(*limits), capital(name)) for name, limits in RANGES.items()}
PANDAS |= {f"arrow {n}": (st.integers(*lim), f"{n}[pyarrow]") for n, lim in RANGES.items()}
PANDAS_TIMES = ["datetime64[ns]", "timedelta64[ns]", "datetime64[us]", zoned("ns"), zoned("us")]

POLARS = {"bool": (st.booleans(), pl.Boolean), "float": (DECIMALS, pl.Float64)}
POLARS |= {"single": (SINGLES, pl.Float32), "text": (TEXT, pl.String), "date": (DATES, pl.Date)}
POLARS |= {"categories": (TEXT, pl.Categorical)}
POLARS |= {
    name: (st.integers(*limits), getattr(pl, capital(name))) for name, limits in RANGES.items()
}
POLARS_TIMES = [pl.Datetime("ns"), pl.Datetime("us", "Asia/Tokyo"), pl.Duration("ns")]


@st.composite
def cells_of(draw, values, n_rows):
    """Cells with holes: none, some, or all."""
    holes = draw(st.sampled_from([st.just(False), HOLE, st.just(True)]))
    few = draw(st.lists(values, min_size=1, max_size=6))
    one = st.sampled_from(few) | values
    return [None if draw(holes) else draw(one) for _ in range(n_rows)]


@st.composite
def pandas_frames(draw):
    n_rows, columns = draw(st.integers(1, 8)), {}
    for j in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            values, dtype = PANDAS[draw(st.sampled_from(sorted(PANDAS)))]
            cells = draw(cells_of(values, n_rows))
            columns[f"c{j}"] = pd.Series(cells, dtype=dtype)
            continue
        ticks = pd.Series(draw(cells_of(TICKS, n_rows)), dtype="Int64")
        dtype = draw(st.sampled_from(PANDAS_TIMES))
        values = ticks.fillna(0).to_numpy(np.int64)
        unit = getattr(dtype, "unit", str(dtype)[-3:-1])
        bare = "timedelta64" if str(dtype).startswith("timedelta") else "datetime64"
        values = values // (1000 if unit == "us" else 1)
        times = pd.Series(values.view(f"{bare}[{unit}]")).mask(ticks.isna().to_numpy())
        zone = getattr(dtype, "tz", None)
        columns[f"c{j}"] = times.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else times
    return pd.DataFrame(columns)


@st.composite
def polars_frames(draw):
    n_rows, columns = draw(st.integers(1, 8)), {}
    for j in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            values, dtype = POLARS[draw(st.sampled_from(sorted(POLARS)))]
            columns[f"c{j}"] = pl.Series(draw(cells_of(values, n_rows)), dtype=dtype)
            continue
        dtype = draw(st.sampled_from(POLARS_TIMES))
        ticks = pl.Series(draw(cells_of(TICKS, n_rows)), dtype=pl.Int64)
        columns[f"c{j}"] = (ticks // (1000 if dtype.time_unit == "us" else 1)).cast(dtype)
    return pl.DataFrame(columns)


def law(X, encoding, n_fit):
    """The rows of fit come back to the last digit; all keep their dtypes."""
    numbers = TabularPreprocessor(encoding=encoding).fit(X[:n_fit])
    Z = numbers.transform(X[:n_fit])
    assert Z.dtype == np.float64
    assert Z.shape == (min(n_fit, len(X)), len(numbers.get_feature_names_out()))
    same_frame(numbers.inverse_transform(Z), X[:n_fit])
    np.testing.assert_array_equal(numbers.transform(numbers.inverse_transform(Z)), Z)
    return numbers


@tries
@given(pandas_frames(), st.sampled_from(["onehot", "ordinal"]))
def test_pandas_frames_come_back(X, encoding):
    law(X, encoding, len(X))


@tries
@given(polars_frames(), st.sampled_from(["onehot", "ordinal"]))
def test_polars_frames_come_back(X, encoding):
    law(X, encoding, len(X))


@tries
@given(polars_frames(), st.integers(0, 2**32 - 1))
def test_any_numbers_make_a_table_of_the_same_dtypes(X, seed):
    numbers = TabularPreprocessor().fit(X)
    width = len(numbers.get_feature_names_out())
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(20, width)) * 10.0 ** rng.integers(-3, 25, size=(20, width))
    Z[rng.random(Z.shape) < 0.1] = np.nan
    back = numbers.inverse_transform(Z)
    assert back.columns == X.columns
    numbers.transform(back)
    for name, column in X.to_dict().items():
        assert back[name].dtype == column.dtype
        if column.dtype.is_numeric() and column.drop_nulls().len() and column.min() >= 0:
            assert back[name].drop_nulls().len() == 0 or back[name].min() >= 0


REALS = st.floats(-1e100, 1e100, allow_subnormal=False)


@tries
@given(st.lists(REALS | DECIMALS | st.sampled_from([0.0, 1e-100]), min_size=1, max_size=20))
def test_reals_come_back_within_rounding(cells):
    X = pd.DataFrame({"x": cells})
    numbers = TabularPreprocessor().fit(X)
    back = numbers.inverse_transform(numbers.transform(X))
    np.testing.assert_allclose(back, X, rtol=1e-9, atol=1e-28 * X.abs().max().item())
    assert (back[X["x"] == 0] == 0).all().item()


@tries
@given(st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=20), st.integers(1, 19))
def test_integers_of_new_rows_are_exact_where_fit_saw_large_ones(cells, n_fit):
    X = pd.DataFrame({"x": [2**62, -(2**62), *cells]})
    numbers = TabularPreprocessor().fit(X[: 2 + n_fit])
    same_frame(numbers.inverse_transform(numbers.transform(X)), X)
