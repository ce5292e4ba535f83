"""`TabularPreprocessor` on its own: what it makes of a table, what it gives back, its manners."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from column_samples import frame_of, pandas_columns, polars_columns, same_frame
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_infovae.exceptions import SchemaError
from sk_infovae.preprocessing import TabularPreprocessor

SAMPLES = {f"pandas {name}": series for name, series in pandas_columns().items()}
SAMPLES |= {f"polars {name}": series for name, series in polars_columns().items()}
LIBRARIES = {"pandas": lambda X: X, "polars": pl.from_pandas}
both = pytest.mark.parametrize("build", LIBRARIES.values(), ids=LIBRARIES)


def table(n_rows=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "price": np.round(rng.normal(20, 3, size=n_rows), 2),
            "count": rng.integers(0, 9, n_rows),
            "city": rng.choice(["Rome", "Oslo", "Lima"], n_rows),
            "member": rng.random(n_rows) > 0.5,
            "day": pd.date_range("2020-01-01", periods=n_rows, freq="37h").astype("datetime64[us]"),
        }
    )


def there_and_back(X, **params):
    numbers = TabularPreprocessor(**params).fit(X)
    return numbers.inverse_transform(numbers.transform(X))


# There and back


@pytest.mark.parametrize("encoding", ["onehot", "ordinal"])
@pytest.mark.parametrize("name", SAMPLES)
def test_every_column_comes_back(name, encoding):
    X = frame_of(SAMPLES[name])
    same_frame(there_and_back(X, encoding=encoding), X)
    same_frame(there_and_back(X[:1], encoding=encoding), X[:1])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_all_columns_at_once_come_back(library):
    samples = {n.split(" ", 1)[1]: s for n, s in SAMPLES.items() if n.startswith(library)}
    kind = pd.DataFrame if library == "pandas" else pl.DataFrame
    X = kind({name: series[:3] for name, series in samples.items() if len(series) > 2})
    assert X.shape[1] > 25
    same_frame(there_and_back(X), X)


def test_new_rows_come_back_too():
    X = table()
    numbers = TabularPreprocessor().fit(X[:40])
    same_frame(numbers.inverse_transform(numbers.transform(X[40:])), X[40:].reset_index(drop=True))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_decimals_come_back_exactly_and_reals_within_rounding(scale):
    rng = np.random.default_rng(0)
    reals = pd.DataFrame({"x": scale * rng.normal(3, 1, size=2000)})
    np.testing.assert_allclose(there_and_back(reals), reals, rtol=1e-9, atol=1e-15 * scale)
    for digits in range(8):
        decimals = (reals / scale).round(digits)
        same_frame(there_and_back(decimals), decimals)
    same_frame(there_and_back(reals.astype(np.float32)), reals.astype(np.float32))


@pytest.mark.parametrize(
    "cells", [[0.0, 1 / 3, 7.7e5, 8.8e5 / 7], [1e-20, 1 / 3, 3e7], [1e-9, 1 / 7, 1e18]]
)
def test_floats_of_very_different_sizes_need_a_remainder(cells):
    X = pd.DataFrame({"x": cells})
    numbers = TabularPreprocessor().fit(X)
    assert numbers.get_feature_names_out().tolist() == ["x", "x_remainder"]
    np.testing.assert_allclose(numbers.inverse_transform(numbers.transform(X)), X, rtol=1e-15)


def test_floats_between_those_of_fit_stay_between():
    """Fit saw whole numbers, or few decimals: a model's numbers are not rounded to them."""
    for cells in ([1.0, 2.0, 4.0], [0.1, 0.2, 0.4]):
        numbers = TabularPreprocessor().fit(pd.DataFrame({"x": cells}))
        new = pd.DataFrame({"x": [1 / 3, 2.34567, 1e-3]})
        back = numbers.inverse_transform(numbers.transform(new))
        np.testing.assert_allclose(back, new, rtol=1e-12)


@both
def test_nanoseconds_and_large_integers_keep_every_digit(build):
    rng = np.random.default_rng(0)
    times = pd.to_datetime(rng.integers(0, 2 * 10**18, 300))
    X = pd.DataFrame({"t": times, "z": times.tz_localize("UTC").tz_convert("Asia/Tokyo")})
    X["key"] = rng.integers(2**60, 2**62, 300)
    X["short"] = pd.to_datetime(rng.integers(0, 10**9, 300))
    numbers = TabularPreprocessor().fit(build(X))
    same_frame(numbers.inverse_transform(numbers.transform(build(X))), build(X))
    names = ["t", "t_remainder", "z", "z_remainder", "key", "key_remainder", "short"]
    assert numbers.get_feature_names_out().tolist() == names
    Z = numbers.transform(build(X))
    assert np.abs(Z[:, [1, 3, 5]]).max() < 1e-12


@both
def test_the_second_reading_has_the_numbers_of_the_first(build):
    X = build(table())
    numbers = TabularPreprocessor().fit(X)
    Z = numbers.transform(X)
    np.testing.assert_array_equal(numbers.transform(numbers.inverse_transform(Z)), Z)


def test_arrays_and_tensors_come_back_as_arrays():
    X = np.round(np.random.default_rng(0).normal(5, 2, size=(30, 3)), 3)
    for given in (X, X.tolist(), torch.from_numpy(X), np.asfortranarray(X)):
        np.testing.assert_array_equal(there_and_back(given), X)
    assert there_and_back(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(there_and_back(X > 5), X > 5)
    X[3, 1] = np.nan
    np.testing.assert_array_equal(there_and_back(X), X)
    levels = np.round(X)
    np.testing.assert_array_equal(there_and_back(levels, categorical_features=[0, 2]), levels)


# What the numbers are


@both
def test_what_each_column_becomes(build):
    X = table()
    numbers = TabularPreprocessor().fit(build(X))
    Z = pd.DataFrame(numbers.transform(build(X)), columns=numbers.get_feature_names_out())
    cities = X["city"].value_counts()
    assert Z.columns.tolist()[:2] == ["price", "count"]
    assert sorted(Z.columns[2:5]) == ["city_Lima", "city_Oslo", "city_Rome"]
    assert Z.columns[2] == f"city_{cities.index[0]}"
    assert Z.columns.tolist()[5:] == ["member", "day"]
    standardised = Z[["price", "count", "day"]]
    np.testing.assert_allclose(standardised.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(standardised.std(ddof=0), 1)
    np.testing.assert_array_equal(Z["member"], X["member"].astype(float))
    for city in cities.index:
        np.testing.assert_array_equal(Z[f"city_{city}"], X["city"] == city)


@both
def test_missing_and_unseen_cells(build):
    X = build(pd.DataFrame({"x": [1.0, None, 3.0], "s": ["a", "b", None]}))
    numbers = TabularPreprocessor().fit(X)
    new = build(pd.DataFrame({"x": [None, 2.0, 2.0], "s": ["a", "new", None]}))
    np.testing.assert_allclose(numbers.transform(new), [[np.nan, 1, 0], [0, 0, 0], [0, 0, 0]])
    ordinal = TabularPreprocessor(encoding="ordinal").fit(X)
    np.testing.assert_allclose(ordinal.transform(new), [[np.nan, 0], [0, np.nan], [0, np.nan]])
    strict = TabularPreprocessor(handle_unknown="error").fit(X)
    with pytest.raises(SchemaError, match=r"'s' holds 'new', a level .* handle_unknown='missing'"):
        strict.transform(new)
    seen = new[[0, 2]] if isinstance(new, pl.DataFrame) else new.iloc[[0, 2]]
    np.testing.assert_array_equal(strict.transform(seen), numbers.transform(seen))


@both
def test_numbers_can_be_categories(build):
    X = build(table())
    for choice in (["count", "day"], [1, 4], [False, True, False, False, True]):
        numbers = TabularPreprocessor(categorical_features=choice).fit(X)
        assert numbers.transform(X).shape[1] > 60
        same_frame(numbers.inverse_transform(numbers.transform(X)), X)


def test_any_numbers_are_decoded():
    """What a model makes up: levels by the largest indicator, numbers rounded and in range."""
    X = table()
    X["some"] = ["a", "b", None] * 20
    numbers = TabularPreprocessor().fit(X)
    names = numbers.get_feature_names_out().tolist()
    Z = np.zeros((4, len(names)))
    city, some = names.index("city_Oslo"), [names.index("some_a"), names.index("some_b")]
    Z[0, city], Z[0, some] = 0.2, [0.4, 0.35]
    Z[1, city], Z[1, some] = 3.0, [0.2, 0.3]
    Z[2] = 1e30
    Z[3] = -50.0
    back = numbers.inverse_transform(Z)
    assert back["city"][:2].tolist() == ["Oslo", "Oslo"]
    assert back["some"][0] == "a"
    assert pd.isna(back["some"][1])
    assert back["city"].notna().all()
    assert back.dtypes.tolist() == X.dtypes.tolist()
    assert back["count"][3] == 0
    assert back["price"][3] == 0
    assert back["member"].tolist() == [False, False, True, False]
    missing = numbers.inverse_transform(np.full_like(Z, np.nan))
    assert missing.isna().all().all()


def test_ordinal_codes_are_rounded():
    X = pd.DataFrame({"s": ["a", "a", "b", "b", "b", "c"]})
    numbers = TabularPreprocessor(encoding="ordinal").fit(X)
    back = numbers.inverse_transform([[-5.0], [0.4], [0.6], [9.0]])["s"]
    assert back.tolist() == ["b", "b", "a", "c"]


def test_levels_without_a_feature():
    X = pd.DataFrame({"s": pd.Categorical([None, None], categories=["a"])})
    numbers = TabularPreprocessor().fit(X)
    assert numbers.transform(X).shape == (2, 0)
    same_frame(numbers.inverse_transform(numbers.transform(X)), X)


# Other containers than in fit


def test_the_library_may_change_after_fit():
    X = table().assign(hole=[1.5, None] * 30, key=pd.array([2**60 + 1, None] * 30, dtype="Int64"))
    frames = [X, pl.from_pandas(X)]
    for fitted in frames:
        numbers = TabularPreprocessor().fit(fitted)
        for other in frames:
            np.testing.assert_array_equal(numbers.transform(other), numbers.transform(fitted))
            same_frame(numbers.inverse_transform(numbers.transform(other)), fitted)


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
def test_arrays_and_frames_of_numbers_are_the_same():
    X = table()[["price", "count"]]
    containers = [X, pl.from_pandas(X), X.to_numpy(dtype=float)]
    for fitted in containers:
        numbers = TabularPreprocessor().fit(fitted)
        for other in containers:
            np.testing.assert_array_equal(numbers.transform(other), numbers.transform(fitted))
    with pytest.raises(SchemaError, match="Pass a DataFrame"):
        TabularPreprocessor().fit(table()).transform(np.zeros((2, 5)))
    with pytest.raises(SchemaError, match="Pass the kind of table that fit saw"):
        TabularPreprocessor().fit(np.zeros((2, 5))).transform(table())


# scikit-learn's manners


@parametrize_with_checks([TabularPreprocessor(), TabularPreprocessor(encoding="ordinal")])
def test_estimator_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as scikit-learn runs them
        check(estimator)


MORE_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_n_features_in_after_fitting",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of scikit-learn's own checks
@pytest.mark.parametrize("check", MORE_CHECKS)
def test_checks_that_check_estimator_does_not_call(check):
    getattr(estimator_checks, check)("TabularPreprocessor", TabularPreprocessor())


def test_names_of_features():
    X = table()
    numbers = TabularPreprocessor().fit(X)
    assert numbers.n_features_in_ == 5
    assert numbers.feature_names_in_.tolist() == list(X.columns)
    assert numbers.get_feature_names_out(list(X.columns)).tolist()[0] == "price"
    for wrong in (["price"], ["a", "b", "c", "d", "e"]):
        with pytest.raises(ValueError, match="input_features"):
            numbers.get_feature_names_out(wrong)
    unnamed = TabularPreprocessor(encoding="ordinal").fit(X.set_axis(range(5), axis=1))
    assert unnamed.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3", "x4"]


@pytest.mark.parametrize("names", [range(5), pd.date_range("2020", periods=5)])
def test_names_that_are_no_strings_come_back(names):
    X = table().set_axis(names, axis=1)
    same_frame(there_and_back(X), X)


@both
def test_another_order_of_columns_is_refused(build):
    X = table()
    numbers = TabularPreprocessor().fit(build(X))
    with pytest.raises(ValueError, match="same order"):
        numbers.transform(build(X[X.columns[::-1]]))
    with pytest.raises(ValueError, match="unseen at fit time"):
        numbers.transform(build(X.rename(columns={"price": "prize"})))
    with pytest.raises(ValueError, match="feature"):
        numbers.transform(build(X[["price", "count"]]))


@both
def test_output_in_either_library(build):
    X = build(table())
    index = [f"row {k}" for k in range(60)]
    X = X.set_axis(index) if isinstance(X, pd.DataFrame) else X
    numbers = TabularPreprocessor().fit(X)
    Z = numbers.transform(X)
    for library, kind in [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]:
        out = clone(numbers).set_output(transform=library).fit_transform(X)
        assert isinstance(out, kind)
        assert list(out.columns) == numbers.get_feature_names_out().tolist()
        np.testing.assert_array_equal(out.to_numpy(), Z)
        back = numbers.inverse_transform(out)
        keeps_index = isinstance(X, pd.DataFrame) and library == "pandas"
        same_frame(
            back, X.reset_index(drop=True) if isinstance(X, pd.DataFrame) and not keeps_index else X
        )


@both
def test_pca_comes_after_it(build):
    X = build(table())
    pipeline = make_pipeline(TabularPreprocessor(), PCA()).fit(X)
    back = pipeline.inverse_transform(pipeline.transform(X))
    assert type(back) is type(X)
    for name in X.columns:
        assert back[name].dtype == X[name].dtype
        if name in ("count", "city", "member", "day"):
            assert back[name].to_list() == X[name].to_list()
    np.testing.assert_allclose(back["price"].to_numpy(), X["price"].to_numpy())
    flat = make_pipeline(TabularPreprocessor(), PCA(2)).fit(X)
    rows = flat.inverse_transform(flat.transform(X))
    assert [rows[name].dtype for name in X.columns] == [X[name].dtype for name in X.columns]
    assert set(rows["city"]) <= {"Rome", "Oslo", "Lima"}
    assert rows["count"].min() >= 0
    assert flat.get_feature_names_out().tolist() == ["pca0", "pca1"]


@both
def test_in_a_column_transformer(build):
    X = build(table())
    parts = [("a", TabularPreprocessor(), ["price", "city"]), ("b", TabularPreprocessor(), ["day"])]
    joined = ColumnTransformer(parts).fit(X)
    assert joined.get_feature_names_out().tolist()[::4] == ["a__price", "b__day"]
    assert joined.transform(X).shape == (60, 5)


def test_copies_are_as_good():
    for X in (table(), pl.from_pandas(table())):
        numbers = TabularPreprocessor(categorical_features=["count"]).fit(X)
        Z = numbers.transform(X)
        for other in (pickle.loads(pickle.dumps(numbers)), copy.deepcopy(numbers)):
            np.testing.assert_array_equal(other.transform(X), Z)
            same_frame(other.inverse_transform(Z), X)
        with pytest.raises(NotFittedError):
            clone(numbers).transform(X)
        assert clone(numbers).categorical_features == ["count"]


def test_no_rows_are_kept():
    X = pd.concat([table(5000)] * 4, ignore_index=True)
    small = len(pickle.dumps(TabularPreprocessor().fit(X[:5000])))
    assert len(pickle.dumps(TabularPreprocessor().fit(X))) < small + 100
    assert small < 10_000


def test_the_html_repr_names_it():
    with config_context(display="diagram"):
        assert "TabularPreprocessor" in TabularPreprocessor().fit(table())._repr_html_()


@both
def test_X_is_left_alone(build):
    X, copied = build(table()), build(table())
    numbers = TabularPreprocessor().fit(X)
    Z = numbers.transform(X)
    before = Z.copy()
    numbers.inverse_transform(Z)
    same_frame(X, copied)
    np.testing.assert_array_equal(Z, before)


# What is refused


def test_infinity_is_refused():
    for X in (pd.DataFrame({"x": [1.0, np.inf]}), pl.DataFrame({"x": [1.0, np.inf]})):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            TabularPreprocessor().fit(X)
        with pytest.raises(ValueError, match="Input X contains infinity"):
            TabularPreprocessor().fit(X[:1]).transform(X)


@both
def test_a_table_without_rows_is_refused(build):
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        TabularPreprocessor().fit(build(table()[:0]))


@both
def test_a_column_of_another_kind_than_in_fit_is_refused(build):
    X = table()
    numbers = TabularPreprocessor().fit(build(X))
    changes = {"price": X["city"], "city": X["count"], "member": X["day"], "day": X["price"]}
    for name, cells in changes.items():
        with pytest.raises(SchemaError, match=f"'{name}' was of kind .* now\\. Convert it"):
            numbers.transform(build(X.assign(**{name: cells})))


def test_nested_cells_are_refused():
    for column in ([[1]] * 60, [{"a": 1}] * 60):
        for library in (pd, pl):
            X = library.DataFrame({"age": np.arange(60.0), "bad": column})
            with pytest.raises(SchemaError, match=r"'bad'.*[Dd]rop"):
                TabularPreprocessor().fit(X)


def test_no_categories_where_none_are_allowed():
    with pytest.raises(SchemaError, match=r"columns \['city'\] hold nothing else\. Take"):
        TabularPreprocessor(categorical_features=None).fit(table())
    X = table().drop(columns="city")
    same_frame(there_and_back(X, categorical_features=None), X)


@pytest.mark.parametrize(
    ("Z", "message"),
    [
        (np.zeros((2, 3)), r"the 7 columns that transform returns; got 3\."),
        (np.full((2, 7), np.inf), "Input Z contains infinity"),
        (np.zeros((0, 7)), r"0 sample\(s\)"),
        (np.zeros(7), "2D"),
    ],
)
def test_unfit_numbers_are_refused(Z, message):
    with pytest.raises(ValueError, match=message):
        TabularPreprocessor().fit(table()).inverse_transform(Z)
