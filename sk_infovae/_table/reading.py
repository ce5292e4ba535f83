"""Reading what the user passed."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from sk_infovae._table.disk import MOST_IN_MEMORY, DiskTable, is_on_disk
from sk_infovae._table.infinity import finite
from sk_infovae._table.schema import is_frame
from sk_infovae._table.sources import BlockTable, as_blocks
from sk_infovae.exceptions import SchemaError

__all__ = [
    "TableLike", "check_table", "dtype_of", "finite", "parts_of", "read_first", "read_table",
    "to_cpu",
]  # fmt: skip

TableLike = Any
"""An ndarray, CSR matrix, CPU torch tensor, list of lists, or pandas or polars DataFrame; what
`as_blocks` reads.
"""


def check_table(
    estimator: Any,
    X: Any,
    *,
    reset: bool = False,
    min_rows: int = 1,
    accept_sparse: str | bool = "csr",
    by_blocks: bool = False,
) -> Any:
    """Validate X as scikit-learn does.

    With ``by_blocks`` a memmap becomes a `DiskTable`, which holds nothing; else it is an array.

    Returns
    -------
    X : ndarray or CSR matrix of float64 or float32, DiskTable or DataFrame
        An array has NaN where a cell is missing; a DataFrame is as it was.
    """
    X = in_memory(as_blocks(to_cpu(X)), by_blocks)
    if isinstance(X, BlockTable):
        _check_names(X.head)
        validate_data(estimator, X.head, reset=reset, skip_check_array=True)
    elif by_blocks and (is_on_disk(X) or isinstance(X, DiskTable)):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        X = X if isinstance(X, DiskTable) else DiskTable(X)
        X = finite(X, getattr(estimator, "feature_names_in_", None))
    elif is_frame(X):
        _check_names(X)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        if X.shape[0] == 0:
            raise ValueError(
                f"Found a DataFrame with 0 sample(s) (shape={X.shape}) while a minimum of 1 is "
                f"required by {type(estimator).__name__}."
            )
    else:
        X = _read_array(estimator, X, reset=reset, accept_sparse=accept_sparse)
        finite(X, getattr(estimator, "feature_names_in_", None))
    if X.shape[0] < min_rows:
        raise ValueError(
            f"{type(estimator).__name__} needs at least {min_rows} rows here, got "
            f"n_samples={X.shape[0]}. Give it more rows; partial_fit takes one at a time."
        )
    return X


def in_memory(X: Any, by_blocks: bool) -> Any:
    """What lies elsewhere as a table in memory, where it must be or is small enough."""
    if isinstance(X, BlockTable) and (not by_blocks or math.prod(X.shape) <= MOST_IN_MEMORY):
        return X.collect()
    return X[:] if isinstance(X, DiskTable) and not by_blocks else X


def parts_of(X: Any) -> Iterator[Any]:
    """The blocks of a large table that lies elsewhere; anything else whole."""
    X = in_memory(as_blocks(to_cpu(X)), by_blocks=True)
    if isinstance(X, BlockTable):
        yield from X.blocks()
    else:
        yield X


def _check_names(X: Any) -> None:
    """Refuse a DataFrame of pandas with a name that two columns share."""
    shared = [name for name, count in Counter(X.columns).items() if count > 1]
    if shared:
        raise SchemaError(
            f"A DataFrame must have unique column names, got {shared} more than once. Rename or "
            "drop all but one."
        )


def _read_array(estimator: Any, X: Any, **how: Any) -> Any:
    """An ndarray or CSR matrix of floats, as scikit-learn reads it; what is text is named."""
    dtypes = [np.float64, np.float32]
    try:
        return validate_data(estimator, X, dtype=dtypes, ensure_all_finite=False, **how)
    except ValueError as error:
        found = _first_text(X) if "could not convert string" in str(error) else None
        if found is None:
            raise
        raise ValueError(
            f"{error}: column {found[0]} holds {found[1]!r}. An array must hold numbers: pass a "
            "DataFrame of pandas or polars, whose columns of strings are read as categories."
        ) from error


def _first_text(X: Any) -> tuple[int, str] | None:
    """The first column of an array or nested list with a string that is no number."""
    for j, column in enumerate(np.atleast_2d(np.asarray(X, dtype=object)).T):
        for cell in column:
            try:
                float(cell)
            except ValueError:
                return j, str(cell)
            except TypeError:
                continue
    return None


def read_first(estimator: Any, X: Any, min_rows: int) -> tuple[Any, Any, Any]:
    """Validate the rows that fix the columns.

    Returns
    -------
    reader : estimator
        A stand-in that knows the names of the columns; the estimator itself is as it was.
    X : ndarray or CSR matrix of float64 or float32, or DataFrame
    dtype : numpy dtype
        Of an array as the user gave it.
    """
    reader = object.__new__(type(estimator))
    vars(reader).update(vars(estimator))
    X = as_blocks(to_cpu(X))
    table = check_table(reader, X, reset=True, min_rows=min_rows, by_blocks=True)
    return reader, table, dtype_of(X)


def read_table(
    estimator: Any, layout: Any, X: Any, *, min_rows: int = 1, by_blocks: bool = False
) -> Any:
    """Validate X and encode it by the columns seen in fit.

    Returns
    -------
    X : ndarray or CSR matrix of float64 or float32, or DiskTable
        Cells, NaN where missing.
    """
    X = check_table(estimator, X, min_rows=min_rows, by_blocks=by_blocks)
    return layout.schema.encode(X, estimator.handle_unknown)


def dtype_of(X: Any) -> Any:
    """The dtype of an array or a list of lists; None for a DataFrame."""
    if is_frame(X) or isinstance(X, BlockTable):
        return None
    return X.dtype if hasattr(X, "dtype") else np.asarray(X).dtype


def to_cpu(X: Any) -> Any:
    """A torch tensor as an array; anything else as it is."""
    return X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else X
