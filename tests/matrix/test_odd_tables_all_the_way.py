"""Odd tables and any parameters: all the way, or refused by name."""

import warnings

import numpy as np
import pytest
from odd_tables import make_table, outcome
from scipy import sparse
from sklearn.decomposition import PCA

from sk_infovae import InfoVAETransformer
from sk_infovae.preprocessing import TabularPreprocessor


@pytest.mark.parametrize("seed", range(100_000, 100_120))
def test_all_the_way_or_refused(seed):
    assert outcome(seed) in ("all the way", "refused")


@pytest.mark.parametrize("seed", range(100_000, 100_060))
def test_as_numbers_and_back(seed):
    X = make_table(np.random.default_rng(seed))
    X = X.toarray() if sparse.issparse(X) else X
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Column.*free text", UserWarning)
        preprocessor = TabularPreprocessor().fit(X)
        features = np.asarray(preprocessor.transform(X), dtype=float)
        assert not np.isinf(features).any()
        back = preprocessor.inverse_transform(features)
    assert type(back) is type(X)
    if isinstance(X, np.ndarray):
        size = np.abs(np.nan_to_num(X.astype(float))).max(axis=0)
        far = np.abs(back / 2 - X.astype(float) / 2)  # halves have a difference
        assert (np.nan_to_num(far) <= 1e-6 * size).all()


@pytest.mark.parametrize("n_columns", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("hidden", [(), (32,)])
def test_very_wide_tables(n_columns, hidden):
    """Many inputs, each of which a step of Adam moves by the rate, once moved the code far off."""
    rng = np.random.default_rng(0)
    code = rng.normal(size=(60, 2))
    X = code @ rng.normal(size=(2, n_columns)) + 0.5 * rng.normal(size=(60, n_columns))
    X, new = X[:40], X[40:]
    pca = PCA(2, random_state=0).fit(X)
    vae = InfoVAETransformer(2, max_epochs=5, random_state=0, hidden_layer_sizes=hidden).fit(X)
    assert np.isfinite(vae.score(new))
    errors = [
        np.square(new - model.inverse_transform(model.transform(new))).mean()
        for model in (vae, pca)
    ]
    assert errors[0] < 1.1 * errors[1]
