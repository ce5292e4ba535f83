r"""What each latent dimension does to the columns.

With posterior means m of rows, :math:`s_l` the standard deviation of dimension l of q(z) and
f(z) = E[x|z], a row moves by

.. math::

    \Delta_l f = f(m + \tfrac12 s_l e_l) - f(m - \tfrac12 s_l e_l)

as dimension l moves by one standard deviation. In units of each column's own standard deviation its
mean over rows is the loading of the column on the dimension. Its mean square over rows and columns,
:math:`c_l`, says how much the dimension carries. Curved ones carry the same variance several times,
so the shares are those of R^2, the part of the variance that :math:`f(m)` explains:

.. math::

    r_l = R^2 c_l / \sum_k c_k.

For probabilistic PCA of standardised columns with eigenvalues :math:`L_l` and noise :math:`v`
loadings are eigenvectors times :math:`(L_l - v)^{1/2}`, and the :math:`c_l` are as
:math:`L_l - v`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sk_infovae._model.cells import Cells
from sk_infovae._model.vae import VAE
from sk_infovae.likelihoods.numerics import column_moments

LEAST_ROWS, MOVED_ROWS = 4, 64
"""The least rows by which anything is measured, and the most that are moved."""

MOST_CELLS = 2**22
"""Expected values, probabilities of levels among them, that are held at a time."""

CONSTANT = 1e-13
"""Variance up to which a column is constant, in its mean square: what float32 can't tell apart."""


class Components(NamedTuple):
    """Share of the variance by dimension ``(d,)``, and loadings ``(n_columns, d)``, float64."""

    explained: Tensor
    loadings: Tensor

    def ordered(self, order: Tensor) -> "Components":
        """The dimensions in another order."""
        return Components(self.explained[order], self.loadings[:, order])


@torch.no_grad()
def measure_components(module: VAE, cells: Cells) -> Components:
    """Move the codes of rows along each dimension.

    Parameters
    ----------
    module : VAE
        In eval mode.
    cells : Cells
        Of the rows.
    """
    mean, log_variance = module.encode(*cells)
    d, width = mean.shape[1], sum(part.shape[-1] for part in expect(module, mean[:1]))
    cells, mean = thinned(cells, mean, MOST_CELLS // width)
    deviation = (mean.var(0, correction=0) + log_variance.exp().mean(0)).sqrt()
    own, codes = thinned(cells, mean, min(MOVED_ROWS, MOST_CELLS // (2 * d * width)))
    half = torch.diag(0.5 * deviation)
    moved = torch.stack([codes + sign * step for step in half for sign in (1, -1)])
    spreads = Spreads(module, cells, expect(module, mean, cells))
    n_columns = module.likelihood.n_columns
    carried, loadings = torch.zeros(d).double(), torch.zeros(n_columns, d).double()
    for block, values in zip(module.likelihood.blocks(), expect(module, moved, own), strict=True):
        up, down = values.double().view(d, 2, len(codes), len(block.columns), -1).unbind(1)
        change, per_unit = up - down, spreads.per_unit[block.columns]
        signed = change.mean(1)
        signed = signed[..., 0] if signed.shape[-1] == 1 else signed.norm(dim=-1)
        loadings[block.columns.cpu()] = (signed * per_unit.sqrt()).mT.cpu()
        carried += (change.square().sum(-1).mean(1) * per_unit).sum(-1).cpu()
    total = carried.sum()
    return Components(spreads.r2 * carried / (total if total > 0 else 1.0), loadings)


def expect(module: VAE, z: Tensor, rows: Cells | None = None) -> Sequence[Tensor]:
    """E[x|z], and for levels the probability of each, by block; of rows with what they add."""
    outputs = module.decode(z)
    if rows is not None:
        outputs = module.likelihood.with_offset(rows.x, outputs, rows.mask)
    return module.likelihood.mean(outputs)


def thinned(cells: Cells, mean: Tensor, most: int) -> tuple[Cells, Tensor]:
    """At most so many rows and codes, evenly spaced."""
    n = len(mean)
    some = torch.linspace(0, n - 1, min(n, max(LEAST_ROWS, most)), dtype=torch.float64).long()
    some = some.to(mean.device)
    return cells.at(some), mean[some]


class Spreads:
    """How far the cells of each column lie apart, and how much of that f(m) explains.

    Attributes
    ----------
    per_unit : Tensor of shape (n_columns,)
        1 / variance of each column, for levels the sum over their indicators; 0 where it is
        constant. Standardised columns have variance 1, on more rows than these.
    r2 : Tensor of shape ()
        1 - squared error / variance, averaged over the columns that vary; not below 0.
    """

    def __init__(self, module: VAE, cells: Cells, means: Sequence[Tensor]):
        x = cells.x.double()
        seen = torch.ones_like(x) if cells.mask is None else cells.mask.double()
        count, centre, variance = column_moments(x, seen)
        varies = variance > CONSTANT * centre.square()
        error = torch.zeros_like(variance)
        for block, values in zip(module.likelihood.blocks(), means, strict=True):
            columns, own = block.columns, seen[:, block.columns]
            squares, spread = squared_errors(x[:, columns], values.double(), own)
            error[columns] = (squares * own).sum(0) / count[columns].clamp(min=1)
            if spread is not None:
                variance[columns] = spread
        unexplained = torch.where(varies, error / variance, 1.0)
        self.r2 = ((1 - unexplained).sum() / max(1, int(varies.sum()))).clamp(min=0).cpu()
        for block in module.likelihood.blocks():
            if block.likelihood.standardised:
                variance[block.columns] = 1.0
        self.per_unit = torch.where(varies, 1 / variance, 0.0)


def squared_errors(x: Tensor, values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor | None]:
    """Of every cell, over the indicators of its levels; and their variance, in the place of x's."""
    p = values.view(*x.shape, -1)
    if p.shape[-1] == 1:
        return (x - values).square(), None
    mine = p.gather(-1, x.long()[..., None])[..., 0]
    frequency = (p * seen[..., None]).sum(0) / seen.sum(0).clamp(min=1)[:, None]
    return 1 - 2 * mine + p.square().sum(-1), (frequency * (1 - frequency)).sum(-1)
