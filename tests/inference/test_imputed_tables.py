"""Imputation in every kind of table: what was observed stays."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from linear_models import linear
from scipy import sparse

from sk_infovae.exceptions import SchemaError

N = 60
POLARS = ["float", "float32", "Int64", "boolean", "category", "string", "time"]


def every_type(seed=0):
    """A pandas DataFrame with a column of every type, and the same with holes."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=N)
    first, seconds = pd.Timestamp("2020-01-01"), rng.integers(0, 10**7, N)
    X = pd.DataFrame(
        {
            "float": z + 0.1 * rng.normal(size=N),
            "float32": (3 * z).astype(np.float32),
            "Int64": pd.array(rng.poisson(3, N), dtype="Int64"),
            "boolean": pd.array(z > 0, dtype="boolean"),
            "category": pd.Categorical(rng.choice(["x", "y", "z"], N)),
            "string": pd.array(rng.choice(["u", "v"], N), dtype="string"),
            "object": rng.choice(np.array(["p", "q"], dtype=object), N),
            "time": first + pd.to_timedelta(seconds, unit="s").as_unit("ns") + pd.Timedelta(7),
            "zone": (first + pd.to_timedelta(seconds, unit="s")).tz_localize("UTC"),
        },
        index=pd.Index(rng.permutation(N) + 100, name="row"),
    )
    holes = rng.random(X.shape) < 0.25
    holes[3] = True
    holed = X.mask(holes)
    assert (holed.dtypes == X.dtypes).all()
    return X, holed


def frames(library):
    X, holed = every_type()
    return (
        (X, holed) if library == "pandas" else tuple(pl.from_pandas(x[POLARS]) for x in (X, holed))
    )


def missing(series):
    if isinstance(series, pl.Series):
        return series.is_null().to_numpy()
    return series.isna().to_numpy()


def only_holes_changed(filled, X):
    """Types, names, index and observed cells are as they were, and nothing is missing."""
    assert type(filled) is type(X)
    assert list(filled.columns) == list(X.columns)
    if isinstance(X, pd.DataFrame):
        pd.testing.assert_index_equal(filled.index, X.index)
        pd.testing.assert_index_equal(filled.columns, X.columns)
    for name in X.columns:
        seen = ~missing(X[name])
        assert filled[name].dtype == X[name].dtype
        seen = pl.Series(seen) if isinstance(X, pl.DataFrame) else seen
        mine, theirs = (
            one.filter(seen) if isinstance(one, pl.Series) else one[seen]
            for one in (filled[name], X[name])
        )
        assert mine.equals(theirs)
        assert not missing(filled[name]).any()
    return True


@pytest.fixture(scope="module", params=["pandas", "polars"])
def library(request):
    return request.param


@pytest.fixture(scope="module")
def framed(library):
    """A model of every type of column, fitted on a complete table, and one with holes."""
    X, holed = frames(library)
    return linear().fit(X), X, holed


@pytest.mark.parametrize("n_draws", [None, 2])
def test_observed_cells_of_a_frame_stay(framed, n_draws):
    vae, _, holed = framed
    before = holed.clone() if isinstance(holed, pl.DataFrame) else holed.copy()
    filled = vae.impute(holed, n_draws=n_draws, random_state=0)
    filled = [filled] if n_draws is None else filled
    assert len(filled) == (n_draws or 1)
    assert all(only_holes_changed(one, holed) for one in filled)
    assert before.equals(holed)


@pytest.mark.parametrize("n_draws", [None, 2])
def test_a_frame_without_holes_comes_back_as_it_is(framed, n_draws):
    vae, X, _ = framed
    filled = vae.impute(X, n_draws=n_draws)
    filled = [filled] if n_draws is None else filled
    assert all(only_holes_changed(one, X) for one in filled)
    assert all(one is not X for one in filled)


def test_what_is_filled_in_was_seen(framed):
    """Levels that fit saw and, of draws, numbers and times within the range that it saw."""
    vae, X, holed = framed
    for filled in [vae.impute(holed), *vae.impute(holed, n_draws=5, random_state=0)]:
        for name in X.columns:
            holes = missing(holed[name])
            new = [cell for cell, hole in zip(filled[name].to_list(), holes, strict=True) if hole]
            if name in ("category", "string", "object", "boolean"):
                assert set(new) <= set(X[name].to_list())
            else:
                assert X[name].min() <= min(new)
                assert max(new) <= X[name].max()


def test_index_and_names_of_a_frame():
    X, holed = every_type()
    vae = linear().fit(X)
    for index in (pd.Index([5] * N), pd.MultiIndex.from_product([range(2), range(N // 2)])):
        assert only_holes_changed(vae.impute(holed.set_axis(index)), holed.set_axis(index))
    named = holed.rename_axis(columns="columns")
    assert only_holes_changed(linear().fit(X.rename_axis(columns="columns")).impute(named), named)


def test_whole_columns_missing(framed, library):
    vae, _, holed = framed
    if library == "pandas":
        empty = holed.assign(**{name: holed[name].mask(np.ones(N, bool)) for name in holed})
        bare = holed.assign(float=np.nan, string=None, category=None, time=None)
    else:
        empty = holed.clear(N)
        bare = holed.with_columns(float=None, string=None, category=None, time=None)
    assert only_holes_changed(vae.impute(empty), empty)
    filled = vae.impute(bare)  # of no type of its own: that of fit
    assert filled["string"].dtype == holed["string"].dtype
    assert filled["category"].dtype == holed["category"].dtype
    assert filled["time"].dtype == holed["time"].dtype
    assert not any(missing(filled[name]).any() for name in filled.columns)


def test_unseen_levels_stay(framed, library):
    vae, _, holed = framed
    cells = ["new", None, *holed["string"].to_list()[2:]]
    other = ["new", None, *holed["category"].to_list()[2:]]
    if library == "pandas":
        X = holed.assign(string=pd.array(cells, dtype="string"), category=pd.Categorical(other))
    else:
        X = holed.with_columns(
            string=pl.Series(cells), category=pl.Series(other, dtype=pl.Categorical)
        )
    filled = vae.impute(X)
    assert only_holes_changed(filled, X)
    assert filled["string"].to_list()[0] == filled["category"].to_list()[0] == "new"
    with pytest.raises(SchemaError, match="'new', a level that fit did not see"):
        vae.set_params(handle_unknown="error").impute(X)
    vae.set_params(handle_unknown="missing")


def test_levels_that_are_not_among_the_categories_of_this_table():
    """The cells fitted in need not be categories of X; it then takes those of fit."""
    X, holed = every_type()
    narrow = holed.assign(category=holed["category"].cat.set_categories(["x"]))
    filled = linear().fit(X).impute(narrow)
    assert filled["category"].dtype == X["category"].dtype
    assert filled["category"][narrow["category"].notna()].eq("x").all()
    assert filled["category"].notna().all()


def test_enum_of_other_levels():
    X, holed = frames("polars")
    wide, narrow = pl.Enum(["w", "x", "y", "z"]), pl.Enum(["x", "y", "z"])
    vae = linear().fit(X.with_columns(X["category"].cast(pl.String).cast(narrow)))
    cells = ["w", None, *holed["category"].to_list()[2:]]
    Y = holed.with_columns(category=pl.Series(cells, dtype=wide))
    assert only_holes_changed(vae.impute(Y), Y)


def test_integers_in_a_column_of_floats():
    """Conditional means are no integers: the column becomes one of floats."""
    X, holed = every_type()
    whole = holed.assign(float=holed["float"].round().astype("Int64"))
    filled = linear().fit(X).impute(whole)["float"]
    seen = whole["float"].notna()
    assert (filled[seen] == whole["float"][seen]).all()
    assert (filled[~seen] != filled[~seen].round()).any()


def array(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(N, 4))
    holed = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    holed[3], holed[:, 2] = np.nan, np.nan
    return X, holed


@pytest.fixture(scope="module")
def fitted():
    return linear().fit(array()[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_draws", [None, 2])
def test_observed_cells_of_an_array_stay(fitted, dtype, n_draws):
    holed = array()[1].astype(dtype)
    before = holed.copy()
    filled = fitted.impute(holed, n_draws=n_draws, random_state=0)
    for one in [filled] if n_draws is None else filled:
        assert one.dtype == dtype
        assert np.isfinite(one).all()
        seen = ~np.isnan(holed)
        np.testing.assert_array_equal(one[seen], holed[seen])
    np.testing.assert_array_equal(before, holed)


def test_observed_cells_of_a_sparse_matrix_stay():
    """NaN is stored and missing; what is not stored is a zero."""
    rng = np.random.default_rng(0)
    X = sparse.csr_matrix(np.where(rng.random((N, 4)) < 0.5, 0.0, array()[0]))
    holed = X.copy()
    holed.data[::3] = np.nan
    filled = linear().fit(X).impute(holed)
    assert filled.format == "csr"
    seen = ~np.isnan(holed.toarray())
    np.testing.assert_array_equal(filled.toarray()[seen], holed.toarray()[seen])
    assert np.isfinite(filled.data).all()
    assert np.isnan(holed.data).any()
    whole = linear().fit(X).impute(X)
    assert whole is not X
    np.testing.assert_array_equal(whole.toarray(), X.toarray())


def test_an_array_without_holes_comes_back_as_a_copy(fitted):
    X = array()[0]
    for filled in (fitted.impute(X), *fitted.impute(X, n_draws=2)):
        assert not np.shares_memory(filled, X)
        np.testing.assert_array_equal(filled, X)


def test_levels_and_counts_in_an_array():
    rng = np.random.default_rng(0)
    X = np.column_stack([5.0 * rng.integers(0, 3, N), rng.poisson(3, N), array()[0][:, 0]])
    vae = linear(likelihood={0: "categorical", 1: "poisson"}).fit(X)
    holed = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    holed[0] = [77.0, np.nan, 0.5]
    filled = vae.impute(holed)
    assert filled[0, 0] == 77
    assert set(filled[1:, 0]) == {0, 5, 10}
    draws = np.array(vae.impute(holed, n_draws=4, random_state=0))
    assert set(draws[..., 1].ravel()) <= set(X[:, 1])


def test_seeds(fitted):
    holed = array()[1]
    np.testing.assert_array_equal(fitted.impute(holed), fitted.impute(holed, random_state=3))
    draw = lambda seed: np.array(fitted.impute(holed, n_draws=3, random_state=seed))  # noqa: E731
    np.testing.assert_array_equal(draw(0), draw(0))
    assert (draw(0) != draw(1)).any()
    first, second, third = draw(0)
    assert (first != second).any()
    assert (second != third).any()


def test_other_rows_change_nothing(fitted):
    holed = array()[1]
    filled = fitted.impute(holed)
    np.testing.assert_allclose(fitted.impute(holed[5:6]), filled[5:6], rtol=1e-9)


@pytest.mark.parametrize("n_draws", [0, -1, 2.0, "3"])
def test_numbers_of_draws_that_are_none(fitted, n_draws):
    with pytest.raises((ValueError, TypeError), match="n_draws"):
        fitted.impute(array()[1], n_draws=n_draws)


def test_values_that_can_not_be(fitted):
    X, holed = array()
    with pytest.raises(ValueError, match="infinity"):
        fitted.impute(np.where(np.arange(4) == 1, np.inf, holed))
    counts = linear(likelihood={0: "poisson"}).fit(np.column_stack([np.arange(N), X[:, 0]]))
    with pytest.raises(ValueError, match=r"Column 0 .* got 0\.5"):
        counts.impute([[0.5, np.nan], [1.0, 2.0]])
    with pytest.raises(ValueError, match="feature"):
        fitted.impute(holed[:, :3])
