"""The way back: codes to rows in the units, columns and dtypes of X; new rows from the prior."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse

from sk_infovae import InfoVAETransformer

UNITS = np.array([1.0, 5.0, 0.1, 100.0])
OFFSETS = np.array([10.0, -5.0, 0.0, 1000.0])


def small(**params):
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0}
    return InfoVAETransformer(**(defaults | params))


def sheet(n_rows=60, noise=0.1, seed=0):
    """Rows near a plane in four columns, each in its own units."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 4))
    return OFFSETS + UNITS * (plane + noise * rng.normal(size=(n_rows, 4)))


def mixed_frame(n_rows=80):
    """A pandas frame of floats, integers and booleans."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=n_rows)
    return pd.DataFrame(
        {
            "float64": u,
            "float32": (2 * u + rng.normal(size=n_rows)).astype(np.float32),
            "int64": np.rint(100 * u).astype(np.int64),
            "uint8": np.clip(np.rint(128 + 40 * u), 0, 255).astype(np.uint8),
            "bool": u + 0.1 * rng.normal(size=n_rows) > 0,
        }
    )


def weights(vae):
    return {name: value.clone() for name, value in vae.module_.state_dict().items()}


def same_weights(vae, before):
    return all(torch.equal(value, before[name]) for name, value in vae.module_.state_dict().items())


@pytest.fixture(scope="module")
def X():
    return sheet()


@pytest.fixture(scope="module")
def vae(X):
    return small().fit(X)


@pytest.fixture(scope="module")
def Z(vae, X):
    return vae.transform(X)


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.int64, np.float64),
        (np.uint8, np.float64),
    ],
)
def test_array_of_numbers_comes_back_as_float_array(X, given, returned):
    X = np.abs(X / 10).astype(given)
    vae = small().fit(X)
    back = vae.inverse_transform(vae.transform(X))
    assert type(back) is np.ndarray
    assert back.shape == X.shape
    assert back.dtype == returned
    assert np.isfinite(back).all()


def test_boolean_array_comes_back_as_zeros_and_ones():
    X = np.random.default_rng(0).random((60, 3)) < [0.2, 0.5, 0.9]
    vae = small().fit(X)
    back = vae.inverse_transform(vae.transform(X))
    assert back.dtype == np.float64
    assert set(np.unique(back)) <= {0.0, 1.0}


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
def test_csr_comes_back_dense(X, Z, vae, container):
    from_csr = small().fit(container(X))
    back = from_csr.inverse_transform(Z)
    assert type(back) is np.ndarray
    assert back.shape == X.shape
    assert back.dtype == np.float64


def test_tensor_comes_back_as_array_of_its_precision(X, Z):
    back = small().fit(torch.from_numpy(X.astype(np.float32))).inverse_transform(Z)
    assert type(back) is np.ndarray
    assert back.dtype == np.float32


def test_units_are_those_of_X(X, Z, vae):
    factors, shifts = np.array([1e3, 1e-3, 2.0, 0.5]), np.array([5.0, 0.0, -1.0, 100.0])
    rescaled = small().fit(factors * X + shifts)
    np.testing.assert_allclose(
        rescaled.inverse_transform(Z), factors * vae.inverse_transform(Z) + shifts, rtol=1e-4
    )


def test_linear_manifold_is_reconstructed():
    X = sheet(300, noise=0.01)
    vae = small(lr=1e-2, max_epochs=300, batch_size=64, alpha=0, lambd=1, early_stopping=False)
    back = vae.fit(X).inverse_transform(vae.transform(X))
    r2 = 1 - ((X - back) ** 2).sum(0) / ((X - X.mean(0)) ** 2).sum(0)
    assert r2.min() > 0.99


def test_pandas_comes_back_with_columns_and_dtypes():
    X = mixed_frame()
    vae = small().fit(X)
    back = vae.inverse_transform(vae.transform(X))
    assert isinstance(back, pd.DataFrame)
    pd.testing.assert_series_equal(back.dtypes, X.dtypes)
    assert len(back) == len(X)


def test_polars_comes_back_with_columns_and_dtypes():
    X = pl.from_pandas(mixed_frame())
    vae = small().fit(X)
    back = vae.inverse_transform(vae.transform(X))
    assert isinstance(back, pl.DataFrame)
    assert back.schema == X.schema
    assert back.shape == X.shape


@pytest.mark.parametrize(
    "dtype", ["Int64", "UInt8", "Float32", "boolean", "int64[pyarrow]", "bool[pyarrow]"]
)
def test_nullable_pandas_dtypes_come_back(dtype):
    cells = [1, 0, None, 1] * 10
    X = pd.DataFrame({"a": pd.array(cells, dtype=dtype), "b": np.arange(40.0)})
    vae = small().fit(X)
    back = vae.inverse_transform(vae.transform(X))
    pd.testing.assert_series_equal(back.dtypes, X.dtypes)
    assert not back.isna().any().any()


@pytest.mark.parametrize("names", [[3, 1, 2, 0], ["b", "a", "d", "c"]])
def test_order_and_type_of_column_names_are_kept(X, names):
    frame = pd.DataFrame(X, columns=names)
    vae = small().fit(frame)
    assert list(vae.inverse_transform(vae.transform(frame)).columns) == names


def test_integer_columns_are_the_rounded_float_columns(Z):
    floats = pd.DataFrame(np.rint(sheet()), columns=list("abcd"))
    ints = floats.astype(np.int64)
    expected = small().fit(floats).inverse_transform(Z)
    back = small().fit(ints).inverse_transform(Z)
    np.testing.assert_array_equal(back.to_numpy(), np.rint(expected.to_numpy()))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_integers_stay_within_their_dtype(dtype):
    limits = np.iinfo(dtype)
    column = np.array([limits.min, limits.max] * 20, dtype=dtype)
    X = pd.DataFrame({"a": column, "b": np.tile([0.0, 1.0], 20)})
    vae = small(lr=1e-2, max_epochs=100, early_stopping=False).fit(X)
    back = vae.inverse_transform(1e3 * vae.transform(X))["a"]
    assert back.dtype == dtype
    # A sign that wraps around would put the two halves of the rows in the wrong order.
    top, bottom = back[1::2].to_numpy(), back[::2].to_numpy()
    assert (top > bottom).all()


def test_boolean_column_is_the_more_probable_value():
    X = mixed_frame(200)
    vae = small(lr=1e-2, max_epochs=150, early_stopping=False, alpha=0.9).fit(X)
    back = vae.inverse_transform(vae.transform(X))
    assert (back["bool"] == X["bool"]).mean() > 0.9


def test_expected_value_is_not_clipped_to_the_seen_range(X):
    vae = small(hidden_layer_sizes=(), max_epochs=50, lr=1e-2).fit(X)
    far = vae.inverse_transform(20 * vae.transform(X))
    assert (far.max(0) > X.max(0)).any()


def test_pandas_codes_keep_their_index(X):
    index = pd.Index([f"row {i}" for i in range(len(X))], name="id")
    frame = pd.DataFrame(X, columns=list("abcd"), index=index)
    vae = small().set_output(transform="pandas").fit(frame)
    codes = vae.transform(frame)
    assert codes.index.equals(index)
    back = vae.inverse_transform(codes)
    assert back.index.equals(index)
    assert back.index.name == "id"
    unnamed = vae.inverse_transform(codes.to_numpy())
    assert unnamed.index.equals(pd.RangeIndex(len(X)))
    np.testing.assert_array_equal(unnamed.to_numpy(), back.to_numpy())


def test_codes_of_any_container_decode_alike(vae, Z):
    plain = vae.inverse_transform(Z)
    read_only = Z.copy()
    read_only.flags.writeable = False
    for codes in [
        Z.tolist(),
        Z.astype(np.float64),
        torch.from_numpy(Z),
        np.asfortranarray(Z),
        read_only,
        pd.DataFrame(Z, columns=["x", "y"]),
        pl.DataFrame(Z, schema=["x", "y"]),
    ]:
        np.testing.assert_array_equal(vae.inverse_transform(codes), plain)
    np.testing.assert_array_equal(vae.inverse_transform(Z[::-1]), plain[::-1])


def test_a_row_does_not_depend_on_its_company(vae, Z):
    alone = np.vstack([vae.inverse_transform(Z[[i]]) for i in range(10)])
    np.testing.assert_allclose(alone, vae.inverse_transform(Z)[:10], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((3, 3)), "n_components=2"),
        (np.zeros((3, 1)), "n_components=2"),
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0.0, np.inf]]), "infinity"),
        (np.zeros(2), "2D"),
        (np.empty((0, 2)), "0 sample"),
    ],
    ids=["too wide", "too narrow", "NaN", "inf", "1-D", "empty"],
)
def test_unfit_codes_are_refused(vae, codes, message):
    with pytest.raises(ValueError, match=message):
        vae.inverse_transform(codes)


def test_the_way_back_changes_nothing(vae, X, Z):
    before, codes = weights(vae), Z.copy()
    vae.inverse_transform(Z)
    vae.sample(5, random_state=0)
    assert same_weights(vae, before)
    np.testing.assert_array_equal(Z, codes)
    np.testing.assert_array_equal(vae.transform(X), codes)


def test_sample_is_a_table_like_X():
    X = mixed_frame()
    drawn = small().fit(X).sample(50, random_state=0)
    assert isinstance(drawn, pd.DataFrame)
    pd.testing.assert_series_equal(drawn.dtypes, X.dtypes)
    assert len(drawn) == 50
    polars = small().fit(pl.from_pandas(X)).sample(50, random_state=0)
    assert polars.schema == pl.from_pandas(X).schema
    np.testing.assert_array_equal(polars.to_numpy(), drawn.to_numpy())


def test_sample_stays_in_the_seen_range():
    X = mixed_frame(40)
    drawn = small().fit(X).sample(5000, random_state=0)
    assert (drawn.min() >= X.min()).all()
    assert (drawn.max() <= X.max()).all()
    assert (np.ptp(drawn["float64"]) > 0.5 * np.ptp(X["float64"])).all()


def test_sample_of_booleans_has_their_frequencies():
    X = np.random.default_rng(0).random((300, 2)) < [0.1, 0.7]
    vae = small(lr=1e-2, max_epochs=60).fit(X)
    drawn = vae.sample(4000, random_state=0)
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(0), X.mean(0), atol=0.08)


def test_sample_of_a_linear_network_has_its_covariance():
    X = sheet(300)
    vae = small(hidden_layer_sizes=(), alpha=0, lambd=1, lr=1e-2, max_epochs=150).fit(X)
    weight = vae.module_.decoder.weight.detach().numpy() * X.std(0)[:, None]
    covariance = weight @ weight.T + np.diag(vae.noise_variance_)
    spread = np.sqrt(np.diag(covariance))
    drawn = vae.sample(20_000, random_state=0)
    # Draws beyond the seen range are clipped to it, which takes a little off the variance.
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(spread, spread),
        covariance / np.outer(spread, spread),
        atol=0.05,
    )


def test_sample_is_reproducible(vae):
    first = vae.sample(10, random_state=3)
    assert first.shape == (10, 4)
    np.testing.assert_array_equal(vae.sample(10, random_state=3), first)
    assert not np.array_equal(vae.sample(10, random_state=4), first)
    assert not np.array_equal(vae.sample(10), vae.sample(10))


def test_sample_moves_a_random_state_on(vae):
    state = np.random.RandomState(0)
    assert not np.array_equal(vae.sample(5, state), vae.sample(5, state))


def test_sample_draws_one_row_by_default(vae):
    assert vae.sample().shape == (1, 4)


@pytest.mark.parametrize(
    ("n_samples", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError)]
)
def test_sample_refuses_sizes_that_are_none(vae, n_samples, error):
    with pytest.raises(error, match="n_samples"):
        vae.sample(n_samples)
