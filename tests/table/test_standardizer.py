"""From the units of X to the model's units and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler

from sk_infovae._table import standardizer
from sk_infovae._table.standardizer import FARTHEST, Standardizer, row_blocks

FIELDS = ("centre", "scale", "fill", "low", "high", "has_holes")
EPS = np.finfo(np.float64).eps


def table(n_rows=40, n_columns=5, holes=0.0, zeros=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(3.0, rng.uniform(0.1, 9, n_columns), size=(n_rows, n_columns))
    X[rng.random(X.shape) < zeros] = 0.0
    X[rng.random(X.shape) < holes] = np.nan
    return X


def fit(X, standardised=True):
    return Standardizer.fit(X, np.broadcast_to(standardised, X.shape[1]))


def assert_same(left, right, rtol=1e-12):
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(left, name), getattr(right, name), rtol=rtol, atol=1e-14, err_msg=name
        )


# What is measured


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_dense_columns_are_scaled_as_by_standard_scaler(holes):
    X = table(holes=holes)
    x, mask = fit(X).encode(X, np.float64)
    np.testing.assert_allclose(x, np.nan_to_num(StandardScaler().fit_transform(X)), atol=1e-12)
    if holes:
        assert np.array_equal(mask, ~np.isnan(X))
    else:
        assert mask is None


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_csr_equals_dense(holes):
    """Absent entries are zeros, stored NaN are missing cells."""
    X = table(holes=holes, zeros=0.6)
    standardised = np.array([True, False, True, True, False])
    dense, csr = fit(X, standardised), fit(sparse.csr_matrix(X), standardised)
    assert_same(csr, dense)
    x, mask = csr.encode(sparse.csr_matrix(X), np.float64)
    expected, expected_mask = dense.encode(X, np.float64)
    np.testing.assert_allclose(x, expected, atol=1e-12)
    np.testing.assert_array_equal(mask, expected_mask)
    scaler = StandardScaler(with_mean=False).fit(sparse.csr_matrix(X))
    np.testing.assert_allclose(csr.scale[standardised], scaler.scale_[standardised], rtol=1e-12)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_range_and_holes_are_those_of_the_observed_cells(container):
    X = table(holes=0.3, zeros=0.3)
    X[:, 2] = 1 + np.abs(np.nan_to_num(X[:, 2]))
    found = fit(container(X))
    np.testing.assert_array_equal(found.low, np.nanmin(X, axis=0))
    np.testing.assert_array_equal(found.high, np.nanmax(X, axis=0))
    assert found.has_holes.tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_is_measured_in_float64(container, dtype):
    """Also of float32 tables: scaling is not the place to lose digits."""
    X = (1000 + table()).astype(dtype)
    found = fit(container(X))
    for name in FIELDS[:-1]:
        assert getattr(found, name).dtype == np.float64, name
    np.testing.assert_allclose(found.centre, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.scale, X.std(axis=0, dtype=np.float64), rtol=1e-9)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_blocks_do_not_change_what_is_measured(container, monkeypatch):
    X = table(n_rows=50, n_columns=11, holes=0.2, zeros=0.2)
    whole = fit(container(X))
    for cells in (1, 60, 120, 549):
        monkeypatch.setattr(standardizer, "BLOCK_CELLS", cells)
        assert_same(fit(container(X)), whole)


@given(
    n_rows=st.integers(1, 200), n_columns=st.integers(0, 50), cells=st.sampled_from([1, 7, 64, 512])
)
@settings(deadline=None)
def test_row_blocks_cover_every_row_once_in_order(n_rows, n_columns, cells):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standardizer, "BLOCK_CELLS", cells)
        blocks = list(row_blocks(n_rows, n_columns))
    assert [row for rows in blocks for row in range(n_rows)[rows]] == list(range(n_rows))
    for rows in blocks:
        height = len(range(n_rows)[rows])
        assert height == 1 or height * n_columns <= cells


def test_columns_that_are_not_standardised_stay_as_they_are():
    """Centre 0, scale 1, bit for bit; a missing cell takes the column's mean."""
    X = table(holes=0.3)
    standardised = np.array([True, False, True, False, True])
    found = fit(X, standardised)
    x, mask = found.encode(X, np.float64)
    np.testing.assert_array_equal(
        x[:, ~standardised][mask[:, ~standardised]], X[:, ~standardised][mask[:, ~standardised]]
    )
    for j in range(5):
        expected = 0.0 if standardised[j] else np.nanmean(X[:, j])
        np.testing.assert_allclose(x[~mask[:, j], j], expected, rtol=1e-12)


# Columns with nothing to measure


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.0, 1e8 + 0.1, 1e-8])
def test_a_constant_column_is_centred_and_not_scaled(container, value):
    """0.1 and others have a variance of rounding only, which must not become the scale."""
    X = table()
    X[:, 1] = value
    found = fit(container(X))
    assert found.scale[1] == 1.0
    assert (found.low[1], found.high[1]) == (value, value)
    x, _ = found.encode(container(X), np.float64)
    np.testing.assert_allclose(x[:, 1], 0, atol=8 * EPS * abs(value))
    np.testing.assert_allclose(found.decode(x)[:, 1], value, rtol=4 * EPS)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("value", [0.3, -7.0, 1e8 + 0.1])
def test_a_column_that_varies_by_rounding_only_is_constant(container, value):
    """0.1 + 0.2 beside 0.3: what differs in the last bit must not be blown up to unit variance."""
    X = table()
    X[:, 1] = value
    X[::2, 1] = np.nextafter(value, np.inf)
    assert fit(container(X)).scale[1] == 1.0


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("standardised", [True, False])
def test_a_column_without_a_cell_is_finite(container, standardised):
    X = table(holes=0.2)
    X[:, 3] = np.nan
    found = fit(container(X), standardised)
    for name in FIELDS:
        assert np.isfinite(getattr(found, name)).all(), name
    assert (found.centre[3], found.scale[3], found.fill[3]) == (0, 1, 0)
    assert found.has_holes[3]
    x, mask = found.encode(container(X), np.float64)
    assert np.isfinite(x).all()
    assert not mask[:, 3].any()


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_one_row_is_centred(container):
    X = table(n_rows=1)
    found = fit(container(X))
    np.testing.assert_array_equal(found.scale, 1)
    np.testing.assert_array_equal(found.centre, X[0])


# There and back


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize(
    ("offset", "spread"), [(1e8, 1.0), (-1e8, 1e-3), (0.0, 1e-8), (1.0, 1e-8), (0.0, 1e12)]
)
def test_round_trip_and_scale_at_large_offsets_and_small_scales(container, offset, spread):
    """Back to a few roundings of the largest number in the column; x has unit variance."""
    unit = np.random.default_rng(0).normal(size=(500, 2))
    X = offset + spread * unit
    found = fit(container(X))
    x, mask = found.encode(container(X), np.float64)
    assert mask is None
    size = np.abs(X).max() + np.abs(found.centre).max()
    np.testing.assert_allclose(found.decode(x), X, rtol=0, atol=2 * EPS * size)
    # The cells themselves are rounded to size * EPS, and so is the centre.
    rounding = 4 * EPS * size / spread
    np.testing.assert_allclose(x.std(axis=0), 1, rtol=0, atol=1e-12 + rounding)
    np.testing.assert_allclose(x.mean(axis=0), 0, rtol=0, atol=1e-12 + rounding)


cells = st.one_of(
    st.just(np.nan), st.just(0.0), st.floats(-1e29, 1e29), st.floats(-10, 10), st.integers(-3, 3)
)


@given(
    X=hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=cells),
    standardised=st.booleans(),
    is_sparse=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_round_trip_of_any_table(X, standardised, is_sparse):
    """Observed cells come back to rounding, missing ones as the column's centre or mean.

    But for those that are so far out that they count as nearer.
    """
    container = sparse.csr_matrix if is_sparse else np.asarray
    found = fit(container(X), standardised)
    x, mask = found.encode(container(X), np.float64)
    assert np.isfinite(x).all()
    assert (mask is None) == (not np.isnan(X).any())
    observed = np.ones(X.shape, bool) if mask is None else mask
    assert np.array_equal(observed, ~np.isnan(X))
    back = found.decode(x)
    bound = 3 * EPS * (np.abs(X) + np.abs(found.centre))
    assert (np.abs(back - X) <= bound)[observed & (np.abs(x) < FARTHEST)].all()
    assert (np.abs(x) <= FARTHEST).all()
    filled = np.broadcast_to(found.centre if standardised else found.fill, X.shape)
    assert (np.abs(back - filled) <= 3 * EPS * np.abs(filled))[~observed].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_encode_returns_the_dtype_asked_for_and_leaves_X_alone(container, dtype):
    X = table(holes=0.2)
    given_X = container(X.copy())
    x, mask = fit(given_X).encode(given_X, dtype)
    assert isinstance(x, np.ndarray)
    assert x.dtype == dtype
    assert mask.dtype == bool
    np.testing.assert_array_equal(given_X.toarray() if sparse.issparse(given_X) else given_X, X)


def test_neighbours_near_1e8_stay_apart_in_float32():
    """float32 of X itself would merge them: its step there is 8."""
    X = 1e8 + np.arange(50.0)[:, None]
    found = fit(X)
    x, _ = found.encode(X, np.float32)
    assert len(np.unique(x)) == 50
    np.testing.assert_array_equal(np.rint(found.decode(x)), X)


# The density


def test_log_jacobian_is_the_derivative_of_the_scaling():
    X = table(holes=0.3)
    found = fit(X, np.array([True, False, True, True, True]))
    x, mask = found.encode(X, np.float64)
    moved, _ = found.encode(X + 1.0, np.float64)
    slopes = np.log(np.where(mask, np.abs(moved - x), 1.0))
    np.testing.assert_allclose(found.log_jacobian(mask), slopes.sum(axis=1), rtol=1e-10, atol=1e-12)


def test_log_jacobian_without_a_mask_is_that_of_full_rows():
    found = fit(table())
    full = found.log_jacobian(np.ones((3, 5), dtype=bool))
    np.testing.assert_allclose(full, found.log_jacobian(None), rtol=1e-12)
    np.testing.assert_allclose(found.log_jacobian(None), -np.log(found.scale).sum(), rtol=1e-12)


def test_log_jacobian_carries_a_density_to_the_units_of_X():
    X = table(holes=0.3)
    found = fit(X)
    x, mask = found.encode(X, np.float64)
    in_model_units = np.where(mask, norm.logpdf(x), 0).sum(axis=1)
    expected = np.where(mask, norm.logpdf(X, found.centre, found.scale), 0).sum(axis=1)
    np.testing.assert_allclose(in_model_units + found.log_jacobian(mask), expected, rtol=1e-10)


# Cells far outside


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_a_gross_error_does_not_set_the_scale(container):
    """It counts as if it stood at the fence: thirty interquartile ranges off the quartiles."""
    X = table(n_rows=400)
    clean = fit(container(X))
    X[7, 2] = 1e12
    found = fit(container(X))
    low, high = np.sort(X[:, 2])[[100, 299]]
    fence = high + 30 * (high - low)
    expected = np.where(X[:, 2] > fence, fence, X[:, 2])
    np.testing.assert_allclose(found.centre[2], expected.mean(), rtol=0.02)
    np.testing.assert_allclose(found.scale[2], expected.std(), rtol=0.05)
    assert found.scale[2] < 3 * clean.scale[2]
    assert found.high[2] == 1e12  # the range is the cells' own
    x, _ = found.encode(container(X), np.float64)
    np.testing.assert_allclose(found.decode(x), X, rtol=1e-12)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found.scale[others], clean.scale[others])


RARE = {0.3: 0.25, 0.2: 0.1, 0.08: 0.05, 0.03: 0.01}
"""Part of the cells that differ from 0 on either side, and the quantiles that so differ first."""


def spikes(part, n_rows=1000):
    """Zeros, but for a part of the cells above and the same part below: whole numbers to 9."""
    X = np.zeros(n_rows)
    size = round(part * n_rows)
    X[:size] = 1 + np.arange(size) % 9
    X[size : 2 * size] = -X[:size]
    return np.random.default_rng(0).permutation(X)[:, None]


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize(("part", "tail"), RARE.items())
def test_where_quartiles_coincide_the_next_wider_quantiles_set_the_fence(container, part, tail):
    """Their distance, times what makes it an interquartile range under a normal distribution."""
    X = spikes(part)
    X[3] = 1e9
    low, high = np.sort(X[:, 0])[np.rint(np.array([tail, 1 - tail]) * 999).astype(int)]
    fence = high + 30 * (high - low) * norm.ppf(0.25) / norm.ppf(tail)
    expected = np.minimum(X, fence)
    found = fit(container(X))
    np.testing.assert_allclose(found.centre, expected.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.scale, expected.std(axis=0), rtol=1e-12)
    assert found.high == 1e9


def test_under_a_normal_distribution_every_pair_gives_the_same_fence(monkeypatch):
    """So that the fence does not jump where a column gains a few cells at its centre."""
    X = norm.ppf((np.arange(20001) + 0.5) / 20001)[:, None]
    found = []
    for tail, needed in standardizer.TAILS.items():
        monkeypatch.setattr(standardizer, "TAILS", {tail: needed})
        (lowest,), (highest,) = standardizer._fences(X)
        assert lowest == pytest.approx(-highest, rel=1e-9)
        found.append(highest - norm.ppf(1 - tail))
    np.testing.assert_allclose(found, 30 * 2 * norm.ppf(0.75), rtol=1e-3)


@given(
    part=st.sampled_from([0.0, 0.01, 0.02, 0.06, 0.15, 0.3, 0.6]),
    scale=st.floats(1e-3, 1e3),
    shift=st.sampled_from([0.0, -5.0, 1e3]),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_fences_move_with_the_units(part, scale, shift, seed):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((800, 1)) < part, rng.exponential(size=(800, 1)), 0.0)
    for found, expected in zip(
        standardizer._fences(scale * X + shift), standardizer._fences(X), strict=True
    ):
        np.testing.assert_allclose(found, scale * expected + shift, rtol=1e-6, atol=1e-6)
    mirrored = standardizer._fences(-X[::-1])
    for found, expected in zip(mirrored, standardizer._fences(X)[::-1], strict=True):
        np.testing.assert_allclose(found, -expected, rtol=1e-9)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("rate", [0.002, 0.01, 0.02, 0.1, 0.4])
@pytest.mark.parametrize("values", ["indicators", "counts"])
def test_rare_indicators_and_counts_are_content(container, rate, values):
    """They set the scale as if there were no fence, and stand near: no farther than rate^-1/2."""
    rng = np.random.default_rng(1)
    X = rng.poisson(rate, size=(4000, 6)).astype(float)
    X = np.minimum(X, 1) if values == "indicators" else X
    found = fit(container(X))
    np.testing.assert_allclose(found.scale, X.std(axis=0), rtol=1e-9)
    assert found.reach(np.ones(6, dtype=bool)) < 2 * X.max() * rate**-0.5


def test_content_that_few_rows_have_keeps_its_digits_beside_an_error():
    """3 % of rows hold 1 to 9, one holds a billion: the others still differ by the scale."""
    X = spikes(0.03)
    X[3] = 1e9
    x, _ = fit(X).encode(X, np.float64)
    rows = np.flatnonzero(np.abs(X[:, 0]) == 9)
    assert len(rows) > 3
    assert (np.abs(x[rows, 0]) > 0.3).all()


@pytest.mark.parametrize("n_rows", [40, 400])
def test_too_few_other_values_for_any_pair_leave_no_fence(n_rows):
    """Four cells can be the column's content, as far as anyone can tell."""
    X = table(n_rows=n_rows)
    X[:, 1] = 0.0
    X[: 4 if n_rows == 40 else 1, 1] = 5000.0
    np.testing.assert_allclose(fit(X).scale[1], X[:, 1].std(), rtol=1e-12)


def test_a_column_of_few_values_apart_from_one_is_content():
    """Most gains are 0: the others are no errors, however far from 0."""
    X = table(n_rows=400)
    X[:, 1] = 0.0
    X[::10, 1] = 5000.0
    np.testing.assert_allclose(fit(X).scale[1], X[:, 1].std(), rtol=1e-12)


def test_reach_is_the_largest_distance_from_the_centre():
    X = table()
    found = fit(X)
    x, _ = found.encode(X, np.float64)
    chosen = np.array([True, False, True, False, False])
    assert found.reach(chosen) == pytest.approx(np.abs(x[:, chosen]).max(), rel=1e-12)
    assert found.reach(np.zeros(5, dtype=bool)) == 0
