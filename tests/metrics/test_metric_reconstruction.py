"""What comes back of a table, and whose neighbours stay."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from metric_fits import HOLES, SURE, X, linear, small, with_seed
from scipy import stats
from sklearn import manifold
from sklearn.metrics import r2_score

from sk_infovae import metrics
from sk_infovae.likelihoods import Gaussian


def by_hand(vae, table):
    """Observed cells and what they come back as, column by column."""
    back = vae.inverse_transform(vae.transform(table))
    table, back = (np.asarray(one, dtype=float) for one in (table, back))
    seen = ~np.isnan(table)
    return [(a[s], b[s]) for a, b, s in zip(table.T, back.T, seen.T, strict=True)]


def test_error_of_numbers_is_in_training_deviations(fitted):
    """Also where the rows scored vary less than those of the fit."""
    few = HOLES[np.nan_to_num(HOLES[:, 0], nan=13) > 13]
    scale = np.nanstd(HOLES, axis=0)
    errors = [math.sqrt(((a - b) ** 2).mean()) for a, b in by_hand(fitted, few)]
    found = metrics.neg_reconstruction_error(fitted, few)
    assert found == pytest.approx(-np.mean(errors / scale), rel=1e-9)


def test_error_of_mixed_columns(frame, of_frame):
    """Numbers by RMSE over the deviation, booleans by the part that comes back wrong."""
    held = frame[150:]
    pairs = by_hand(of_frame, held)
    scale = [np.nanstd(frame[:150][name]) for name in ("float", "int")]
    numbers = [
        math.sqrt(((a - b) ** 2).mean()) / s for (a, b), s in zip(pairs, scale, strict=False)
    ]
    levels = [(a != b).mean() for a, b in pairs[2:]]
    assert min(numbers) > 0.1
    assert 0 < min(levels) < max(levels) < 0.3
    found = metrics.neg_reconstruction_error(of_frame, held)
    assert found == pytest.approx(-np.mean(numbers + levels), rel=1e-9)


def test_units_change_neither_error_nor_r2(fitted):
    scaled = small().fit(1024 * HOLES)
    for metric in (metrics.neg_reconstruction_error, metrics.reconstruction_r2):
        assert metric(scaled, 1024 * HOLES) == pytest.approx(metric(fitted, HOLES), rel=1e-9)


def test_numbers_that_are_not_standardised_count_in_their_own_units():
    data = X / X.max(axis=0)
    vae = small(likelihood=Gaussian(standardised=False)).fit(data)
    errors = [math.sqrt(((a - b) ** 2).mean()) for a, b in by_hand(vae, data)]
    assert metrics.neg_reconstruction_error(vae, data) == pytest.approx(-np.mean(errors), rel=1e-9)


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_r2_is_sklearns_of_what_comes_back(container):
    data = container(X)
    vae = small(3).fit(data)
    back = vae.inverse_transform(vae.transform(data))
    expected = r2_score(data, back)
    assert 0.2 < expected < 0.9
    assert metrics.reconstruction_r2(vae, data) == pytest.approx(expected, rel=1e-9)


def test_r2_of_mixed_columns_and_holes(frame, of_frame):
    """Booleans as 0 and 1; each column over its own observed cells."""
    held = frame[150:]
    parts = [r2_score(a, b) for a, b in by_hand(of_frame, held)]
    assert metrics.reconstruction_r2(of_frame, held) == pytest.approx(np.mean(parts), rel=1e-9)


def test_r2_of_constant_columns_is_sklearns():
    """1 where it comes back exactly (an integer, rounded), 0 where it does not."""
    data = pd.DataFrame({"x": X[:, 0], "int": 7, "float": 0.1})
    vae = linear(data, [[1.0, 0, 0]], 0.0, -3.0, [[1.0], [0.1], [0.1]], 0.01)
    back = vae.inverse_transform(vae.transform(data))
    assert (back["int"] == 7).all()
    assert (back["float"] != 0.1).all()
    expected = (r2_score(data["x"], back["x"]) + 1 + 0) / 3
    assert metrics.reconstruction_r2(vae, data) == pytest.approx(expected, rel=1e-9)


def test_perfect_reconstruction_is_0_and_1_exactly():
    """Integers that are rounded, and booleans by the sign of their log-odds."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"int": rng.integers(-50, 50, 80), "bool": rng.uniform(size=80) < 0.3})
    vae = linear(data, np.eye(2), 0.0, -5.0, [[1.0, 0.0], [0.0, 2.0]], [0.0, -1.0])
    assert metrics.neg_reconstruction_error(vae, data) == 0
    assert metrics.reconstruction_r2(vae, data) == 1
    as_polars = pl.from_pandas(data)
    vae = linear(as_polars, np.eye(2), 0.0, -5.0, [[1.0, 0.0], [0.0, 2.0]], [0.0, -1.0])
    assert metrics.neg_reconstruction_error(vae, as_polars) == 0


def test_booleans_of_an_array():
    flags = np.random.default_rng(5).uniform(size=(90, 4)) < 0.4
    vae = small().fit(flags)
    back = vae.inverse_transform(vae.transform(flags))
    wrong = (flags != back).mean()
    assert 0 < wrong < 1
    assert metrics.neg_reconstruction_error(vae, flags) == pytest.approx(-wrong, rel=1e-9)
    expected = r2_score(flags.astype(float), back)
    assert metrics.reconstruction_r2(vae, flags) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def mixed():
    """A number, a category with holes and an ordered category, and a model of them."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=120)
    city = np.where(x + 0.3 * rng.normal(size=120) > 0, "Oslo", "Rome").astype(object)
    city[::7] = None
    grade = pd.Categorical.from_codes(np.digitize(x, [-0.5, 0.5]), ["c", "b", "a"], ordered=True)
    data = pd.DataFrame({"x": x, "city": city, "grade": grade})
    return small(2, max_epochs=20, likelihood={"grade": "ordinal"}).fit(data), data


def test_categories_are_right_or_wrong_and_have_no_r2(mixed):
    vae, data = mixed
    back = vae.inverse_transform(vae.transform(data))
    seen = data["city"].notna()
    wrong = (back["city"] != data["city"])[seen].mean(), (back["grade"] != data["grade"]).mean()
    assert 0 < wrong[0] < 1
    off = math.sqrt(np.square(back["x"] - data["x"]).mean()) / data["x"].std(ddof=0)
    found = metrics.neg_reconstruction_error(vae, data)
    assert found == pytest.approx(-np.mean([off, *wrong]), rel=1e-9)
    expected = r2_score(data["x"], back["x"])
    assert metrics.reconstruction_r2(vae, data) == pytest.approx(expected, rel=1e-9)


def test_two_levels_are_1_apart_for_neighbours(mixed):
    vae, data = mixed
    x = standardised(data[["x"]].to_numpy(), data[["x"]].to_numpy())
    levels = [
        # The most frequent level stands for a missing one: code 0.
        data["city"].fillna(data["city"].mode()[0]).to_numpy()[:, None] == ["Oslo", "Rome"],
        data["grade"].to_numpy()[:, None] == ["a", "b", "c"],
    ]
    cells = np.hstack([x, *(one / np.sqrt(2) for one in levels)])
    expected = manifold.trustworthiness(cells, vae.transform(data), n_neighbors=5)
    assert metrics.trustworthiness(vae, data) == pytest.approx(expected, rel=1e-9)


def test_columns_without_cells_are_left_out(fitted):
    few = HOLES[:40].copy()
    few[:, 2] = np.nan
    few[1:, 5], few[0, 5] = np.nan, 100.0
    few[2:, 7], few[:2, 7] = np.nan, [0.1, 0.4]
    pairs, scale = by_hand(fitted, few), np.nanstd(HOLES, axis=0)
    kept = [j for j in range(13) if j != 2]
    errors = [math.sqrt(np.square(np.subtract(*pairs[j])).mean()) / scale[j] for j in kept]
    found = metrics.neg_reconstruction_error(fitted, few)
    assert found == pytest.approx(-np.mean(errors), rel=1e-9)
    parts = [r2_score(*pairs[j]) for j in kept if j != 5]
    assert metrics.reconstruction_r2(fitted, few) == pytest.approx(np.mean(parts), rel=1e-9)


def test_nothing_to_compare_is_an_error(fitted):
    empty = np.full((5, 13), np.nan)
    for metric in (metrics.neg_reconstruction_error, metrics.reconstruction_r2):
        with pytest.raises(ValueError, match=r"No column of X .*0 of 13.*Score on more rows"):
            metric(fitted, empty)
    with pytest.raises(ValueError, match="No column of X"):
        metrics.reconstruction_r2(fitted, X[:1])
    assert metrics.neg_reconstruction_error(fitted, X[:1]) < 0


def standardised(data, train):
    cells = (data - np.nanmean(train, axis=0)) / np.nanstd(train, axis=0)
    return np.nan_to_num(cells, nan=0.0)


def test_trustworthiness_is_sklearns_on_standardised_cells(fitted):
    few, Z = HOLES[:60], fitted.transform(HOLES[:60])
    expected = manifold.trustworthiness(standardised(few, HOLES), Z, n_neighbors=5)
    assert 0.5 < expected < 0.99
    assert metrics.trustworthiness(fitted, few) == pytest.approx(expected, rel=1e-9)


def test_neighbours_are_looked_for_among_some_rows_of_a_large_table(monkeypatch, fitted):
    monkeypatch.setattr(metrics, "MOST_ROWS_OF_NEIGHBORS", 100)
    measured, sklearns = [], manifold.trustworthiness

    def spy(cells, Z, n_neighbors):
        measured.append((cells, Z))
        return sklearns(cells, Z, n_neighbors=n_neighbors)

    monkeypatch.setattr(manifold, "trustworthiness", spy)
    other = with_seed(fitted, 5)
    assert metrics.trustworthiness(fitted, HOLES) == metrics.trustworthiness(other, HOLES)
    (cells, Z), _ = measured
    whole = standardised(HOLES, HOLES)
    places = [np.flatnonzero((np.abs(whole - row) < 1e-9).all(1))[0] for row in cells]
    assert len(set(places)) == 100
    np.testing.assert_allclose(Z, fitted.transform(HOLES[places]), rtol=1e-5, atol=1e-6)
    # Of 178 the first 100 have about 100 / 178 of the chosen, a hypergeometric number.
    early = sum(place < 100 for place in places)
    assert abs(early - 56.2) < SURE * stats.hypergeom(178, 100, 100).std()


def test_neighborhood_preservation_is_the_recall_of_neighbours(fitted):
    few, Z = HOLES[:60], fitted.transform(HOLES[:60])
    near = []
    for points in (standardised(few, HOLES), Z):
        distances = np.linalg.norm(points[:, None] - points, axis=-1)
        np.fill_diagonal(distances, np.inf)
        near.append(distances.argsort(1)[:, :5])
    expected = np.mean([len({*a} & {*b}) / 5 for a, b in zip(*near, strict=True)])
    assert 0.2 < expected < 0.9
    assert metrics.neighborhood_preservation(fitted, few) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match=r"neighborhood_preservation needs more than 10 rows"):
        metrics.neighborhood_preservation(fitted, X[:10])


def test_trustworthiness_of_more_rows_than_neighbours_can_be_told_of(fitted):
    with pytest.raises(ValueError, match=r"more than 10 rows.*n_samples=10\. Score on more rows"):
        metrics.trustworthiness(fitted, X[:10])
    assert 0 <= metrics.trustworthiness(fitted, X[:11]) <= 1
