"""Odd tables and any parameters: all the way, or refused by name."""

import warnings

import numpy as np
import pytest
from odd_tables import make_table, outcome
from scipy import sparse

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
