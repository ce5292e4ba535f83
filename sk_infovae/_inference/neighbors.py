"""What the codes of neighbouring rows have in common, on a table."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sk_infovae._model.cells import Cells
from sk_infovae._model.graph import AXES_CELLS, find_neighbors, places_of
from sk_infovae._model.neighbors import neighbor_information
from sk_infovae._model.vae import VAE
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.standardizer import Standardizer, row_blocks

NEIGHBOR_ROWS = 256
"""Rows that a neighbour is told from, at most."""

SCALES, SCALE_BLOCKS = torch.linspace(-4, 8, 25), 4
"""Values of log s, and the blocks of rows by which one is chosen."""


def information_of_neighbors(
    module: VAE,
    X: CellTable,
    standardizer: Standardizer,
    mean: Tensor,
    n_neighbors: int,
    generator: torch.Generator,
) -> float:
    """The bound over random blocks of the rows of X, each with one of its neighbours there.

    Parameters
    ----------
    module : VAE
        In float64.
    X : ndarray or CSR matrix of shape (n_rows, n_columns)
    standardizer : Standardizer
    mean : Tensor of shape (n_rows, d)
        Posterior means of the rows.
    n_neighbors : int
    generator : torch.Generator
    """
    blocks = (encode(X[rows], standardizer, mean.device) for rows in row_blocks(*X.shape))
    some = encode(X[:: 1 + X.shape[0] * X.shape[1] // AXES_CELLS], standardizer, mean.device)
    found = find_neighbors(places_of(module, blocks, some), min(n_neighbors, len(mean) - 1))
    which = torch.randint(found.shape[1], (len(mean),), generator=generator)
    near = found[torch.arange(len(mean)), which]
    order = torch.randperm(len(mean), generator=generator)
    parts = [(mean[rows], mean[near[rows]]) for rows in in_blocks(order)]
    best = max(SCALES.to(mean), key=lambda scale: mean_bound(parts[:SCALE_BLOCKS], scale))
    return mean_bound(parts, best)


def in_blocks(rows: Tensor) -> tuple[Tensor, ...]:
    """Blocks of one size, or of two that differ by one row: `NEIGHBOR_ROWS` at most."""
    return rows.tensor_split(math.ceil(len(rows) / NEIGHBOR_ROWS))


def most_information(n_rows: int) -> float:
    """The largest bound that these can give, in nats: log of a row's block, on average."""
    sizes = list(map(len, in_blocks(torch.arange(n_rows))))
    return sum(size * math.log(size) for size in sizes) / n_rows


def mean_bound(parts: Sequence[tuple[Tensor, Tensor]], log_scale: Tensor) -> float:
    """The bound's mean over the rows of all blocks."""
    n_rows = sum(len(mean) for mean, _ in parts)
    sums = [len(pair[0]) * neighbor_information(*pair, log_scale).item() for pair in parts]
    return sum(sums) / n_rows


def encode(X: CellTable, standardizer: Standardizer, device: torch.device) -> Cells:
    """Rows in the model's units."""
    cells, observed = standardizer.encode(X, np.float64)
    x = torch.from_numpy(cells).to(device)
    return Cells(x, None if observed is None else torch.from_numpy(observed).to(device, x.dtype))
