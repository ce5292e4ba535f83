"""Reading what the user passed, and giving an estimator back unharmed when a fit fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from sk_infovae.schema import check_readable

TableLike = Any
"""An ndarray, CSR matrix, CPU torch tensor, list of lists, or pandas or polars DataFrame."""


def read_table(estimator: Any, X: Any, *, reset: bool = False, min_rows: int = 1) -> Any:
    """Validate X as scikit-learn does.

    Returns
    -------
    X : ndarray or CSR matrix of float64 or float32
        NaN where a cell is missing.
    """
    X = to_cpu(X)
    check_readable(X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        ensure_all_finite="allow-nan",
    )
    if X.shape[0] < min_rows:
        raise ValueError(
            f"{type(estimator).__name__} needs at least {min_rows} rows here, got "
            f"n_samples={X.shape[0]}. Give it more rows; partial_fit takes one at a time."
        )
    return X


def to_cpu(X: Any) -> Any:
    """A torch tensor as an array; anything else as it is."""
    return X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else X


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Put every attribute of the estimator back when the block fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
