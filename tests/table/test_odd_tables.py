"""Tables of few rows and columns, without spread, without values, far from 1."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from small_tables import everything_works, small, stays_unfitted, table


def test_one_row_is_refused(X):
    vae = small()
    with pytest.raises(ValueError, match="n_samples=1"):
        vae.fit(X[:1])
    assert stays_unfitted(vae)


@pytest.mark.parametrize("n_rows", [2, 3])
def test_two_and_three_rows_fit_without_validation(X, n_rows):
    vae = small().fit(X[:n_rows])
    everything_works(vae, X[:n_rows])
    assert not any(name.startswith("valid_") for name in vae.history_[0])


@pytest.mark.parametrize("batch_size", [4, 16])
def test_last_batch_of_one_row_joins_the_one_before(X, batch_size):
    X = X[: 2 * batch_size + 1]
    vae = small(batch_size=batch_size, early_stopping=False, max_epochs=3, warm_start=True).fit(X)
    everything_works(vae, X)
    steps = {int(state["step"]) for state in vae.net_.optimizer_.state.values()}
    assert steps == {2 * 3}


def test_batches_of_one_row_say_nothing_about_the_divergence(X):
    vae = small(batch_size=1, early_stopping=False).fit(X[:6])
    everything_works(vae, X[:6])
    assert {epoch["divergence"] for epoch in vae.history_} == {0.0}


def test_batch_larger_than_the_table(X):
    everything_works(small(batch_size=10_000).fit(X), X)


def test_more_components_than_columns(X):
    everything_works(small(n_components=7).fit(X), X)


def test_one_column(X):
    everything_works(small().fit(X[:, :1]), X[:, :1])


@pytest.mark.parametrize(
    "empty",
    [
        np.empty((0, 3)),
        np.empty((3, 0)),
        sparse.csr_matrix((0, 3)),
        pd.DataFrame(),
        pd.DataFrame({"a": []}, dtype=float),
        pl.DataFrame(),
        pl.DataFrame({"a": []}, schema={"a": pl.Float64}),
        [],
    ],
    ids=["0 rows", "0 columns", "csr", "pandas", "pandas rows", "polars", "polars rows", "list"],
)
def test_empty_table_is_refused(empty):
    vae = small()
    with pytest.raises(ValueError, match=r"0 sample|0 feature|1D array"):
        vae.fit(empty)
    assert stays_unfitted(vae)


def test_empty_table_is_refused_after_fit(X):
    vae = small().fit(X)
    for method in (vae.transform, vae.score, vae.score_samples, vae.posterior, vae.partial_fit):
        with pytest.raises(ValueError, match="0 sample"):
            method(X[:0])


def test_constant_column_comes_back(X):
    X = X.copy()
    X[:, 1] = 7.5
    vae = small(max_epochs=100, lr=1e-2).fit(X)
    Z = everything_works(vae, X)
    np.testing.assert_allclose(vae.inverse_transform(Z)[:, 1], 7.5, atol=0.2)
    assert vae.noise_variance_[1] > 0
    np.testing.assert_array_equal(vae.sample(20, random_state=0)[:, 1], 7.5)


@pytest.mark.parametrize("value", [0.0, 1e8, -3.25])
def test_constant_table(value):
    X = np.full((30, 3), value)
    everything_works(small().fit(X), X)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_column_of_nothing_but_nan(X, container):
    X = X.copy()
    X[:, 1] = np.nan
    vae = small().fit(container(X))
    everything_works(vae, X)


def test_row_of_nothing_but_nan(X):
    X = X.copy()
    X[3] = np.nan
    vae = small(n_importance_samples=1024).fit(X)
    Z = everything_works(vae, X)
    np.testing.assert_allclose(vae.transform(X[[3]]), Z[[3]], rtol=1e-5)
    # With every cell integrated out nothing is left to explain.
    np.testing.assert_allclose(vae.score_samples(X)[3], 0, atol=1e-2)


def test_table_of_nothing_but_nan_has_nothing_to_reconstruct():
    X = np.full((30, 3), np.nan)
    vae = small().fit(X)
    everything_works(vae, X)
    assert {epoch["reconstruction"] for epoch in vae.history_} == {0.0}


@pytest.mark.parametrize("scale", [1e8, 1e-8])
def test_large_and_small_values(X, Z, scale):
    vae = small().fit(scale * X)
    np.testing.assert_allclose(everything_works(vae, scale * X), Z, rtol=1e-4, atol=1e-6)


def test_embedding_does_not_depend_on_the_units_of_columns(X, Z):
    factors, shifts = np.array([1e8, 1e-8, 1.0, 3.0]), np.array([1e8, 0.0, -1e3, 2.0])
    rescaled = factors * X + shifts
    np.testing.assert_allclose(small().fit(rescaled).transform(rescaled), Z, rtol=1e-4, atol=1e-6)


def test_digits_far_behind_the_point_survive():
    X = 1e8 + table(200)  # in float32 all of it would be gone
    vae = small(max_epochs=150, lr=1e-2, alpha=0, lambd=1, batch_size=64).fit(X)
    back = vae.inverse_transform(everything_works(vae, X))
    assert np.abs(back - X).mean() < 0.5 * np.abs(X - X.mean(0)).mean()


@pytest.mark.parametrize("exponent", [-900, -400, 400, 990])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_a_unit_changes_no_bit(exponent, container, X):
    """Also where the squares of the numbers are none: by powers of 2 every step is exact."""
    X = np.abs(X)
    vae, other = small().fit(container(X)), small().fit(container(X * 2.0**exponent))
    np.testing.assert_array_equal(
        other.transform(container(X * 2.0**exponent)), vae.transform(container(X))
    )
    shift = exponent * np.log(2) * X.shape[1]
    scores = other.score_samples(container(X * 2.0**exponent))
    np.testing.assert_allclose(scores, vae.score_samples(container(X)) - shift, atol=1e-9)


@pytest.mark.parametrize("far", [1e39, 1e300, -1.7e308])
def test_a_far_cell_in_a_new_row_has_finite_answers(far, X):
    vae = small().fit(X)
    X = X.copy()
    X[0, 1] = far
    everything_works(vae, X)


def test_the_largest_numbers_train():
    X = np.random.default_rng(0).choice([-1.7e308, 0.0, 1.7e308], (40, 3))
    everything_works(small().fit(X), X)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("library", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_what_comes_back_is_within_its_dtype(dtype, library):
    most = float(np.finfo(dtype).max)
    if library is pl.DataFrame and dtype == np.float16:
        pytest.skip("polars reads float16 as float32")
    X = library(np.random.default_rng(0).choice([-most, 0, most], (40, 3)).astype(dtype))
    vae = small().fit(X)
    back = np.asarray(vae.inverse_transform(100 * vae.transform(X)))
    assert back.dtype == dtype or not isinstance(X, pd.DataFrame | pl.DataFrame)
    assert np.isfinite(back).all()


@pytest.mark.parametrize("far", [1e140, 1e200, 1e300])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_one_cell_however_far_does_not_rule_its_column(far, container):
    """The unit in which a column is measured is that of the cells within its fence."""
    rng = np.random.default_rng(0)
    X = 5 + rng.normal(size=(300, 1)) + 0.1 * rng.normal(size=(300, 3))
    X[0, 0] = far
    vae = small(n_components=1, max_epochs=10).fit(container(X))
    back = vae.inverse_transform(vae.transform(container(X)))
    assert np.corrcoef(back[1:, 0], X[1:, 0])[0, 1] > 0.9
    assert np.isfinite(vae.noise_variance_).all()
    assert np.median(vae.score_samples(container(X))) > -10


@pytest.mark.parametrize("exponent", [60, 105])
def test_large_lognormal_numbers_are_not_cut_off(exponent):
    X = np.exp(np.random.default_rng(0).normal(size=(60, 3)))
    scores = [small(likelihood="lognormal").fit(T).score(T) for T in (X, X * 2.0**exponent)]
    assert scores[1] + 3 * exponent * np.log(2) == pytest.approx(scores[0], abs=0.05)


def test_a_constant_column_has_a_scale_of_1_in_any_unit():
    X = np.column_stack([np.full(9, value) for value in (1e-200, 1.0, 1e200)] + [np.arange(9.0)])
    np.testing.assert_array_equal(small().fit(X)._layout.standardizer.scale[:3], 1.0)
