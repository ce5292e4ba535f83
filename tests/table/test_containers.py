"""Every container gives the same."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from small_tables import everything_works, holes, small, table

from sk_infovae._training.fitting import CALIBRATION_CELLS


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix])
def test_sparse_equals_dense(container):
    X = table() * (np.random.default_rng(2).random((60, 4)) < 0.5)
    X[5, 2] = np.nan  # a stored NaN is missing, an absent entry is 0
    dense, from_sparse = small().fit(X), small().fit(container(X))
    np.testing.assert_allclose(
        from_sparse.transform(container(X)), dense.transform(X), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        from_sparse.score_samples(container(X)), dense.score_samples(X), rtol=1e-4
    )
    np.testing.assert_allclose(from_sparse.noise_variance_, dense.noise_variance_, rtol=1e-4)
    for ours, theirs in zip(from_sparse.history_, dense.history_, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


def test_zeros_that_are_not_stored_may_be_far_out():
    """Beyond the fence of a column they set centre and scale no more than stored ones do."""
    X = table()
    X[:, 1], X[:, 2] = 100 + X[:, 1], -100 - X[:, 2]
    X[[3, 20, 40], 1] = X[[7, 9], 2] = 0.0
    dense, from_sparse = (small().fit(kind(X))._layout for kind in (np.asarray, sparse.csr_matrix))
    for name in ("centre", "scale", "low", "high", "fill"):
        ours, theirs = (getattr(one.standardizer, name) for one in (from_sparse, dense))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=name)
    assert np.abs(dense.standardizer.centre[1]) > 96  # 95 with the zeros as they are


def test_sparse_is_never_dense_as_a_whole(monkeypatch):
    # More cells than the blocks hold that transform and score work through.
    X = sparse.random(1500, 2000, density=0.005, format="csr", random_state=0)
    largest = 0

    def watch(kind):
        whole = kind.toarray

        def toarray(self, *args, **kwargs):
            nonlocal largest
            largest = max(largest, self.shape[0] * self.shape[1])
            return whole(self, *args, **kwargs)

        monkeypatch.setattr(kind, "toarray", toarray)

    for kind in ("csr", "csc", "coo"):
        watch(getattr(sparse, f"{kind}_matrix"))
        watch(getattr(sparse, f"{kind}_array"))
    vae = small(batch_size=64, max_epochs=2, likelihood={0: "bernoulli"}, n_importance_samples=2)
    X.data[:] = 1.0
    vae.fit(X, X_val=X[:10])
    assert 0 < largest <= CALIBRATION_CELLS / vae.n_components
    assert largest < X.shape[0] * X.shape[1]
    vae.transform(X)
    vae.score(X)
    assert largest < X.shape[0] * X.shape[1]


def test_every_container_gives_the_same_bits(X, Z):
    scores = small().fit(X).score_samples(X)
    names = list("abcd")
    for same in [
        pd.DataFrame(X, columns=names),
        pl.DataFrame(X, schema=names),
        torch.from_numpy(X),
        X.tolist(),
        np.asfortranarray(X),
        X.astype(">f8"),
        X.astype(object),
        np.repeat(X, 2, axis=0)[::2],
        X[::-1][::-1],
    ]:
        vae = small().fit(same)
        np.testing.assert_array_equal(vae.transform(same), Z)
        np.testing.assert_array_equal(vae.score_samples(same), scores)


def test_tensor_with_a_gradient(X, Z):
    tensor = torch.from_numpy(X).requires_grad_()
    np.testing.assert_array_equal(small().fit(tensor).transform(tensor), Z)
    assert tensor.grad is None


def test_read_only_memory_map(X, Z, tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r")
    vae = small().fit(mapped)
    np.testing.assert_array_equal(vae.transform(mapped), Z)
    assert np.isfinite(vae.score(mapped))


def test_read_only_zeros_and_ones(X, tmp_path):
    path = tmp_path / "truth.npy"
    truth = (X > 0).astype(float)
    np.save(path, truth)
    mapped = np.load(path, mmap_mode="r")
    vae = small(likelihood="bernoulli").fit(mapped)
    everything_works(vae, mapped)
    np.testing.assert_array_equal(
        vae.transform(mapped), small(likelihood="bernoulli").fit(truth).transform(truth)
    )


def test_X_is_left_alone(X):
    torn = holes(X)
    before = torn.copy()
    vae = small().fit(torn)
    vae.transform(torn)
    vae.score(torn)
    vae.partial_fit(torn)
    np.testing.assert_array_equal(torn, before)


def test_float32_is_close_to_float64(X, Z):
    single = X.astype(np.float32)
    np.testing.assert_allclose(small().fit(single).transform(single), Z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, np.float16])
def test_other_numbers_are_read_as_floats(X, dtype):
    whole = np.abs(np.rint(10 * X)).astype(dtype)
    np.testing.assert_array_equal(
        small().fit(whole).transform(whole),
        small().fit(whole.astype(np.float64)).transform(whole.astype(np.float64)),
    )


def test_booleans_are_bernoulli_in_every_container(X):
    truth = X > 0
    expected = small().fit(truth).transform(truth)
    names = list("abcd")
    for same in [
        pd.DataFrame(truth, columns=names),
        pl.DataFrame(truth, schema=names),
        torch.from_numpy(truth),
        truth.tolist(),
    ]:
        vae = small().fit(same)
        assert np.isnan(vae.noise_variance_).all()
        np.testing.assert_array_equal(vae.transform(same), expected)
