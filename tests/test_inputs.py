"""What X may be, and what it may not: odd input, tried one by one."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae.exceptions import SchemaError
from sk_infovae.likelihoods import Bernoulli, Gaussian


def small(**params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 5,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    return InfoVAETransformer(**(defaults | params))


def table(n_rows=60, n_columns=4, seed=0):
    """Rows near a plane."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, n_columns))
    return plane + 0.1 * rng.normal(size=(n_rows, n_columns))


def holes(X, share=0.2, columns=slice(None), seed=1):
    """X with a share of its cells missing in some columns."""
    X = X.copy()
    part = X[:, columns]
    part[np.random.default_rng(seed).random(part.shape) < share] = np.nan
    X[:, columns] = part
    return X


def everything_works(vae, X):
    """Every method gives finite numbers of the right shape; returns the embedding."""
    Z = vae.transform(X)
    assert Z.shape == (len(X), vae.n_components)
    assert Z.dtype == np.float32
    assert np.isfinite(Z).all()
    mean, std = vae.posterior(X)
    np.testing.assert_array_equal(mean, Z)
    assert np.isfinite(std).all()
    assert (std > 0).all()
    assert np.isfinite(vae.inverse_transform(Z)).all()
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.sample(5, random_state=0)).all()
    assert all(np.isfinite(list(epoch.values())).all() for epoch in vae.history_)
    return Z


def stays_unfitted(vae):
    """No trace of a fit that failed."""
    with pytest.raises(NotFittedError):
        vae.transform(table())
    return not [name for name in vars(vae) if name.endswith("_")]


@pytest.fixture(scope="module")
def X():
    return table()


@pytest.fixture(scope="module")
def Z(X):
    return small().fit(X).transform(X)


# --- numbers of rows and columns


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
    vae = small(batch_size=batch_size, early_stopping=False, max_epochs=3).fit(X)
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


# --- columns without spread, without values, far from 1


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


# --- missing cells


def test_encoder_is_told_about_holes_in_columns_that_had_them(X):
    widths = []

    def encoder(n_inputs, n_components):
        widths.append(n_inputs)
        return nn.Linear(n_inputs, 2 * n_components)

    small(encoder=encoder).fit(holes(X, columns=[1, 3]))
    small(encoder=encoder).fit(X)
    assert widths == [6, 4]


def test_a_hole_in_a_marked_column_is_not_its_centre(X):
    torn = holes(X, columns=[1])
    vae = small().fit(torn)
    row, filled = X[[0]].copy(), X[[0]].copy()
    row[0, 1], filled[0, 1] = np.nan, np.nanmean(torn[:, 1])
    assert np.abs(vae.transform(row) - vae.transform(filled)).max() > 1e-3


def test_a_hole_elsewhere_takes_the_centre_of_its_column(X):
    vae = small().fit(holes(X, columns=[1]))
    rows, filled = X[:5].copy(), X[:5].copy()
    rows[:, 2], filled[:, 2] = np.nan, X[:, 2].mean()
    np.testing.assert_allclose(vae.transform(rows), vae.transform(filled), rtol=1e-5)


def test_missing_cells_do_not_teach_the_decoder():
    # Filled with their centre and learned, they would make the noise a tenth of what it is.
    rng = np.random.default_rng(0)
    X = np.column_stack([table(300, 3), 50 + rng.normal(size=300)])
    X[rng.random(300) < 0.9, 3] = np.nan
    vae = small(max_epochs=150, lr=2e-2, early_stopping=False, alpha=0, lambd=1).fit(X)
    assert vae.noise_variance_[3] > 0.4 * np.nanvar(X[:, 3])


def test_what_lies_under_a_hole_does_not_matter():
    torn = holes(table())
    pandas, polars = pd.DataFrame(torn), pl.DataFrame(torn, nan_to_null=True)
    expected = small().fit(torn).transform(torn)
    np.testing.assert_array_equal(small().fit(pandas).transform(pandas), expected)
    np.testing.assert_array_equal(small().fit(polars).transform(polars), expected)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1.0, None, 3.0, 4.0] * 10, "b": [0.5, 2.0, None, 1.0] * 10}),
        pl.DataFrame({"a": [1.0, None, 3.0, 4.0] * 10, "b": [0.5, 2.0, None, 1.0] * 10}),
        pl.DataFrame({"a": [1, None, 3, 4] * 10, "b": [True, False, None, True] * 10}),
        pd.DataFrame(
            {
                "a": pd.array([1, None, 3, 4] * 10, dtype="Int64"),
                "b": pd.array([True, False, None, True] * 10, dtype="boolean"),
            }
        ),
    ],
    ids=["pandas", "polars", "polars int and bool", "pandas int and bool"],
)
def test_none_in_a_frame_is_a_missing_cell(frame):
    vae = small().fit(frame)
    assert np.isfinite(vae.transform(frame)).all()
    assert np.isfinite(vae.score_samples(frame)).all()
    assert vae.module_.encoder[0].in_features == 4


def test_a_hole_in_a_boolean_column_is_no_vote():
    cells = ([True] * 9 + [False]) * 4 + [None] * 160
    frame = pd.DataFrame({"a": pd.array(cells, dtype="boolean"), "b": np.tile([0.0, 1.0], 100)})
    vae = small(lr=2e-2, max_epochs=150, early_stopping=False, alpha=0, lambd=1).fit(frame)
    drawn = vae.sample(2000, random_state=0)["a"].mean()
    assert drawn == pytest.approx(0.9, abs=0.06)


# --- containers


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
    assert 0 < largest <= 65 * 2000
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


# --- values and shapes that are errors


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


# --- likelihoods


def test_bernoulli_refuses_what_is_no_probability(X):
    X = np.abs(X) / np.abs(X).max()
    for value in (-0.01, 1.5):
        bad = X.copy()
        bad[7, 2] = value
        vae = small(likelihood={2: "bernoulli"})
        with pytest.raises(ValueError, match=rf"Column 2 .*Bernoulli.*between 0 and 1.*{value:g}"):
            vae.fit(bad)
        assert stays_unfitted(vae)


def test_bernoulli_names_the_column_of_a_frame(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match="Column 'c'"):
        small(likelihood={"c": "bernoulli"}).fit(frame)


def test_grey_values_train_but_have_no_score(X):
    X = np.abs(X) / np.abs(X).max()
    vae = small(likelihood="bernoulli").fit(X)
    assert np.isfinite(vae.transform(X)).all()
    back = vae.inverse_transform(vae.transform(X))
    assert ((back > 0) & (back < 1)).all()
    for method in (vae.score, vae.score_samples):
        with pytest.raises(ValueError, match=r"Column 0 .*be 0 or 1"):
            method(X)


def test_bernoulli_of_validation_rows_is_checked(X):
    truth = (X > 0).astype(float)
    with pytest.raises(ValueError, match="between 0 and 1"):
        small(likelihood="bernoulli").fit(truth, X_val=truth + 0.5)


def test_likelihood_by_integer(X):
    X = np.column_stack([X, X[:, 0] > 0])
    vae = small(likelihood={4: "bernoulli", np.int64(0): "auto"}).fit(X)
    np.testing.assert_array_equal(np.isnan(vae.noise_variance_), [False] * 4 + [True])


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_likelihood_by_name(X, kind):
    frame = kind({"a": X[:, 0], "b": (X[:, 1] > 0).astype(float), "c": X[:, 2] > 0})
    vae = small(likelihood={"b": "bernoulli"}).fit(frame)
    np.testing.assert_array_equal(np.isnan(vae.noise_variance_), [False, True, True])


def test_likelihood_by_instance(X):
    floor = 0.5
    vae = small(likelihood=Gaussian(floor=floor), max_epochs=100, lr=5e-2).fit(X)
    assert (vae.noise_variance_ > floor * X.var(0)).all()
    mixed = small(likelihood={0: Bernoulli(), 1: Gaussian(floor=0.1)})
    truth = (X > 0).astype(float)
    np.testing.assert_array_equal(
        np.isnan(mixed.fit(truth).noise_variance_), [True, False, False, False]
    )


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        ({9: "bernoulli"}, "column 9, which X does not have"),
        ({"a": "bernoulli"}, "column 'a', which X does not have"),
        ({0: "poison"}, "got 'poison'"),
        ("poison", "'likelihood' parameter"),
        (Gaussian(floor=0.0), "floor=0.0"),
    ],
    ids=["index", "name", "family", "family of all", "floor"],
)
def test_likelihood_that_makes_no_sense_is_refused(X, likelihood, message):
    vae = small(likelihood=likelihood)
    with pytest.raises(ValueError, match=message):
        vae.fit(X)
    assert stays_unfitted(vae)


# --- networks of the user's own


class Encoder(nn.Module):
    """A class that takes the two widths."""

    def __init__(self, n_inputs, n_components):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_inputs, 8), nn.Tanh())
        self.mean = nn.Linear(8, n_components)
        self.log_variance = nn.Linear(8, n_components)

    def forward(self, x):
        h = self.layers(x)
        return torch.cat([self.mean(h), self.log_variance(h)], -1)


def make_decoder(n_components, n_outputs):
    return nn.Sequential(nn.Linear(n_components, 8), nn.Tanh(), nn.Linear(8, n_outputs))


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (Encoder, None),
        (None, make_decoder),
        (Encoder, make_decoder),
        (lambda i, o: nn.Linear(i, 2 * o), lambda i, o: nn.Linear(i, o)),
    ],
    ids=["class", "function", "both", "lambda"],
)
def test_networks_of_the_users_own(X, encoder, decoder):
    vae = small(encoder=encoder, decoder=decoder).fit(X)
    everything_works(vae, X)
    if encoder is Encoder:
        assert isinstance(vae.module_.encoder, Encoder)


def test_own_networks_see_the_widths_of_the_table(X):
    seen = []

    def encoder(n_inputs, n_components):
        seen.append(("encoder", n_inputs, n_components))
        return nn.Linear(n_inputs, 2 * n_components)

    def decoder(n_components, n_outputs):
        seen.append(("decoder", n_components, n_outputs))
        return nn.Linear(n_components, n_outputs)

    small(n_components=3, encoder=encoder, decoder=decoder).fit(X)
    assert seen == [("encoder", 4, 3), ("decoder", 3, 4)]


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_module_instance_is_refused(X, name):
    vae = small(**{name: nn.Linear(4, 4)})
    with pytest.raises(ValueError, match=rf"{name} must be a class or a factory"):
        vae.fit(X)
    assert stays_unfitted(vae)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"encoder": lambda i, o: nn.Linear(i, o)}, r"encoder must map .*\(batch, 4\)"),
        ({"decoder": lambda i, o: nn.Linear(i, 2 * o)}, r"decoder must map .*\(batch, 4\)"),
        ({"encoder": lambda i, o: nn.Linear(i + 1, 2 * o)}, "encoder"),
        ({"encoder": lambda i, o: nn.LSTM(i, 2 * o)}, "encoder"),
        ({"decoder": lambda i, o: None}, "decoder"),
    ],
    ids=["narrow", "wide", "wrong input", "returns a tuple", "no module"],
)
def test_network_of_the_wrong_shape_is_refused(X, params, message):
    vae = small(**params)
    with pytest.raises(ValueError, match=message):
        vae.fit(X)
    assert stays_unfitted(vae)


@pytest.mark.parametrize("sizes", [(0,), (8, -1), (2.5,), ("8",)])
def test_hidden_layer_sizes_must_be_positive_integers(X, sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        small(hidden_layer_sizes=sizes).fit(X)


@pytest.mark.parametrize("sizes", [[16], np.array([16]), (np.int64(16),)])
def test_hidden_layer_sizes_of_any_sequence(X, Z, sizes):
    np.testing.assert_array_equal(small(hidden_layer_sizes=sizes).fit(X).transform(X), Z)


# --- devices


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta"])
def test_unknown_device_is_refused(X, device):
    vae = small(device=device)
    with pytest.raises(ValueError, match=f"device.*{device}"):
        vae.fit(X)
    assert stays_unfitted(vae)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_device_by_name_and_by_object(X, device):
    vae = small(device=device).fit(X)
    assert next(vae.module_.parameters()).device.type == "cpu"
    everything_works(vae, X)


def test_columns_of_none_and_of_objects():
    """None has no dtype of its own: text to pandas, null to polars, an object beside numbers."""
    numbers = np.random.default_rng(0).normal(size=30)
    columns = {"x": numbers, "nothing": [None] * 30}
    pandas = pd.DataFrame(columns | {"some": pd.Series([1, None, 2.5] * 10, dtype=object)})
    polars = pl.DataFrame(columns | {"some": [1.0, None, 2.5] * 10})
    array = np.column_stack([numbers, np.full(30, np.nan), np.array([1, np.nan, 2.5] * 10)])
    expected = small().fit_transform(array)
    for frame in (pandas, polars):
        vae = small().fit(frame)
        np.testing.assert_array_equal(vae.transform(frame), expected)
        back = vae.inverse_transform(expected)
        assert list(back.columns) == ["x", "nothing", "some"]
        assert np.isfinite(np.asarray(back, dtype=float)).all()
    with pytest.raises(SchemaError, match="'some'"):
        small().fit(pandas.assign(some=["1", None, 2.5] * 10))
