"""Values and shapes that are errors."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from small_tables import small, stays_unfitted, table

from sk_infovae.exceptions import SchemaError


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
        pl.Series([f"note {k}" for k in range(60)]),
    ],
    ids=["mixed", "list", "dict", "complex", "period", "polars list", "struct", "text"],
)
def test_column_that_can_not_be_read_is_named(column):
    frame_of = pd.DataFrame if isinstance(column, pd.Series) else pl.DataFrame
    vae = small()
    with pytest.raises(SchemaError, match=r"'city'.*([Dd]rop|convert|[Ee]ncode)"):
        vae.fit(frame_of({"age": np.arange(float(len(column))), "city": column}))
    assert stays_unfitted(vae)


@pytest.mark.parametrize(
    "X",
    [np.array([["a", "b"]] * 5), np.array([["a", 1.0]] * 5, dtype=object), [["a", "b"]] * 5],
    ids=["str", "object", "list"],
)
def test_strings_in_an_array_are_refused(X):
    with pytest.raises(ValueError, match="could not convert string to float"):
        small().fit(X)
