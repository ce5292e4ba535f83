"""One column as float64 cells, and back: values, order of levels, bounds, resolutions."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from column_samples import frame_of, pandas_columns, polars_columns, same_frame

from sk_infovae._table.codecs import LIBRARIES, LevelCodec, NumberCodec, TickCodec, fit_column
from sk_infovae._table.texts import RawColumn, TextColumn, find_texts
from sk_infovae.exceptions import SchemaError

SAMPLES = {f"pandas {name}": series for name, series in pandas_columns().items()}
SAMPLES |= {f"polars {name}": series for name, series in polars_columns().items()}
TEXT_KINDS = ("string", "category")
DAY = 86_400


def measured(series, levels=None, ordered=False):
    """The column as fit would measure it."""
    container = "pandas" if isinstance(series, pd.Series) else "polars"
    kind = LIBRARIES[container].kind_of(series)
    levels = kind in TEXT_KINDS if levels is None else levels
    return fit_column("x", kind, series, container, levels=levels, ordered=ordered)


def both(cells, dtype=None, polars_dtype=None):
    """The same cells in both libraries."""
    return [pd.Series(cells, dtype=dtype), pl.Series(cells, dtype=polars_dtype)]


def listed(series):
    """Python objects, None where missing."""
    cells = series.astype(object).tolist() if isinstance(series, pd.Series) else series.to_list()
    return [None if pd.isna(cell) else cell for cell in cells]


@pytest.mark.parametrize("name", SAMPLES)
def test_cells_are_nan_exactly_where_the_series_is_missing(name):
    series = SAMPLES[name]
    column = measured(series)
    cells = column.encode(series)
    assert cells.dtype == np.float64
    assert cells.shape == (len(series),)
    missing = [cell is None or cell != cell for cell in listed(series)]
    np.testing.assert_array_equal(np.isnan(cells), missing)


@pytest.mark.parametrize("name", SAMPLES)
def test_cells_and_remainder_give_back_the_series(name):
    series = SAMPLES[name]
    column = measured(series)
    cells = column.encode(series)
    back = column.decode(cells, column.remainder(series, cells))
    same_frame(frame_of(back), frame_of(series))


@pytest.mark.parametrize("name", SAMPLES)
def test_no_cells_keep_the_dtype(name):
    series = SAMPLES[name]
    back = measured(series).decode(np.empty(0))
    assert len(back) == 0
    assert back.dtype == series.dtype


@pytest.mark.parametrize("name", SAMPLES)
def test_all_missing_is_missing_again(name):
    """A dtype without missing cells gives way to one that has them."""
    series = SAMPLES[name]
    column = measured(series)
    back = column.decode(np.full(3, np.nan))
    assert listed(back) == [None] * 3
    holds_none = isinstance(series.dtype, np.dtype) and series.dtype.kind in "iub"
    assert holds_none or back.dtype == series.dtype


@pytest.mark.parametrize("name", SAMPLES)
def test_any_number_becomes_a_cell_of_the_dtype(name):
    """What a model makes up may be far out: it is clipped, never wrapped round."""
    series = SAMPLES[name]
    column = measured(series)
    cells = np.array([-1e300, -1e30, -0.4, 0.0, 0.6, 1e30, 1e300])
    cells = np.clip(cells, -1e4, 1e4) if "float16" in name else cells
    if isinstance(column, NumberCodec) and column.kind == "float":
        cells = np.clip(cells, -1e4, 1e4)
    back = column.decode(cells)
    assert back.dtype == series.dtype or "Null" in name
    if not isinstance(column, LevelCodec) and "nothing" not in name:
        again = column.encode(back)
        assert (np.diff(again) >= 0).all()


@pytest.mark.parametrize("remainder", [-1e300, -3.0, 3.0, 1e300])
@pytest.mark.parametrize(
    "name", [n for n in SAMPLES if isinstance(measured(SAMPLES[n]), TickCodec)]
)
def test_a_remainder_never_leaves_the_dtype(name, remainder):
    series = SAMPLES[name]
    column = measured(series)
    cells = np.array([-1e30, 0.0, 1e30])
    back = column.encode(column.decode(cells, np.full(3, remainder)))
    assert back[0] <= back[1] <= back[2]
    assert back[0] < back[2]


def test_a_remainder_is_rounded_to_whole_ticks():
    for series in both([2**60 + 1, 2**60 + 2**20 + 3]):
        column = measured(series)
        rest = column.remainder(series, np.zeros(2))
        for noise in (-1e-6, 1e-6):
            assert listed(column.decode(np.zeros(2), rest + noise)) == listed(series)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("Int8", -128, 127),
        ("UInt8", 0, 255),
        ("Int16", -(2**15), 2**15 - 1),
        ("UInt32", 0, 2**32 - 1),
        # float64 has no number between these and the end of the range.
        ("Int64", -(2**63), 2**63 - 1024),
        ("UInt64", 0, 2**64 - 2048),
    ],
)
def test_integers_are_rounded_and_stay_in_the_range_of_their_dtype(dtype, low, high):
    """Rounded half to even, then clipped."""
    cells = np.array([-1e30, -1e3, -0.6, 2.5, 3.5, 1e3, 1e30])
    expected = [min(max(int(np.rint(cell)), low), high) for cell in cells]
    seen = [min(-1, 0) if low < 0 else 0, 1]
    frames = [pd.Series(seen).astype(name) for name in (dtype.lower(), dtype)]
    frames.append(pd.Series(seen).astype(dtype.lower() + "[pyarrow]"))
    frames.append(pl.Series(seen).cast(getattr(pl, dtype)))
    for series in frames:
        back = measured(series).decode(cells)
        assert [int(cell) for cell in back] == expected
        assert back.dtype == series.dtype


@pytest.mark.parametrize("cells", [[0, 3], [0.0, 2.5], [2**60, 2**60 + 1]])
def test_without_negative_numbers_in_fit_there_are_none(cells):
    for series in both(cells):
        column = measured(series)
        assert column.encode(column.decode(np.array([-1e19])))[0] == column.encode(series * 0)[0]


def test_a_duration_without_negative_ones_in_fit_stays_so():
    for series in both([dt.timedelta(1), dt.timedelta(2)]):
        assert listed(measured(series).decode(np.array([-5.0]))) == [dt.timedelta(0)]
    for series in both([dt.timedelta(-1), dt.timedelta(2)]):
        assert listed(measured(series).decode(np.array([-5.5])))[0] < dt.timedelta(-2)


def test_any_time_can_be_a_python_object():
    """Beyond the years 1 to 9999 and the longest timedelta, Python has none."""
    for cells in ([dt.datetime(2020, 1, 1)], [dt.date(2020, 1, 1)], [dt.timedelta(-1)]):
        for series in both(cells):
            first, last = listed(measured(series).decode(np.array([-1e30, 1e30])))
            assert first < cells[0] < last
    millis = pl.Series([dt.timedelta(-1)], dtype=pl.Duration("ms"))
    longest = listed(measured(millis).decode(np.array([1e30])))
    assert longest == [dt.timedelta(999_999_999)]


@pytest.mark.parametrize("cells", [[-1, 3], [-1.5, 2.5]])
def test_negative_numbers_stay_where_fit_saw_some(cells):
    for series in both(cells):
        assert measured(series).decode(np.array([-70.0]))[0] == -70


def test_booleans_are_true_above_one_half():
    for series in both([True, False]):
        back = measured(series).decode(np.array([-3.0, 0.5, 0.500001, 7.0]))
        assert back.to_list() == [False, False, True, True]


# Levels


def codes(series, **options):
    column = measured(series, levels=True, **options)
    return list(column.levels), column.encode(series).tolist()


def test_levels_are_sorted_by_frequency_and_then_by_name():
    for series in both(["b", "c", "a", "c", "d", "d"]):
        assert codes(series) == (["c", "d", "a", "b"], [3, 0, 2, 0, 1, 1])


def test_levels_of_a_category_keep_its_order_among_the_equally_frequent():
    series = pd.Series(pd.Categorical(["a", "b", "c", "c"], categories=["c", "b", "a", "d"]))
    assert codes(series) == (["c", "b", "a"], [2, 1, 0, 0])
    series = pl.Series(["a", "b", "c", "c"], dtype=pl.Enum(["c", "b", "a", "d"]))
    assert codes(series) == (["c", "b", "a"], [2, 1, 0, 0])


def test_ordered_levels_keep_their_natural_order():
    for series in both([10, 2, 10, 10, 7]):
        assert codes(series, ordered=True)[0] == [2, 7, 10]
    lexical = ["lo", "hi", "hi", "lo", "lo", None]
    order = pd.CategoricalDtype(["lo", "mid", "hi"], ordered=True)
    for series in (
        pd.Series(lexical, dtype=order),
        pl.Series(lexical, dtype=pl.Enum(["lo", "hi"])),
    ):
        assert codes(series, ordered=True)[0] == ["lo", "hi"]


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(["a", "b"]),
        pd.Series(["a", "b"], dtype="category"),
        pl.Series(["a", "b"]),
        pl.Series(["a", "b"], dtype=pl.Categorical),
    ],
)
def test_levels_without_an_order_are_refused_where_one_is_needed(series):
    with pytest.raises(
        SchemaError, match=r"'x' has no order .*Convert it .*or choose 'categorical'"
    ):
        measured(series, ordered=True)


@pytest.mark.parametrize("name", [n for n in SAMPLES if "float16" not in n])
def test_any_column_can_be_read_as_levels(name):
    series = SAMPLES[name]
    column = measured(series, levels=True)
    cells = column.encode(series)
    same_frame(frame_of(column.decode(cells)), frame_of(series))
    assert set(cells[~np.isnan(cells)]) == set(range(len(column.levels)))


def test_codes_are_rounded_and_clipped_to_the_levels():
    for series in both(["a", "a", "b"]):
        back = measured(series).decode(np.array([-3.0, 0.4, 0.6, 9.0, np.nan]))
        assert listed(back) == ["a", "a", "b", "b", None]


def test_categories_map_by_value_and_not_by_position():
    fitted = measured(pd.Series(["x", "y", "y"], dtype=pd.CategoricalDtype(["x", "y"])))
    other = pd.Series(["y", "w", "x"], dtype=pd.CategoricalDtype(["w", "y", "x"]))
    np.testing.assert_array_equal(fitted.encode(other), [0, np.nan, 1])
    fitted = measured(pl.Series(["x", "y", "y"], dtype=pl.Enum(["x", "y"])))
    other = pl.Series(["y", "w", "x"], dtype=pl.Enum(["w", "y", "x"]))
    np.testing.assert_array_equal(fitted.encode(other), [0, np.nan, 1])


def test_strings_and_categories_of_strings_are_the_same_levels():
    for text in both(["x", "y", "y", None]):
        dtypes = ["category", object] if isinstance(text, pd.Series) else [pl.Categorical]
        cast = text.astype if isinstance(text, pd.Series) else text.cast
        for dtype in dtypes:
            expected = measured(text).encode(text)
            np.testing.assert_array_equal(measured(text).encode(cast(dtype)), expected)
            np.testing.assert_array_equal(measured(cast(dtype)).encode(text), expected)


def test_numbers_read_as_levels_are_compared_by_value():
    for series, floats in zip(both([1, 2, 2]), both([1.0, 1.5, 2.0, None]), strict=True):
        column = measured(series, levels=True)
        np.testing.assert_array_equal(column.encode(floats), [1, np.nan, 0, np.nan])


def text_cells(n_once, n_pairs, n_many=0):
    return [f"note {k}" for k in range(n_once)] + [
        f"pair {k % n_pairs}" for k in range(2 * n_pairs)
    ]


def kinds_of(series, wanted=(), text_features="drop"):
    raw = [RawColumn("a", "int", None), RawColumn("x", "string", series)]
    container = type(series).__module__.split(".")[0]
    return [one.kind for one in find_texts(raw, container, wanted, text_features)]


@pytest.mark.parametrize("cells", [text_cells(51, 5), text_cells(900, 10)])
def test_free_text_is_known(cells):
    for series in both(cells):
        assert kinds_of(series) == ["int", "text"]
        assert kinds_of(series, wanted={1}, text_features="error") == ["int", "string"]
        with pytest.raises(
            SchemaError, match=r"'x' looks like free text: \d+ .*Drop it, or encode"
        ):
            kinds_of(series, text_features="error")


@pytest.mark.parametrize("cells", [text_cells(45, 5), text_cells(10, 60)])
def test_few_or_repeated_strings_are_no_free_text(cells):
    for series in both(cells):
        assert kinds_of(series) == ["int", "string"]
        assert len(measured(series).levels) > 45


def test_a_column_of_free_text_is_empty_in_its_own_dtype():
    for series in both(["a", "b", None]):
        for part in (series[:2], series):  # what is missing is known, or not
            library = LIBRARIES[type(series).__module__.split(".")[0]]
            column = TextColumn("x", library.like(part), type(series).__module__.split(".")[0])
            empty = column.empty(4)
            assert empty.dtype == series.dtype
            assert library.missing(empty).tolist() == [True] * 4


# Times


def test_times_count_in_days():
    hours = [dt.datetime(2020, 1, 1, 6), dt.datetime(2020, 1, 2, 18), dt.datetime(2020, 1, 4)]
    for series in both(hours):
        np.testing.assert_allclose(np.diff(measured(series).encode(series)), [1.5, 1.25])
    for series in both([dt.date(2020, 2, 28), dt.date(2020, 3, 1)]):
        np.testing.assert_array_equal(np.diff(measured(series).encode(series)), [2])


INSTANTS = ["2020-01-01 10:00:01", "1990-05-05 03:00:59", None, "2030-06-06"]


def in_units(library, kind):
    times = pd.Series(pd.to_datetime(INSTANTS, format="ISO8601").as_unit("ns"))
    times = times if kind == "datetime" else times - times[0]
    if library == "pandas":
        return {unit: times.dt.as_unit(unit) for unit in ("s", "ms", "us", "ns")}
    times, dtype = pl.from_pandas(times), pl.Datetime if kind == "datetime" else pl.Duration
    return {unit: times.cast(dtype(unit)) for unit in ("ms", "us", "ns")}


@pytest.mark.parametrize("kind", ["datetime", "duration"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_unit_of_a_time_may_change_after_fit(library, kind):
    series = in_units(library, kind)
    for fitted in series.values():
        column = measured(fitted)
        for other in series.values():
            np.testing.assert_array_equal(column.differences(other), column.differences(fitted))
            np.testing.assert_array_equal(column.encode(other), column.encode(fitted))


def test_units_are_converted_in_integers():
    """A microsecond over 200 years is lost in float64, not here."""
    instants = ["1850-01-01 00:00:00.123457001", "2049-12-31 01:02:03.654321"]
    times = pd.Series(pd.to_datetime(instants, format="ISO8601").as_unit("ns"))
    micros = times.dt.as_unit("us")
    column = measured(micros)
    np.testing.assert_array_equal(column.differences(times), column.differences(micros))
    column = measured(times)
    expected = column.differences(times) - [1, 0]
    np.testing.assert_array_equal(column.differences(micros), expected)


def test_what_is_finer_than_the_unit_of_fit_is_cut_off():
    days = measured(pd.Series([dt.date(2020, 1, 1), dt.date(1960, 1, 1)], dtype=object))
    for hour in ("00:00", "11:00", "23:59:59.999"):
        late = pd.Series(pd.to_datetime([f"2020-01-01 {hour}", f"1960-01-01 {hour}"]))
        np.testing.assert_array_equal(np.diff(days.encode(late)), [-21915])
        assert days.decode(days.encode(late)).tolist() == [dt.date(2020, 1, 1), dt.date(1960, 1, 1)]


@pytest.mark.parametrize(
    ("fitted", "other"),
    [
        (pd.to_datetime(["2020-01-01"]).as_unit("ns"), np.array(["3000-01-01"], "datetime64[s]")),
        (pd.to_datetime(["2020-01-01"]).as_unit("ns"), pd.Series([pd.Timestamp.min])),
        (np.array([2**63 - 5]), np.array([-(2**63)])),
    ],
)
def test_values_that_64_bits_do_not_reach_are_refused(fitted, other):
    fitted, other = pd.Series(fitted), pd.Series(other)
    with pytest.raises(SchemaError, match=r"'x' holds values farther .*Leave these rows out"):
        measured(fitted).encode(other)


# What a column refuses

READS = {
    "numbers": [[1, 2], [1.5, None], [True, False]],
    "text": [["a", "b"]],
    "instants": [[dt.datetime(2020, 1, 1)], [dt.date(2020, 1, 1)]],
    "durations": [[dt.timedelta(1)]],
}
GROUPS = [(name, cells) for name, several in READS.items() for cells in several]


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize(("group", "cells"), GROUPS)
@pytest.mark.parametrize(("other_group", "other"), GROUPS)
def test_a_column_of_another_kind_is_refused(library, group, cells, other_group, other):
    column = measured(library.Series(cells))
    if group == other_group:
        column.check(library.Series(other))
        return
    with pytest.raises(SchemaError, match=r"'x' was of kind .* in fit, and is .* now\. Convert it"):
        column.check(library.Series(other))


def test_levels_of_another_kind_are_refused():
    for numbers, text in zip(both([1, 2]), both(["1", "2"]), strict=True):
        for one, other in [(numbers, text), (text, numbers)]:
            with pytest.raises(SchemaError, match="Convert it"):
                measured(one, levels=True).check(other)
    text, number = pd.Series(["1"], dtype="category"), pd.Series([1], dtype="category")
    with pytest.raises(SchemaError, match="Convert it"):
        measured(text).check(number)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_column_of_nothing_is_read_by_every_column(name):
    series = SAMPLES[name]
    column = measured(series)
    if isinstance(series, pd.Series):
        nothing = [pd.Series([None, np.nan], dtype=dtype) for dtype in (object, float, "string")]
        nothing.append(pd.Series([pd.NaT, pd.NaT]))
    else:
        nothing = [pl.Series([None, None], dtype=dtype) for dtype in (pl.Null, pl.String, pl.Date)]
    for other in nothing:
        column.check(other)
        cells = column.encode(other)
        assert np.isnan(cells).all()
        rest = column.remainder(other, cells)
        assert rest is None or np.isnan(rest).all()


def test_a_zone_is_no_local_time():
    naive = pd.Series(pd.to_datetime(["2020-01-01"]))
    zoned = naive.dt.tz_localize("Europe/Oslo")
    elsewhere = zoned.dt.tz_convert("Asia/Tokyo")
    for one, other in [(naive, zoned), (zoned, naive)]:
        with pytest.raises(SchemaError, match="Convert it"):
            measured(one).check(other)
        with pytest.raises(SchemaError, match="Convert it"):
            measured(pl.from_pandas(one)).check(pl.from_pandas(other))
    column = measured(zoned)
    column.check(elsewhere)
    np.testing.assert_array_equal(column.encode(elsewhere), column.encode(zoned))


def test_large_integers_do_not_become_floats_unnoticed():
    large = pd.Series([2**60, 2**60 + 1])
    with pytest.raises(SchemaError, match="Convert it to the dtype it had in fit"):
        measured(large).check(large.astype(float))


def test_fit_keeps_no_rows():
    """Of a column stays its dtype, and one missing cell where there was one."""
    for series in SAMPLES.values():
        like = measured(series).like
        assert len(like) == min(1, sum(cell is None or cell != cell for cell in listed(series)))
        assert listed(like) in ([], [None])
