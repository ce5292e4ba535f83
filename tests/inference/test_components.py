"""What each dimension carries, and what it does to the columns."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae._inference import components
from sk_infovae.datasets import make_mixed_table


def small(n_components=3, **params):
    params = {"hidden_layer_sizes": (16,), "max_epochs": 10, "random_state": 0, **params}
    return InfoVAETransformer(n_components, n_importance_samples=8, **params)


@pytest.fixture(scope="module")
def wine():
    return load_wine().data


def test_of_probabilistic_pca_they_are_its_own(wine):
    """Before a step is taken the default is probabilistic PCA."""
    X = StandardScaler().fit_transform(wine)
    vae = small(
        hidden_layer_sizes=(), alpha=0, lambd=1, lr=1e-12, max_epochs=1, early_stopping=False
    )
    vae.fit(X)
    values, vectors = np.linalg.eigh(np.cov(X.T))
    values, vectors = values[:-4:-1], vectors[:, :-4:-1]
    rest = (np.trace(np.cov(X.T)) - values.sum()) / 10
    expected = vectors * np.sqrt(values - rest)
    signs = np.sign((expected * vae.loadings_).sum(0))
    np.testing.assert_allclose(vae.loadings_, signs * expected, atol=0.05)
    ratio = vae.explained_variance_ratio_ / vae.explained_variance_ratio_.sum()
    np.testing.assert_allclose(ratio, (values - rest) / (values - rest).sum(), atol=0.02)
    pca = PCA(3).fit(X).explained_variance_ratio_
    np.testing.assert_allclose(vae.explained_variance_ratio_, pca, atol=0.05)


@pytest.mark.parametrize("X", [load_wine().data, load_digits().data[:500]], ids=["wine", "digits"])
def test_shares_are_in_order_and_add_up_to_what_comes_back(X):
    """Columns that are constant don't count."""
    vae = small(4, max_epochs=30, early_stopping=False).fit(X)
    ratio = vae.explained_variance_ratio_
    assert (np.diff(ratio) <= 0).all()
    assert ratio.min() >= 0
    varying = X.std(0) > 0
    back = vae.inverse_transform(vae.transform(X))
    r2 = 1 - ((X - back) ** 2).mean(0)[varying] / X.var(0)[varying]
    assert ratio.sum() == pytest.approx(r2.mean(), abs=0.03)
    assert (vae.loadings_[~varying] == 0).all()


def test_loadings_are_what_the_columns_move(wine):
    vae = small(max_epochs=30).fit(wine)
    some = wine[np.linspace(0, 177, components.MOVED_ROWS).astype(int)]
    mean, std = vae.posterior(wine)
    deviation = np.sqrt(mean.var(0) + (std**2).mean(0))
    codes = vae.transform(some)
    for k in range(3):
        step = 0.5 * deviation * np.eye(3)[k]
        moved = vae.inverse_transform(codes + step) - vae.inverse_transform(codes - step)
        np.testing.assert_allclose(vae.loadings_[:, k], moved.mean(0) / wine.std(0), atol=0.03)


def test_a_dimension_that_says_nothing_carries_nothing():
    """One factor, three dimensions under a heavy price for information."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1)) @ rng.normal(size=(1, 6)) + 0.3 * rng.normal(size=(400, 6))
    ratio = small(alpha=0, lambd=1, max_epochs=60).fit(X).explained_variance_ratio_
    assert ratio[0] > 0.8
    assert ratio[1:].max() < 0.02


def test_categories_count_by_their_probabilities():
    """A level that a number decides loads on the same dimension; without a sign."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=600)
    X = pd.DataFrame(
        {
            "size": size,
            "twin": size + 0.1 * rng.normal(size=600),
            "class": pd.cut(size, [-9, -0.5, 0.5, 9], labels=["low", "mid", "high"]).astype(str),
            "flag": size > 0,
            "other": rng.choice(["a", "b"], 600),
        }
    )
    vae = small(2, max_epochs=60).fit(X)
    assert vae.loadings_.shape == (5, 2)
    first = np.abs(vae.loadings_[:, 0])
    assert first[:4].min() > 0.4
    assert (vae.loadings_[[2, 4]] >= 0).all()
    assert 0.5 < vae.explained_variance_ratio_.sum() <= 1


def test_columns_left_out_have_no_loadings():
    X = pd.DataFrame({"note": [f"note {k}" for k in range(80)], "x": np.arange(80.0)})
    with pytest.warns(UserWarning, match="note"):
        vae = small(1).fit(X)
    assert np.isnan(vae.loadings_[0]).all()
    assert np.isfinite(vae.loadings_[1]).all()


def test_any_likelihood_and_missing_cells():
    X = make_mixed_table(300, random_state=0)
    holes = X.mask(np.random.default_rng(0).uniform(size=X.shape) < 0.2)
    for table in (X, holes):
        vae = small().fit(table)
        assert np.isfinite(vae.loadings_).all()
        assert 0 < vae.explained_variance_ratio_.sum() < 1


def test_networks_of_ones_own_stay_in_their_order(wine):
    def encoder(n_inputs, n_components):
        return nn.Linear(n_inputs, 2 * n_components)

    vae = small(encoder=encoder, max_epochs=5).fit(wine)
    module_order = vae.explained_variance_ratio_
    assert module_order.shape == (3,)
    assert np.isfinite(vae.loadings_).all()


def test_they_survive_a_pickle_and_memory_is_bounded(wine, monkeypatch):
    vae = small().fit(wine)
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.loadings_, vae.loadings_)
    np.testing.assert_array_equal(again.explained_variance_ratio_, vae.explained_variance_ratio_)
    seen = []
    plain = components.expect

    def watched(module, z, *rows):
        seen.append(z.shape[:-1].numel())
        return plain(module, z, *rows)

    monkeypatch.setattr(components, "expect", watched)
    monkeypatch.setattr(components, "MOST_CELLS", 13 * 100)
    small().fit(wine)
    assert max(seen) <= 100


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_columns_in_units_of_their_own_count_whatever_the_unit(unit):
    """A lognormal column is not standardised, and yet not constant."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=400)
    price = unit * np.exp(size + 0.1 * rng.normal(size=400))
    X = np.column_stack([size, price])
    vae = small(1, likelihood={1: "lognormal"}, max_epochs=40, lr=1e-2).fit(X)
    assert np.abs(vae.loadings_).min() > 0.2
