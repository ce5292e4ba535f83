"""Small tables and models of them; the fixtures are those of conftest.py in table and model."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sk_infovae import InfoVAETransformer


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


@pytest.fixture(name="X", scope="module")
def small_table():
    return table()


@pytest.fixture(name="Z", scope="module")
def embedding_of_small_table(X):
    return small().fit(X).transform(X)
