"""Fits with a weight on neighbours: what they optimise, what they refuse, what the map gains."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import HDBSCAN
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from skorch.callbacks import Callback
from small_fits import TERMS, small, table

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.model_selection import InfoVAEGridSearchCV


def test_history_adds_up_with_neighbors(X):
    vae = small(neighbor_weight=7.0, max_epochs=3).fit(X)
    for epoch in vae.history_:
        names = {*TERMS, "neighbors"}
        assert set(epoch) == {"epoch", *names, *(f"valid_{name}" for name in names)}
        for part in ("", "valid_"):
            loss, reconstruction, kl, divergence = (epoch[part + term] for term in TERMS)
            expected = -reconstruction + 0.5 * kl + 9.5 * divergence - 7 * epoch[part + "neighbors"]
            assert loss == pytest.approx(expected, abs=1e-3)
            assert epoch[part + "neighbors"] <= np.log(32)


def test_no_weight_is_no_term(X):
    """To the bit, whatever n_neighbors is."""
    plain, other = small().fit(X), small(neighbor_weight=0.0, n_neighbors=3).fit(X)
    np.testing.assert_array_equal(plain.transform(X), other.transform(X))
    assert "neighbors" not in plain.history_[0]


def test_a_small_weight_is_close_to_none(X):
    plain, other = small().fit(X), small(neighbor_weight=1e-6).fit(X)
    for one, two in zip(plain.history_, other.history_, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=0.3)  # the noise differs


def test_codes_of_neighbours_come_closer():
    X = load_digits().data
    split = {"cv": 4}
    accuracy = {}
    for weight in (0, 10):
        Z = small(
            neighbor_weight=weight, max_epochs=40, batch_size=128, hidden_layer_sizes=(64, 64)
        ).fit_transform(X)
        knn = KNeighborsClassifier(5)
        accuracy[weight] = cross_val_score(knn, Z, load_digits().target, **split).mean()
    assert accuracy[10] > accuracy[0] + 0.05


@pytest.mark.parametrize("shape", ["blob", "cube"])
def test_clusters_that_the_rows_do_not_have_do_not_appear(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 10)) if shape == "blob" else rng.uniform(size=(600, 3))
    Z = InfoVAETransformer(2, neighbor_weight=50, random_state=0).fit_transform(X)
    found = HDBSCAN(min_cluster_size=60, copy=True).fit_predict(Z)
    assert len(set(found) - {-1}) == 0


def test_clusters_that_the_rows_have_stay():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 10)) + 8 * rng.normal(size=(4, 10))[np.arange(600) % 4]
    Z = InfoVAETransformer(2, neighbor_weight=50, random_state=0).fit_transform(X)
    found = HDBSCAN(min_cluster_size=60, copy=True).fit_predict(Z)
    assert len(set(found) - {-1}) == 4
    assert all(len(set(found[k::4]) - {-1}) == 1 for k in range(4))


def test_every_kind_of_table_and_way(X):
    weighted = {"neighbor_weight": 2.0, "max_epochs": 2}
    dense = small(**weighted).fit(np.abs(X))
    csr = small(**weighted).fit(sparse.csr_matrix(np.abs(X)))
    np.testing.assert_allclose(csr.transform(np.abs(X)), dense.transform(np.abs(X)), atol=1e-4)
    holes = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.2, np.nan, X)
    for vae in (small(**weighted).fit(holes), small(**weighted).fit(X, X_val=table(30, seed=3))):
        assert np.isfinite(vae.transform(X)).all()
        assert "valid_neighbors" in vae.history_[0]
    one = small(**weighted).partial_fit(X).partial_fit(X[:1]).partial_fit(X[:2])
    assert [epoch["neighbors"] <= np.log(32) for epoch in one.history_] == [True] * 3


def test_the_weight_may_come_and_go_between_fits(X):
    vae = small(warm_start=True).fit(X)
    vae.set_params(neighbor_weight=3.0).fit(X)
    again = pickle.loads(pickle.dumps(vae)).fit(X)
    vae.set_params(neighbor_weight=0.0).fit(X)
    assert ["neighbors" in epoch for epoch in vae.history_] == [False] * 5 + [True] * 5 + [
        False
    ] * 5
    assert ["neighbors" in epoch for epoch in again.history_] == [False] * 5 + [True] * 10


def test_a_pickle_holds_no_graph(X):
    plain, other = small(max_epochs=1).fit(X), small(max_epochs=1, neighbor_weight=1.0).fit(X)
    assert len(pickle.dumps(other)) < len(pickle.dumps(plain)) + 1000


def test_batches_may_be_read_by_workers(X):
    options = {"neighbor_weight": 2.0, "max_epochs": 2, "early_stopping": False}
    here = small(**options).fit(X)
    there = small(**options, net_params={"iterator_train__num_workers": 1}).fit(X)
    np.testing.assert_array_equal(here.transform(X), there.transform(X))


class Loader:
    def __init__(self, dataset, **kwargs):
        pass


@pytest.mark.parametrize(
    "net_params",
    [
        {"iterator_train": Loader},
        {"iterator_train__sampler": range(10)},
        {"iterator_valid__batch_sampler": [[0, 1]]},
    ],
)
def test_loaders_without_neighbours_are_refused(X, net_params):
    with pytest.raises(ValueError, match=r"neighbor_weight needs batches .* set neighbor_weight=0"):
        small(neighbor_weight=1.0, net_params=net_params).fit(X)


@pytest.mark.parametrize("bad", [{"neighbor_weight": -1.0}, {"n_neighbors": 0}])
def test_bad_values_are_refused(X, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        small(**bad).fit(X)


def test_callbacks_see_rows_and_their_neighbours(X):
    sizes = []

    class Sizes(Callback):
        def on_batch_end(self, net, batch, **kwargs):
            sizes.append(len(batch.x))

    small(Sizes(), neighbor_weight=1.0, early_stopping=False, batch_size=100, max_epochs=1).fit(X)
    assert sizes == [200, 40]


def test_a_search_over_the_weight_is_scikit_learns(X):
    vae = small(max_epochs=2, early_stopping=True)
    grid = {"neighbor_weight": [0.0, 1.0, 20.0], "n_neighbors": [2, 15], "alpha": [0.0, 0.9]}
    options = {"scoring": metrics.neg_reconstruction_error, "cv": 3, "refit": False}
    together = InfoVAEGridSearchCV(vae, grid, **options).fit(X)
    apart = GridSearchCV(vae, grid, **options).fit(X)
    np.testing.assert_allclose(
        together.cv_results_["mean_test_score"], apart.cv_results_["mean_test_score"], rtol=1e-4
    )
