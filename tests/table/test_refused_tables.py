"""Values and shapes that are errors."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from small_tables import small, stays_unfitted, table

from sk_infovae._table import standardizer
from sk_infovae._table.infinity import finite
from sk_infovae.exceptions import SchemaError
from sk_infovae.preprocessing import TabularPreprocessor


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize(
    "container", [np.asarray, sparse.csr_matrix, pd.DataFrame, pl.DataFrame, torch.from_numpy]
)
def test_infinity_is_refused(X, container, value):
    vae = small()
    bad = X.copy()
    bad[3, 1] = value
    with pytest.raises(ValueError, match="infinity"):
        vae.fit(container(bad))
    assert stays_unfitted(vae)
    vae.fit(X)
    for method in (vae.transform, vae.score, vae.score_samples, vae.partial_fit):
        with pytest.raises(ValueError, match="infinity"):
            method(bad)


@pytest.mark.parametrize(
    "container", [np.asarray, np.float32, sparse.csr_matrix, pd.DataFrame, pl.DataFrame]
)
def test_an_infinite_cell_is_named(X, container):
    """The first column that has one, and the first row in it; holes are none."""
    bad = X.copy()
    bad[0, 0], bad[9, 2], bad[12, 1], bad[30, 1] = np.nan, np.inf, -np.inf, np.inf
    column = {pd.DataFrame: "1", pl.DataFrame: "'column_1'"}.get(container, "1")
    message = rf"contains infinity: column {column} holds -inf in row 12 .*Replace it"
    with pytest.raises(ValueError, match=message):
        small().fit(container(bad))
    vae = small().fit(container(X))
    for method in (vae.transform, vae.impute, vae.score, vae.information, vae.partial_fit):
        with pytest.raises(ValueError, match=message):
            method(container(bad))


def test_an_infinite_cell_among_huge_ones_is_found(X, monkeypatch):
    """A sum that overflows is no proof; rows are counted across blocks."""
    huge = np.full((60, 4), 1e308)
    assert finite(huge) is huge
    bad = huge.copy()
    bad[47, 3] = np.inf
    monkeypatch.setattr(standardizer, "BLOCK_CELLS", 40)
    with pytest.raises(ValueError, match="column 3 holds inf in row 47 "):
        finite(bad)


@pytest.mark.parametrize("width", [3, 5])
def test_wrong_width_is_refused(X, width):
    vae = small().fit(X)
    for method in (vae.transform, vae.score, vae.score_samples, vae.posterior, vae.partial_fit):
        with pytest.raises(ValueError, match=f"X has {width} features, but .* expecting 4"):
            method(table(10, width))


def test_wrong_width_of_validation_rows_is_refused(X):
    vae = small()
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4"):
        vae.fit(X, X_val=X[:, :3])
    assert stays_unfitted(vae)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_wrong_order_of_columns_is_refused(X, kind):
    frame = kind(dict(zip("abcd", X.T, strict=True)))
    vae = small().fit(frame)
    with pytest.raises(ValueError, match="same order"):
        vae.transform(frame[["b", "a", "c", "d"]])


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_wrong_names_of_columns_are_refused(X, kind):
    vae = small().fit(kind(dict(zip("abcd", X.T, strict=True))))
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time.*- e"):
        vae.transform(kind(dict(zip("abce", X.T, strict=True))))


def test_duplicate_names_of_columns_are_refused(X):
    with pytest.raises(ValueError, match="unique column names"):
        small().fit(pd.DataFrame(X, columns=list("abca")))


def test_flat_array_is_refused(X):
    with pytest.raises(ValueError, match="Reshape your data"):
        small().fit(X[:, 0])


def test_complex_numbers_are_refused(X):
    with pytest.raises(ValueError, match="Complex data not supported"):
        small().fit(X + 1j)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", 1] * 5, dtype=object),
        pd.Series([[1], [2]] * 5),
        pd.Series([{"a": 1}] * 10),
        pd.Series([1 + 2j] * 10),
        pd.Series(pd.period_range("2020", periods=10, freq="D")),
        pl.Series([[1], [2]] * 5),
        pl.Series([{"a": 1}] * 10),
    ],
    ids=["mixed", "list", "dict", "complex", "period", "polars list", "struct"],
)
def test_column_that_can_not_be_read_is_named(column):
    frame_of = pd.DataFrame if isinstance(column, pd.Series) else pl.DataFrame
    vae = small()
    with pytest.raises(SchemaError, match=r"'city'.*([Dd]rop|convert|[Ee]ncode)"):
        vae.fit(frame_of({"age": np.arange(float(len(column))), "city": column}))
    assert stays_unfitted(vae)


@pytest.mark.parametrize(
    "X",
    [
        np.array([["1", "b"]] * 5),
        np.array([[1.0, "b"]] * 5, dtype=object),
        np.array([[None, "b"]] * 5, dtype=object),
        [["1", "b"]] * 5,
    ],
    ids=["str", "object", "beside None", "list"],
)
def test_strings_in_an_array_are_refused(X):
    """Those that are numbers are read as such, as by scikit-learn."""
    message = r"could not convert string to float: .*column 1 holds 'b'\. .*pass a DataFrame"
    for estimator in (small(), TabularPreprocessor()):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X)


@pytest.mark.parametrize("n_components", [0.95, None, "mle", 2.0])
def test_pcas_ways_of_saying_n_components_are_refused_with_a_mend(X, n_components):
    with pytest.raises(ValueError, match=r"must be an int .*PCA\(0\.95\).*InfoVAEGridSearchCV"):
        small(n_components=n_components).fit(X)


def test_other_parameters_are_refused_as_by_scikit_learn(X):
    with pytest.raises(ValueError, match=r"'n_components' .* Got 0 instead\.$"):
        small(n_components=0).fit(X)
    with pytest.raises(ValueError, match=r"'max_epochs' .* Got None instead\.$"):
        small(max_epochs=None).fit(X)
