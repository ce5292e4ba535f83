"""Neighbours of rows, against all distances."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from sk_infovae import InfoVAETransformer
from sk_infovae._model import graph
from sk_infovae._model.graph import find_neighbors
from sk_infovae._training import training as preparing
from sk_infovae._training.fitting import prepare_fit
from sk_infovae._training.training import with_neighbors


def prepared(X, **params):
    params = {"neighbor_weight": 1.0, "early_stopping": False, "random_state": 0, **params}
    return prepare_fit(InfoVAETransformer(**params), X).training


def nearest(X, k):
    distances = cdist(X, X)
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances.argsort(1)[:, :k], 1)


@pytest.mark.parametrize("k", [1, 4, 29])
def test_they_are_the_nearest(k):
    X = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    found = find_neighbors(X, k)
    np.testing.assert_array_equal(np.sort(found, 1), nearest(X, k))


def test_equal_rows_are_neighbours_of_each_other_and_not_of_themselves():
    X = np.repeat(np.arange(3.0, dtype=np.float32)[:, None], 20, axis=0)
    found = find_neighbors(X, 7)
    assert found.shape == (60, 7)
    assert (found != torch.arange(60)[:, None]).all()
    np.testing.assert_array_equal(X[found, 0], np.repeat(X, 7, axis=1))


def test_a_lone_row_is_its_own_neighbour():
    assert find_neighbors(np.zeros((1, 2), np.float32), 0).tolist() == [[0]]


def test_numbers_count_in_standard_deviations():
    X = np.random.default_rng(0).normal(size=(80, 3)) * [1, 1e3, 1e-4] + [0, 5, 9]
    found = prepared(X, n_neighbors=5).rows.neighbors
    expected = nearest((X - X.mean(0)) / X.std(0), 5)
    pairs = zip(found.tolist(), expected.tolist(), strict=True)
    assert np.mean([len({*a} & {*b}) / 5 for a, b in pairs]) > 0.95  # scales are robust ones


def test_categories_and_holes_count():
    """A row's neighbours share its level, and where a cell is missing it lies in the middle."""
    rng = np.random.default_rng(0)
    town = rng.choice(["north", "south"], 60)
    X = pd.DataFrame({"town": town, "size": rng.normal(size=60)})
    X.loc[::7, "size"] = np.nan
    found = prepared(X, n_neighbors=3).rows.neighbors
    assert (town[found.numpy()] == town[:, None]).mean() > 0.95


def test_sparse_rows_have_those_of_dense_ones():
    X = np.random.default_rng(0).poisson(0.7, (50, 6)).astype(float)
    dense, csr = (prepared(one, n_neighbors=4).rows.neighbors for one in (X, sparse.csr_matrix(X)))
    assert torch.equal(dense, csr)


def test_many_columns_are_measured_on_their_principal_axes():
    """Exact where no more axes than that carry anything, near elsewhere."""
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(200, 10)) @ rng.normal(size=(10, 100))
    training = prepared(flat, n_neighbors=5)
    everything = training.rows.spread(200)
    places = graph.places_of(training.module, [everything], everything)
    assert places.shape == (200, graph.MOST_WIDTH)
    x = training.rows.x.numpy()
    np.testing.assert_array_equal(np.sort(training.rows.neighbors, 1), nearest(x, 5))


def test_held_out_rows_have_as_many_in_proportion():
    X = np.random.default_rng(0).normal(size=(200, 3))
    training = prepared(X, n_neighbors=18, early_stopping=True)
    assert training.rows.neighbors.shape == (180, 18)
    assert training.valid.neighbors.shape == (20, 2)


def test_fits_on_the_same_rows_find_them_once(monkeypatch):
    calls = []
    monkeypatch.setattr(
        preparing, "find_neighbors", lambda shown, k: calls.append(k) or find_neighbors(shown, k)
    )
    X, known = np.random.default_rng(0).normal(size=(40, 3)), {}
    for weight in (1.0, 5.0):
        vae = InfoVAETransformer(neighbor_weight=weight, n_neighbors=4, random_state=0)
        prepare_fit(vae, X, known)
    prepare_fit(vae.set_params(n_neighbors=6), X, known)
    assert calls == [4, 1, 6]  # one held-out neighbour in both


def test_without_a_weight_nothing_is_looked_for(monkeypatch):
    monkeypatch.setattr(preparing, "find_neighbors", lambda *_: pytest.fail("looked for"))
    training = prepared(np.random.default_rng(0).normal(size=(40, 3)), neighbor_weight=0)
    assert training.rows.neighbors is None


def test_a_subset_has_none():
    training = prepared(np.random.default_rng(0).normal(size=(40, 3)))
    assert training.rows.subset(torch.arange(10)).neighbors is None
    few = with_neighbors(training.rows.subset(torch.arange(10)), training.module, 3)
    assert few.neighbors.max() < 10


def test_pynndescent_finds_nearly_all():
    pytest.importorskip("pynndescent")
    X = load_digits().data.astype(np.float32)
    found, exact = graph.approximate_neighbors(X, 10), find_neighbors(X, 10)
    assert (found != torch.arange(len(X))[:, None]).all()
    pairs = zip(found.tolist(), exact.tolist(), strict=True)
    assert np.mean([len({*a} & {*b}) / 10 for a, b in pairs]) > 0.95
