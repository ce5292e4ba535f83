"""Which rows are neighbours: nearest by what the encoder is shown of them."""

import importlib.util
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sk_infovae._model.cells import Cells
from sk_infovae._model.start import principal_axes
from sk_infovae._model.vae import VAE

MOST_WIDTH = 64
"""Principal axes that distances are taken on, where there are more inputs."""

AXES_CELLS = 2**24
"""Cells of the rows by which these are found."""

EXACT_ROWS = 50_000
"""Rows above which pynndescent finds the neighbours, where it is installed."""


@torch.no_grad()
def places_of(module: VAE, blocks: Iterable[Cells], some: Cells) -> NDArray[np.float32]:
    """Where rows lie: what the encoder is shown of them, on at most `MOST_WIDTH` axes.

    Parameters
    ----------
    module : VAE
        With its inputs measured: standardised numbers, and indicators of levels.
    blocks : iterable of Cells
        All rows, some at a time.
    some : Cells
        Rows by which the axes are found.

    Returns
    -------
    places : ndarray of shape (n_rows, min(n_shown, MOST_WIDTH))
    """
    width, device = module.inputs.n_shown, str(next(module.likelihood.buffers()).device)

    def shown(cells: Cells) -> Tensor:
        return module.inputs(*cells.to(device))[:, :width]

    axes = torch.eye(width)
    if width > MOST_WIDTH:
        seen = shown(some)
        axes = principal_axes(seen - seen.mean(0))[1][:MOST_WIDTH]
    return torch.cat([(x @ axes.to(x).mT).cpu() for x in map(shown, blocks)]).numpy()


def find_neighbors(places: NDArray[np.float32], k: int) -> Tensor:
    """Positions ``(n, max(1, k))`` of each row's k nearest others; a lone row is its own."""
    if k == 0:
        return torch.arange(len(places))[:, None]
    if len(places) > EXACT_ROWS and importlib.util.find_spec("pynndescent") is not None:
        return approximate_neighbors(places, k)
    found = NearestNeighbors(n_neighbors=k).fit(places).kneighbors(return_distance=False)
    return torch.from_numpy(found)


def approximate_neighbors(places: NDArray[np.float32], k: int) -> Tensor:
    """By nearest neighbour descent (Dong, Moses, Li, WWW 2011)."""
    from pynndescent import NNDescent

    found = NNDescent(places, n_neighbors=k + 1, random_state=0).neighbor_graph[0]
    others = found != np.arange(len(found))[:, None]
    others[others.all(1), -1] = False  # equal rows come in any order
    return torch.from_numpy(found[others].reshape(len(found), k).astype(np.int64))
