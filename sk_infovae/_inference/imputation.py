"""Missing cells, filled by what the observed cells of their row say.

The draws z and weights w are the score's (see `evidence`): a proposal from the encoder
and from the decoder's posterior given the observed cells, weighed by p(x_observed, z) / q(z). Then

- E[x_missing | x_observed] = sum_k w_k E[x | z_k], with sum_k w_k = 1; of a column of levels the
  probabilities are averaged so, and the most probable level is taken;
- a draw of x_missing given x_observed takes one z_k with probability w_k, and x from p(x|z_k)
  (sampling-importance-resampling, Rubin 1987). It is kept within the range seen in fit.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_infovae._inference.evidence import Sampler
from sk_infovae._model.cells import Cells
from sk_infovae._model.domain import check_values
from sk_infovae._model.layout import TableLayout
from sk_infovae._model.vae import VAE
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.reading import TableLike, finite


def impute_table(
    sampler: Sampler,
    layout: TableLayout,
    X: TableLike,
    handle_unknown: str,
    drawing: tuple[int, int] | None,
) -> Any:
    """Fill the missing cells of a table.

    Parameters
    ----------
    sampler : Sampler
    layout : TableLayout
    X : ndarray, CSR matrix or DataFrame
        Validated.
    handle_unknown : str
        As in `InfoVAETransformer`.
    drawing : tuple of int or None
        How many tables of draws, and their seed; None fills in the conditional mean.

    Returns
    -------
    filled : like X, or list of such
    """
    schema = layout.schema
    table = schema.as_fitted(X)
    holes = schema.holes(table)
    rows = np.flatnonzero(holes.any(axis=1))
    cells = finite(schema.encode(table, handle_unknown))[rows]
    drawn: Any = np.empty((1 if drawing is None else drawing[0], *cells.shape))
    if len(rows):
        check_values(cells, layout.architecture.likelihoods, schema.names)
        if drawing is None:
            drawn = impute_mean(sampler, cells)[None]
        else:
            drawn = impute_draws(sampler, cells, *drawing)
    filled = [schema.fill(table, holes, rows, part) for part in drawn]
    return filled[0] if drawing is None else filled


@torch.no_grad()
def impute_mean(sampler: Sampler, X: CellTable) -> NDArray[np.float64]:
    """Conditional mean (most probable level) of every cell of X, in the units of X."""
    filled = np.empty(X.shape)
    likelihood = sampler.module.likelihood
    for rows, cells, z, weights in sampler.draws(X):
        means = likelihood.average(_outputs(sampler.module, z, cells), weights.softmax(-1))
        modes = likelihood.mode(means)
        filled[rows] = sampler.standardizer.decode(modes.cpu().numpy())
    return filled


@torch.no_grad()
def impute_draws(sampler: Sampler, X: CellTable, n_draws: int, seed: int) -> NDArray[np.float64]:
    """Draws of the cells of X given its observed ones, ``(n_draws, *X.shape)``, units of X."""
    filled = np.empty((n_draws, *X.shape))
    generator = torch.Generator().manual_seed(seed)
    standardizer = sampler.standardizer
    for rows, given, z, weights in sampler.draws(X):
        chosen = _resample(z, weights, n_draws, generator)
        uniform = torch.rand(
            (*chosen.shape[:-1], X.shape[1]), generator=generator, dtype=torch.float64
        ).clamp(min=torch.finfo(torch.float64).tiny)
        outputs = _outputs(sampler.module, chosen, given)
        cells = sampler.module.likelihood.sample(outputs, uniform.to(outputs.device))
        values = standardizer.decode(cells.cpu().numpy())
        filled[:, rows] = np.clip(values, standardizer.low, standardizer.high).swapaxes(0, 1)
    return filled


def _outputs(module: VAE, z: Tensor, cells: Cells) -> Tensor:
    """The decoder's outputs at ``z (n, n_draws, d)`` for these rows, with what they add."""
    mask = None if cells.mask is None else cells.mask[:, None]
    return module.likelihood.with_offset(cells.x[:, None], module.decode(z), mask)


def _resample(z: Tensor, weights: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
    """``n_draws`` of each row's z by their weights, ``(n, n_draws, d)``."""
    shares = weights.softmax(-1).cpu()
    index = torch.multinomial(shares, n_draws, replacement=True, generator=generator)
    return z.gather(1, index.to(z.device)[..., None].expand(-1, -1, z.shape[-1]))
