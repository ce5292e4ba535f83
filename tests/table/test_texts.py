"""Columns of free text: the model is that of the table without them, and they come back empty."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from small_tables import small, stays_unfitted

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.exceptions import SchemaError
from sk_infovae.model_selection import InfoVAEGridSearchCV
from sk_infovae.preprocessing import TabularPreprocessor

N_ROWS = 160
PLAIN = ["price", "town", "rooms"]
DTYPES = ["str", "object", "string", "string[pyarrow]", pd.ArrowDtype(pa.string())]


def table(dtype="str"):
    """Numbers and towns, and between them two columns of text; holes everywhere."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "name": [f"name {k}" for k in range(N_ROWS)],
            "price": rng.normal(size=N_ROWS),
            "town": rng.choice(["Oslo", "Rome"], N_ROWS),
            "note": [None if k % 3 else f"note {k}" for k in range(N_ROWS)],
            "rooms": rng.integers(1, 6, N_ROWS),
        }
    )
    if dtype != "str":  # pandas 3 has made them so; pandas 2 would make "None" of None
        frame = frame.astype({"name": dtype, "note": dtype})
    frame.loc[::7, "price"] = np.nan
    frame.loc[::11, "town"] = None
    frame.loc[4, "name"] = None
    return frame.set_index(np.arange(N_ROWS) * 3)


def in_polars(frame):
    return pl.from_pandas(frame)


KINDS = {f"pandas {dtype}": lambda dtype=dtype: table(dtype) for dtype in DTYPES}
KINDS["polars"] = lambda: in_polars(table())
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
libraries = pytest.mark.parametrize("library", [lambda frame: frame, in_polars], ids=["pd", "pl"])


def says_so(*names):
    """A warning that names the columns and the mend."""
    listed = ", ".join(map(repr, names or ("name", "note")))
    return pytest.warns(UserWarning, match=f"{listed}: free text .* left out .*categorical_featur")


def quiet_fit(vae, X, method="fit"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return getattr(vae, method)(X)


def same(left, right):
    if isinstance(left, pl.DataFrame):
        assert left.equals(right)
    else:
        pd.testing.assert_frame_equal(left, right)


def is_empty(X, like):
    """The two columns of text, missing, in their own dtypes."""
    for name in ("name", "note"):
        assert X[name].dtype == like[name].dtype
        holes = X[name].is_null() if isinstance(X, pl.DataFrame) else X[name].isna()
        assert holes.all()


@kinds
def test_the_model_is_that_of_the_table_without_them(make):
    """Bit for bit: codes, scores, tables that come back, the terms of the objective."""
    X = make()
    with says_so() as told:
        vae = small().fit(X)
    assert len(told) == 1
    assert told[0].filename == __file__
    plain = small().fit(X[PLAIN])
    Z = vae.transform(X)
    np.testing.assert_array_equal(Z, plain.transform(X[PLAIN]))
    np.testing.assert_array_equal(vae.posterior(X)[1], plain.posterior(X[PLAIN])[1])
    np.testing.assert_array_equal(vae.score_samples(X), plain.score_samples(X[PLAIN]))
    assert vae.information(X).elbo == plain.information(X[PLAIN]).elbo
    for name in ("neg_reconstruction_error", "reconstruction_r2", "neg_mmd", "trustworthiness"):
        score = getattr(metrics, name)
        assert score(vae, X) == score(plain, X[PLAIN])
    for found, expected in [
        (vae.inverse_transform(Z), plain.inverse_transform(Z)),
        (vae.sample(9, random_state=0), plain.sample(9, random_state=0)),
    ]:
        assert list(found.columns) == list(X.columns)
        same(found[PLAIN], expected)
        is_empty(found, X)


@kinds
def test_what_the_table_says_of_its_columns_counts_them_all(make):
    X = make()
    vae = quiet_fit(small(), X)
    assert vae.n_features_in_ == 5
    assert vae.feature_names_in_.tolist() == list(X.columns)
    assert vae.get_feature_names_out().tolist() == ["infovaetransformer0", "infovaetransformer1"]
    plain = small().fit(X[PLAIN])
    np.testing.assert_array_equal(vae.noise_variance_[[1, 2, 4]], plain.noise_variance_)
    assert np.isnan(vae.noise_variance_[[0, 3]]).all()


@kinds
def test_imputation_leaves_them_as_they_were(make):
    X = make()
    vae, plain = quiet_fit(small(), X), small().fit(X[PLAIN])
    filled, expected = vae.impute(X), plain.impute(X[PLAIN])
    same(filled[PLAIN], expected)
    same(filled[["name", "note"]], X[["name", "note"]])
    for one, other in zip(vae.impute(X, 2, 0), plain.impute(X[PLAIN], 2, 0), strict=True):
        same(one[PLAIN], other)
        same(one[["name", "note"]], X[["name", "note"]])


@libraries
def test_texts_of_new_rows_may_be_anything(library):
    X = library(table())
    vae = quiet_fit(small(), X)
    other = table().assign(name=np.arange(N_ROWS) * 0.5, note="the same")
    np.testing.assert_array_equal(vae.transform(library(other)), vae.transform(X))


def test_the_other_library_stands_for_the_one_of_fit():
    X = table()
    vae = quiet_fit(small(), X)
    np.testing.assert_array_equal(vae.transform(in_polars(X)), vae.transform(X))
    assert vae.impute(in_polars(X))["name"].tolist()[:4] == X["name"].tolist()[:4]
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(SchemaError, match=r"'name'.*an array can't hold"),
    ):
        vae.transform(np.zeros((3, 5)))


@libraries
def test_pickles_and_clones(library):
    X = library(table())
    vae = quiet_fit(small(), X)
    loaded = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(loaded.transform(X), vae.transform(X))
    np.testing.assert_array_equal(loaded.noise_variance_, vae.noise_variance_)
    same(loaded.sample(3, random_state=0), vae.sample(3, random_state=0))
    assert clone(vae).text_features == "drop"


@libraries
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_going_on_says_nothing_new(library, method):
    X = library(table())
    vae, plain = small(warm_start=True), small(warm_start=True)
    with says_so():
        getattr(vae, method)(X)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*free text")
        getattr(vae, method)(X)
        getattr(plain, method)(X[PLAIN])
        getattr(plain, method)(X[PLAIN])
    np.testing.assert_array_equal(vae.transform(X), plain.transform(X[PLAIN]))


@pytest.mark.parametrize(
    "wish", [{"likelihood": {"name": "categorical"}}, {"categorical_features": ["name"]}]
)
def test_going_on_refuses_to_take_one_in(wish):
    """The shapes are fixed."""
    X = table()
    vae = quiet_fit(small(warm_start=True), X)
    with pytest.raises(ValueError, match="after a change of likelihood"):
        vae.set_params(**wish).fit(X)


def test_validation_rows_have_them_too():
    X = table()
    with says_so():
        vae = small().fit(X, X_val=X[:40])
    plain = small().fit(X[PLAIN], X_val=X[:40][PLAIN])
    np.testing.assert_array_equal(vae.transform(X), plain.transform(X[PLAIN]))


@libraries
@pytest.mark.parametrize(
    "wish",
    [
        {"likelihood": {"name": "categorical", "note": "auto"}},
        {"categorical_features": ["name", "note"]},
        {"categorical_features": [0, 3]},
        {"categorical_features": [True, False, False, True, False]},
    ],
    ids=["likelihood", "names", "positions", "mask"],
)
@pytest.mark.parametrize("text_features", ["drop", "error"])
def test_a_column_that_is_named_is_one_of_levels(library, wish, text_features):
    X = library(table())
    vae = small(text_features=text_features, **wish).fit(X)
    assert vae._layout.schema.left_out == []
    drawn = vae.sample(20, random_state=0)
    assert set(drawn["name"]) <= set(X["name"])


def test_a_position_counts_all_columns():
    X = table()
    with says_so():
        vae = small(categorical_features=[4]).fit(X)
    assert vae._layout.schema.has_levels.tolist() == [False, True, True]
    with says_so():
        small(categorical_features=[False, False, False, False, True]).fit(X)


def test_a_categorical_dtype_is_the_users_word():
    X = table("category")
    assert small().fit(X)._layout.schema.left_out == []


@pytest.mark.parametrize("choice", ["gaussian", "student_t"])
def test_one_likelihood_for_all_is_for_all_that_are_left(choice):
    X = table()[["name", "price", "rooms"]]
    with says_so("name"):
        vae = small(likelihood=choice).fit(X)
    assert len(vae._layout.architecture.likelihoods) == 2


def test_no_categories_are_asked_for_and_there_are_none():
    X = table()[["name", "price"]]
    with says_so("name"):
        small(categorical_features=None).fit(X)


@libraries
def test_error_refuses_them(library):
    vae = small(text_features="error")
    with pytest.raises(SchemaError, match=r"'name' looks like free text: \d+ .*Drop it, or encode"):
        vae.fit(library(table()))
    assert stays_unfitted(vae)


@libraries
@pytest.mark.parametrize("estimator", [InfoVAETransformer(), TabularPreprocessor()])
def test_a_table_of_nothing_else_is_refused(library, estimator):
    with pytest.raises(SchemaError, match=r"'name', 'note'.*nothing to model. Encode"):
        estimator.fit(library(table()[["name", "note"]]))


def test_a_fit_that_a_filter_ends_leaves_no_trace():
    vae = small()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="free text"):
            vae.fit(table())
    assert stays_unfitted(vae)


# Searches


def without_few():
    """In half of these rows each column of text is still one."""
    return table().assign(note=[f"note {k}" for k in range(N_ROWS)])


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("activation", ["silu", torch.nn.SiLU])
def test_a_search_says_so_once(activation, refit):
    """Stacked or not; and finds what it finds without them."""
    X, grid = without_few(), {"alpha": [0.2, 0.5]}
    vae = small(activation=activation)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = InfoVAEGridSearchCV(vae, grid, cv=2, refit=refit).fit(X)
    texts = [one for one in told if "free text" in str(one.message)]
    assert len(texts) == 1
    assert texts[0].filename == __file__
    expected = InfoVAEGridSearchCV(vae, grid, cv=2).fit(X[PLAIN])
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_it_gives_what_grid_search_gives():
    X, grid = without_few(), {"text_features": ["drop", "error"], "alpha": [0.2, 0.5]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = InfoVAEGridSearchCV(small(), grid, cv=2).fit(X)
        expected = GridSearchCV(small(), grid, cv=2).fit(X)
    scores = [one.cv_results_["mean_test_score"] for one in (found, expected)]
    np.testing.assert_allclose(*scores, rtol=1e-5)
    assert np.isnan(scores[0]).sum() == 2


# TabularPreprocessor


@kinds
def test_the_preprocessor_gives_them_no_feature(make):
    X = make()
    with says_so() as told:
        numbers = TabularPreprocessor().fit(X)
    assert told[0].filename == __file__
    plain = TabularPreprocessor().fit(X[PLAIN])
    Z = numbers.transform(X)
    np.testing.assert_array_equal(Z, plain.transform(X[PLAIN]))
    assert numbers.get_feature_names_out().tolist() == plain.get_feature_names_out().tolist()
    back = numbers.inverse_transform(Z)
    assert list(back.columns) == list(X.columns)
    same(back[PLAIN], plain.inverse_transform(Z))
    is_empty(back, X)


def test_the_preprocessor_refuses_or_reads_them_as_asked():
    X = table()
    with pytest.raises(SchemaError, match="'name' looks like free text"):
        TabularPreprocessor(text_features="error").fit(X)
    named = TabularPreprocessor(categorical_features=["name", "note"], encoding="ordinal").fit(X)
    assert named.transform(X).shape == (N_ROWS, 5)


def test_before_pca_a_table_comes_back_whole():
    X = table()[["name", "price", "town"]].dropna(subset=["price"])
    with says_so("name"):
        pca = make_pipeline(TabularPreprocessor(), PCA(2)).fit(X)
    back = pca.inverse_transform(pca.transform(X))
    assert back["name"].isna().all()
    assert (back.dtypes == X.dtypes).all()


@libraries
@pytest.mark.parametrize(
    ("cells", "is_text"),
    [
        ([f"name {k}" for k in range(19)], False),
        ([f"name {k}" for k in range(20)], True),
        ([f"name {k}" for k in range(19)] + ["name 0"], False),
        ([f"name {k}" for k in range(19)] + [None], False),
        ([f"name {k}" for k in range(50)] + ["name 0"], False),
        ([f"name {k}" for k in range(51)] + ["name 0"], True),
        ([f"name {k // 2}" for k in range(120)], False),
    ],
)
def test_what_is_free_text(cells, is_text, library):
    frame = library(pd.DataFrame({"a": np.arange(len(cells)) / 7, "name": cells}))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        vae = small(max_epochs=1).fit(frame)
    assert bool([one for one in told if "'name': free text" in str(one.message)]) == is_text
    assert vae._layout.schema.left_out == (["name"] if is_text else [])
