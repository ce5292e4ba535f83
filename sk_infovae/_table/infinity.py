"""Refuse infinite cells, and say where they are."""

from typing import Any

import numpy as np
from scipy import sparse

from sk_infovae._table.disk import DiskTable
from sk_infovae._table.kinds import is_finite
from sk_infovae._table.standardizer import row_blocks


def finite(cells: Any, names: Any = None) -> Any:
    """The cells of an ndarray or CSR matrix, infinity refused.

    Raises
    ------
    ValueError
        Naming the first column with an infinite cell (by its position, without ``names``), the
        first such row of it, and the mend.
    """
    found = _first_infinite(cells)
    if found is None:
        return cells
    row, j = found
    raise ValueError(
        f"Input X contains infinity: column {j if names is None else names[j]!r} holds "
        f"{cells[row, j]} in row {row} (counted from 0). Replace it by a number, or by NaN to have "
        "it read as missing; or transform the column so that it stays finite."
    )


def _first_infinite(cells: Any) -> tuple[int, int] | None:
    """Row and column of the first infinite cell, column before row."""
    if isinstance(cells, DiskTable):
        return _first_infinite_on_disk(cells)
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(cells.sum()):  # as it is not where any cell is NaN or infinite
            return None
    if sparse.issparse(cells):
        stored = cells.tocoo()
        places = np.isinf(stored.data)
        rows, columns = stored.row[places], stored.col[places]
    else:
        parts = []
        for block in row_blocks(*cells.shape):
            rows, columns = np.nonzero(np.isinf(cells[block]))
            parts.append(np.stack([rows + block.start, columns]))
        rows, columns = np.concatenate(parts, axis=1)
    if not len(rows):
        return None
    first = np.lexsort((rows, columns))[0]
    return int(rows[first]), int(columns[first])


def _first_infinite_on_disk(cells: DiskTable) -> tuple[int, int] | None:
    """The same in one pass: row before column."""
    for rows in row_blocks(*cells.shape):
        block = cells[rows]
        if not is_finite(block) and np.isinf(block).any():
            row, column = np.argwhere(np.isinf(block))[0]
            return int(row) + rows.start, int(column)
    return None
