"""Rows of a table as whole batches: one slice a batch, not one Python call a row."""

import copy
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sk_infovae._model.cells import Cells, one_below_the_other
from sk_infovae._table.disk import MOST_IN_MEMORY, DiskTable
from sk_infovae._table.standardizer import Standardizer, row_blocks

BUFFER_CELLS, PIECE_CELLS = MOST_IN_MEMORY, 2**16
"""Cells of a table in a file that are shuffled together, and that are read in one piece."""


class Rows(Dataset):
    """Dense rows, encoded once into float32.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_columns)
    mask : Tensor of bool or None
    chosen : Tensor of int64
        The rows that this data set consists of, so that training and validation share one table.

    Attributes
    ----------
    neighbors : Tensor of int64 of shape (n_rows, k) or None
        Positions of rows near each row, within this data set.
    graphs : dict of Tensor
        Neighbours found for other data sets of the same table.
    """

    neighbors: Tensor | None = None

    def __init__(self, x: Tensor, mask: Tensor | None, chosen: Tensor):
        self.x = x
        self.mask = mask
        self.chosen = chosen
        self.graphs: dict[Any, Tensor] = {}

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Cells:
        return self.__getitems__([index])

    def __getitems__(self, indices: Any) -> Cells:
        """Slice a whole batch; ``DataLoader`` prefers this to one call a row."""
        rows = self.chosen.index_select(0, torch.as_tensor(indices))
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Cells(self.x.index_select(0, rows), mask)

    def spread(self, most: int) -> Cells:
        """At most so many rows, evenly spaced."""
        n_rows = len(self)
        chosen = torch.linspace(0, n_rows - 1, min(n_rows, most), dtype=torch.float64).long()
        return self.__getitems__(chosen)

    @property
    def identity(self) -> tuple[int, bytes, int]:
        """Which table, which of its rows, and how many neighbours of each."""
        n_neighbors = 0 if self.neighbors is None else self.neighbors.shape[1]
        return self._table_id, self.chosen.numpy().tobytes(), n_neighbors

    @property
    def _table_id(self) -> int:
        return id(self.x)

    @property
    def content(self) -> tuple[Any, ...]:
        """All that its batches are made of, as numpy arrays."""
        mask = None if self.mask is None else self.mask.numpy()
        return self.x.numpy(), mask, self.chosen.numpy()

    def subset(self, positions: Tensor) -> "Rows":
        """The data set of some of these rows, without a copy of the table."""
        twin = copy.copy(self)
        twin.chosen, twin.neighbors = self.chosen[positions], None
        return twin


class SparseRows(Rows):
    """CSR rows, encoded a batch at a time: the table is never dense as a whole."""

    def __init__(self, X: Any, standardizer: Standardizer, chosen: Tensor):
        self.X = X
        self.standardizer = standardizer
        self.chosen = chosen
        self.graphs: dict[Any, Tensor] = {}

    mask = None

    @property
    def _table_id(self) -> int:
        return id(self.X)

    @property
    def content(self) -> tuple[Any, ...]:
        """The matrix, how it is encoded, and the rows."""
        return self.X, self.standardizer, self.chosen.numpy()

    def __getitems__(self, indices: Any) -> Cells:
        """Encode the chosen rows."""
        rows = self.chosen[torch.as_tensor(indices)].numpy()
        x, mask = self.standardizer.encode_for_training(self.X[rows], np.float32)
        return Cells(torch.from_numpy(x), None if mask is None else torch.from_numpy(mask))


class DiskRows(SparseRows):
    """Rows of a table in a file, encoded as they are read.

    Batches in random order come from `Shuffled`: a row here and a row there would have the disk
    read a page for each.
    """

    X: DiskTable

    @property
    def content(self) -> tuple[Any, ...]:
        """The file, its time, and some rows of it (a view is another table); the rows' places."""
        state, some = os.stat(self.X.filename), self.spread(256)
        file = self.X.filename, state.st_size, state.st_mtime_ns, self.X.shape
        if self.X.temporary:
            file = "", state.st_size, 0, self.X.shape
        return file, self.standardizer, some.x.numpy(), self.chosen.numpy()

    def resident(self) -> Rows:
        """The same rows in memory."""
        return Rows(*self.__getitems__(torch.arange(len(self))), torch.arange(len(self)))


class Shuffled:
    """Batches of `DiskRows` in an order that reads the file in long pieces.

    Pieces of `PIECE_CELLS` come in random order; as many as fill a buffer of `BUFFER_CELLS` are
    encoded together, and their rows shuffled within it. What a buffer leaves for no whole batch
    joins the next one.

    Parameters
    ----------
    rows : DiskRows
    batch_size : int
    generator : torch.Generator or None
        None keeps the order.
    drop_last : bool
        Leave out a last batch that is not full.
    """

    def __init__(
        self,
        rows: DiskRows,
        batch_size: int,
        generator: torch.Generator | None,
        drop_last: bool,
    ):
        self.dataset, self.generator = rows, generator
        self.sizes = WholeBatches(len(rows), batch_size, None, drop_last).sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Cells]:
        left, sizes = None, iter(self.sizes)
        size = next(sizes, None)
        for buffer in self._buffers():
            buffer = buffer if left is None else one_below_the_other([left, buffer])
            start = 0
            while size is not None and len(buffer.x) - start >= size:
                yield buffer.at(slice(start, start + size))
                start, size = start + size, next(sizes, None)
            left = buffer.at(slice(start, None))

    def _buffers(self) -> Iterator[Cells]:
        n_rows, width = len(self.dataset), self.dataset.X.shape[1]
        pieces = torch.arange(n_rows).split(max(1, PIECE_CELLS // width))
        in_buffer = max(1, BUFFER_CELLS // PIECE_CELLS)
        order = range(len(pieces))
        if self.generator is not None:
            order = torch.randperm(len(pieces), generator=self.generator).tolist()
        for start in range(0, len(pieces), in_buffer):
            some = [self.dataset.__getitems__(pieces[k]) for k in order[start : start + in_buffer]]
            buffer = one_below_the_other(some)
            if self.generator is not None:
                buffer = buffer.at(torch.randperm(len(buffer.x), generator=self.generator))
            yield buffer


class StackedRows(Rows):
    """Data sets of one length side by side: a batch is ``(n_sets, n, n_columns)``.

    Parameters
    ----------
    parts : sequence of Rows
    """

    def __init__(self, parts: Sequence[Rows]):
        self.parts = list(parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitems__(self, indices: Any) -> Cells:
        """Slice a batch of each set: of its own rows ``(n_sets, n)``, or of the same ``(n,)``."""
        indices = torch.as_tensor(indices).expand(len(self.parts), -1)
        pairs = zip(self.parts, indices, strict=True)
        batches = [part.__getitems__(own) for part, own in pairs]
        x = torch.stack([batch.x for batch in batches])
        if all(batch.mask is None for batch in batches):
            return Cells(x, None)
        masks = [
            torch.ones_like(b.x, dtype=torch.bool) if b.mask is None else b.mask for b in batches
        ]
        return Cells(x, torch.stack(masks))


def make_rows(X: Any, standardizer: Standardizer) -> Rows:
    """Data set of all rows of a float ndarray, a CSR matrix or a `DiskTable`."""
    n_rows, n_columns = X.shape
    everything = torch.arange(n_rows)
    if sparse.issparse(X):
        return SparseRows(X, standardizer, everything)
    if isinstance(X, DiskTable) and n_rows * n_columns > BUFFER_CELLS:
        return DiskRows(X, standardizer, everything)
    x = np.empty((n_rows, n_columns), dtype=np.float32)
    mask: NDArray[np.bool_] | None = None
    for rows in row_blocks(n_rows, n_columns):
        x[rows], observed = standardizer.encode_for_training(X[rows], np.float32)
        if observed is not None:
            if mask is None:
                mask = np.ones((n_rows, n_columns), dtype=bool)
            mask[rows] = observed
    return Rows(torch.from_numpy(x), None if mask is None else torch.from_numpy(mask), everything)


def hold_out(rows: Rows, fraction: float, seed: int) -> tuple[Rows, Rows | None]:
    """Split off a random part for validation; parts of fewer than 2 rows are not split off.

    Those of a table in a file stay in memory, and are as few as a buffer holds.
    """
    n_valid = round(fraction * len(rows))
    if isinstance(rows, DiskRows):
        n_valid = min(n_valid, BUFFER_CELLS // rows.X.shape[1])
    if min(n_valid, len(rows) - n_valid) < 2:
        return rows, None
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    train, valid = (rows.subset(part.sort()[0]) for part in (order[n_valid:], order[:n_valid]))
    return train, valid.resident() if isinstance(valid, DiskRows) else valid


class WholeBatchLoader(DataLoader):
    """`DataLoader` that goes straight from the sampler to the data set where no worker stands by.

    DataLoader's own path through fetchers and collation costs as much as a small batch's encoder.
    """

    def __iter__(self) -> Iterator[Any]:
        """Batches in the sampler's order."""
        if self.num_workers or self.pin_memory or self.batch_sampler is None:
            return super().__iter__()
        rows: Any = self.dataset
        collate = self.collate_fn
        return (collate(rows.__getitems__(indices)) for indices in self.batch_sampler)


class WholeBatches(Sampler):
    """Batch sampler of index tensors; a last batch of one row joins the batch before it.

    Parameters
    ----------
    n_rows, batch_size : int
    generator : torch.Generator or None
        Shuffles anew in each pass; None keeps the order.
    drop_last : bool
        Leave out a last batch that is not full.
    neighbors : Tensor of shape (n_rows, k) or None
        Each batch ends with a neighbour of each of its rows, drawn anew in each pass where rows are
        shuffled.
    """

    def __init__(
        self,
        n_rows: int,
        batch_size: int,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        neighbors: Tensor | None = None,
    ):
        self.n_rows = n_rows
        self.generator = generator
        self.neighbors = neighbors
        n_full, rest = divmod(n_rows, batch_size)
        self.sizes = [batch_size] * n_full
        if rest == 1 and n_full:
            self.sizes[-1] += 1
        elif rest and not (drop_last and n_full):
            self.sizes.append(rest)

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Tensor]:
        order = (
            torch.arange(self.n_rows)
            if self.generator is None
            else torch.randperm(self.n_rows, generator=self.generator)
        )
        for batch in order[: sum(self.sizes)].split(self.sizes):
            yield batch if self.neighbors is None else torch.cat([batch, self._near(batch)])

    def _near(self, batch: Tensor) -> Tensor:
        """A neighbour of each row."""
        assert self.neighbors is not None
        k = self.neighbors.shape[1]
        which = (
            batch % k
            if self.generator is None
            else torch.randint(k, batch.shape, generator=self.generator)
        )
        return self.neighbors[batch, which]


class SideBySide(Sampler):
    """Batch sampler of ``(n_sets, n)`` indices, each set in the order of its own sampler.

    Parameters
    ----------
    samplers : sequence of WholeBatches
        Of equal lengths.
    """

    def __init__(self, samplers: Sequence[WholeBatches]):
        self.samplers = list(samplers)

    def __len__(self) -> int:
        return len(self.samplers[0])

    def __iter__(self) -> Iterator[Tensor]:
        return map(torch.stack, zip(*self.samplers, strict=True))
