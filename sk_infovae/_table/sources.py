"""Tables that lie elsewhere: files, lazy frames, streams. They are read in blocks of rows.

A table of up to `MOST_IN_MEMORY` cells is collected and is then a DataFrame like any other. Of a
larger one the columns are measured one at a time, its cells are written once to a temporary file,
and training reads that, as it reads a memmap.
"""

import os
import sys
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from sk_infovae._table.disk import DiskTable
from sk_infovae._table.kinds import CellTable

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".feather": "feather",
    ".arrow": "feather",
    ".ipc": "feather",
}
"""Endings of files that pyarrow reads, and what it calls them."""

BLOCK_CELLS = 2**20
"""Cells of a block, about."""


class BlockTable(ABC):
    """A table of columns whose rows come in blocks, in the same order each time.

    Attributes
    ----------
    container : {"pandas", "polars"}
        Library of its blocks.
    head : DataFrame
        No rows: names and dtypes.
    shape : tuple of int
    """

    container: str
    head: Any
    shape: tuple[int, int]

    @abstractmethod
    def blocks(self) -> Iterator[Any]:
        """DataFrames, one below the other."""

    @abstractmethod
    def series(self, j: int) -> Any:
        """The whole of a column."""

    def collect(self) -> Any:
        """The whole table."""
        parts = list(self.blocks()) or [self.head]
        native = nw.concat([nw.from_native(part) for part in parts]).to_native()
        return native.reset_index(drop=True) if self.container == "pandas" else native

    @property
    def rows_at_once(self) -> int:
        """Rows of a block."""
        return max(1, BLOCK_CELLS // max(1, self.shape[1]))


class LazyColumns(Sequence[Any]):
    """The columns of a `BlockTable`, each read when it is asked for, and not kept."""

    def __init__(self, table: BlockTable):
        self.table = table

    def __len__(self) -> int:
        return self.table.shape[1]

    def __getitem__(self, j: Any) -> Any:
        return self.table.series(range(len(self))[j])


class ArrowBlocks(BlockTable):
    """A dataset of pyarrow: one file or many, in any format that it reads."""

    container = "pandas"

    def __init__(self, dataset: Any):
        self.dataset = dataset
        self.names = dataset.schema.names
        self.head = _to_pandas(dataset.schema.empty_table())
        self.shape = dataset.count_rows(), len(self.names)

    def blocks(self) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import dataset as files

        # What is read ahead waits in memory; a buffer of Parquet's keeps what it gave to the end.
        how: dict[str, Any] = {"batch_readahead": 1, "fragment_readahead": 1}
        if isinstance(getattr(self.dataset, "format", None), files.ParquetFileFormat):
            how["fragment_scan_options"] = files.ParquetFragmentScanOptions(pre_buffer=False)
        for batch in self.dataset.to_batches(batch_size=self.rows_at_once, **how):
            if batch.num_rows:
                yield _to_pandas(pa.Table.from_batches([batch]))

    def series(self, j: int) -> Any:
        frame = _to_pandas(self.dataset.to_table(columns=[self.names[j]]))
        return frame.iloc[:, 0]


class PolarsBlocks(BlockTable):
    """A LazyFrame of polars."""

    container = "polars"

    def __init__(self, lazy: Any):
        import polars as pl

        self.lazy = lazy
        self.head = lazy.limit(0).collect()
        self.shape = lazy.select(pl.len()).collect().item(), self.head.shape[1]

    def blocks(self) -> Iterator[Any]:
        if hasattr(self.lazy, "collect_batches"):
            how = {"chunk_size": self.rows_at_once, "maintain_order": True}
            yield from (part for part in self.lazy.collect_batches(**how) if len(part))
            return
        for start in range(0, self.shape[0], self.rows_at_once):
            yield self.lazy.slice(start, self.rows_at_once).collect()

    def series(self, j: int) -> Any:
        return self.lazy.select(self.head.columns[j]).collect().to_series()


class DaskBlocks(BlockTable):
    """A DataFrame of dask; a block is a partition."""

    container = "pandas"

    def __init__(self, frame: Any):
        self.frame = frame
        self.head = frame.head(0)
        self.shape = len(frame), frame.shape[1]

    def blocks(self) -> Iterator[Any]:
        for part in self.frame.partitions:
            rows = part.compute()
            if len(rows):
                yield rows

    def series(self, j: int) -> Any:
        return self.frame[self.head.columns[j]].compute()


def as_blocks(X: Any) -> Any:
    """What lies elsewhere as a `BlockTable`, numbers that do as a `DiskTable`; else X as it is.

    Raises
    ------
    ValueError
        For a file of an unknown format, and a stream without rows.
    FileNotFoundError
        For a path where nothing is.
    """
    if isinstance(X, np.ndarray):
        return X
    if isinstance(X, str | os.PathLike):
        return ArrowBlocks(_dataset(Path(X)))
    if _is_a(X, "pyarrow.dataset", "Dataset"):
        return ArrowBlocks(X)
    if nw.dependencies.is_polars_lazyframe(X):
        return PolarsBlocks(X)
    if nw.dependencies.is_dask_dataframe(X):
        return DaskBlocks(X)
    if _is_a(X, "dask.array", "Array"):
        return spool(_computed(X))
    if isinstance(X, IterableDataset):
        return spool(_rows(X))
    return X


def mapped(X: Any, function: Callable[[Any], Any], names_out: Callable[[], Any]) -> Any:
    """A table of dask with the function's answer for each of its blocks; None for any other X."""
    if isinstance(X, np.ndarray):
        return None
    if nw.dependencies.is_dask_dataframe(X):
        import pandas as pd

        names = list(names_out())

        def on_frame(part: Any) -> Any:
            rows = function(part) if len(part) else np.empty((0, len(names)), np.float32)
            return pd.DataFrame(rows, columns=names, index=part.index)

        return X.map_partitions(on_frame, meta=on_frame(X.head(0)))
    if _is_a(X, "dask.array", "Array"):
        wide = X.rechunk({1: -1})
        chunks = (wide.chunks[0], (len(names_out()),))
        return wide.map_blocks(function, dtype=np.float32, chunks=chunks)
    return None


def spool(blocks: Iterable[NDArray[Any]]) -> DiskTable:
    """Cells in a temporary file, which goes with the table.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n_rows, n_columns)
        Of one dtype; float32 stays, all else becomes float64.

    Raises
    ------
    ValueError
        Where there is no row, or the blocks differ in width.
    """
    handle, path = tempfile.mkstemp(prefix="sk_infovae-", suffix=".cells")
    try:
        shape, dtype = (0, 0), np.dtype(np.float64)
        with os.fdopen(handle, "wb") as file:
            for block in blocks:
                if not shape[0]:
                    dtype = np.dtype(np.float32 if block.dtype == np.float32 else np.float64)
                elif block.shape[1] != shape[1]:
                    raise ValueError(
                        f"All blocks of a table must be of one width; got {block.shape[1]} columns "
                        f"after {shape[1]}."
                    )
                shape = shape[0] + len(block), block.shape[1]
                file.write(np.ascontiguousarray(block, dtype=dtype).data)
        if not shape[0]:
            raise ValueError("The table must hold at least one row; got none.")
        table = DiskTable(np.memmap(path, dtype, "r", shape=shape), temporary=True)
    except BaseException:
        os.unlink(path)
        raise
    weakref.finalize(table, _remove, path)
    return table


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)


def spooled(table: BlockTable, encode: Callable[[Any], CellTable]) -> DiskTable:
    """The cells of a table's blocks in a temporary file."""
    return spool(np.asarray(encode(block)) for block in table.blocks())


def _dataset(path: Path) -> Any:
    """A file, or a folder of Parquet, as a dataset of pyarrow."""
    if not path.exists():
        raise FileNotFoundError(f"X names a file, and there is none: {str(path)!r}.")
    kind = "parquet" if path.is_dir() else FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"A path must end in {', '.join(FORMATS)}, or be a folder of Parquet files; got "
            f"{path.name!r}. Pass a pyarrow.dataset.Dataset for another layout."
        )
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError(
            "Tables in files are read by pyarrow and pandas: pip install pyarrow pandas."
        ) from error
    return pyarrow.dataset.dataset(path, format=kind)


def _to_pandas(table: Any) -> Any:
    """A table of pyarrow with its own types, which a hole in a block does not change."""
    import pandas as pd
    import pyarrow as pa

    def like(dtype: Any) -> Any:
        return None if pa.types.is_dictionary(dtype) else pd.ArrowDtype(dtype)

    return table.to_pandas(types_mapper=like)


def _is_a(X: Any, module: str, name: str) -> bool:
    """Whether X is of a class of a library that is imported already, as it is if X is."""
    found = getattr(sys.modules.get(module), name, None)
    return found is not None and isinstance(X, found)


def _computed(X: Any) -> Iterator[NDArray[Any]]:
    """Blocks of rows of a dask array."""
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got an array of shape {X.shape} instead.")
    wide = X.rechunk({1: -1})
    for block in wide.blocks:
        yield np.asarray(block.compute())


def _rows(stream: Any) -> Iterator[NDArray[Any]]:
    """Rows, or batches of them, of a stream of numbers."""
    for item in stream:
        values = item.detach().cpu().numpy() if isinstance(item, Tensor) else np.asarray(item)
        if values.ndim not in (1, 2) or values.dtype.kind not in "fiub":
            raise ValueError(
                "An IterableDataset must give rows of numbers, or batches of them, one or two axes "
                f"each; got {type(item).__name__} of shape {values.shape}, dtype {values.dtype}."
            )
        yield np.atleast_2d(values)
