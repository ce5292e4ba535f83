"""Columns of an array: what `pandas_` and `polars_` do for their own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def kind_of(column: Any) -> str:
    """Arrays hold floats."""
    return "float"


value_kind = kind_of


def like(column: Any) -> Any:
    """The dtype alone."""
    return np.empty(0, dtype=column.dtype)


def missing(column: Any) -> NDArray[np.bool_]:
    """True for NaN."""
    return np.isnan(column)


def floats(column: Any) -> NDArray[np.float64]:
    """The column in float64."""
    return np.asarray(column, dtype=np.float64)


def level_counts(column: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The levels seen, sorted, and their counts."""
    return np.unique(column[~np.isnan(column)], return_counts=True)


def lookup(column: Any, levels: Any) -> NDArray[np.intp]:
    """Position of each cell in ``levels``; -1 for missing and for unseen ones."""
    order = np.argsort(levels)
    nearest = order[np.minimum(np.searchsorted(levels, column, sorter=order), len(levels) - 1)]
    return np.where(levels[nearest] == column, nearest, -1)


def take(levels: Any, codes: NDArray[np.intp], like: Any) -> Any:
    """Levels by position, NaN at -1."""
    return np.where(codes < 0, np.nan, levels[np.maximum(codes, 0)])


def nothing(n_rows: int, like: Any) -> Any:
    """A column of missing cells."""
    return np.full(n_rows, np.nan)


def from_numbers(values: NDArray[Any], holes: NDArray[np.bool_], like: Any) -> Any:
    """Numbers as they are, booleans as 0 and 1."""
    return np.where(holes, np.nan, values)
