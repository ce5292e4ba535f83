"""A table of numbers in a file, read as its rows are asked for."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

JOBLIBS = "joblib_memmapping_folder"
"""Part of the name of a folder in which joblib lays arrays for its workers."""

MOST_IN_MEMORY = 2**24
"""Cells up to which a table is read into memory as a whole."""

ROWS_AT_ONCE = 256
"""Rows here and there in the file that are read by one mapping: each may bring 64 KB of it."""


class DiskTable:
    """Rows of a `numpy.memmap`, as copies; none of the file stays in memory.

    What a process has mapped and read counts as its memory: so the file is mapped anew for each
    read, where its place in it can be told.

    Parameters
    ----------
    X : memmap of shape (n_rows, n_columns)
        Of numbers or booleans.
    temporary : bool
        Whether the file was written for this table alone, and says nothing of where it is from.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
        float32, or float64 for all that is not.
    filename : str
    """

    ndim = 2

    def __init__(self, X: np.memmap, temporary: bool = False):
        self.temporary = temporary
        self.shape: tuple[int, int] = X.shape
        self.filename = str(X.filename)
        self.dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
        # A view is another part of the file; and what was written in mode "c" is not in it.
        whole = isinstance(X.base, mmap.mmap) and X.flags.c_contiguous and X.mode != "c"
        self.mapped = None if whole else X
        self.place: dict[str, Any] = {"dtype": X.dtype, "shape": X.shape}
        if whole:
            self.place |= {"filename": X.filename, "offset": X.offset}

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """The chosen rows, or cells, NaN where missing."""
        if isinstance(rows, np.ndarray) and len(rows) > ROWS_AT_ONCE:
            parts = np.array_split(rows, -(-len(rows) // ROWS_AT_ONCE))
            return np.concatenate([self[part] for part in parts])
        mapped = np.memmap(mode="r", **self.place) if self.mapped is None else self.mapped
        return np.array(mapped[rows], dtype=self.dtype)


def is_on_disk(X: Any) -> bool:
    """Whether X is a table that `DiskTable` reads.

    What joblib shares with its workers is a memmap too: that is in memory, and stays what it was.
    """
    return (
        isinstance(X, np.memmap)
        and X.ndim == 2
        and X.dtype.kind in "fiub"
        and X.filename is not None  # as of what was computed from one
        and JOBLIBS not in str(X.filename)
    )
