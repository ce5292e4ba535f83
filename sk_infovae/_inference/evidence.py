r"""log p(x) by importance sampling with a proposal from the decoder.

Draws from the encoder's q(z|x) alone are not enough: for alpha > 0 it is narrower than p(z|x) and
the bound collapses. So three of four draws come from Gaussians fitted to the *decoder's* posterior
at one mode or two (see `proposal`), with wider tails; g is the one with more of p(z|x). All parts
are weighted by the mixture's density q (balance heuristic, Veach and Guibas 1995), which bounds the
weights by a multiple of those of the best part.

Two things keep the draws few. g is a density, so that g(z) / q(z) has mean 1, and what it misses
in a sample tells what the weights w = p(x, z) / q(z) miss (control variate; Owen and Zhou 2000):

.. math::

    \hat p(x) = \bar w \left(1 - \beta \, \overline{(g / q - 1)}\right),
    \qquad \beta = \mathrm{cov}(w / \bar w, g / q) / \mathrm{var}(g / q)

It is exact for a linear decoder with Gaussian noise, where g is the posterior itself. And a row
takes draws in rounds until its own error is small (`TOLERANCE`). Where hardly any draws agree in
the end, the row's best draw leads to another mode (`look_again`).
"""

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches
from torch import Tensor

from sk_infovae._inference.proposal import (
    Proposal,
    Scouts,
    find_mode,
    is_differentiable,
    log_joint,
    propose,
    sobol_normal,
)
from sk_infovae._model.cells import Cells
from sk_infovae._model.vae import VAE
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.standardizer import Standardizer

ROUND = 64
"""Draws that a row takes before it looks at its error again."""

TOLERANCE = 2.0
"""A row is done once the variance of its log p(x) is at most this / the draws that it may have.

So an effective sample size of a third of them would leave it. More draws allowed are less error.
"""

FEWEST_FOR_CONTROL = 32
"""Of fewer draws, a regression says nothing."""

LARGEST_CORRECTION = 0.5
"""Share of p(x) that the control variate may add or take: it must not make it negative."""

DRAW_CELLS = 2**18
"""Cells of the largest tensor over draws (2 MiB in float64): it stays in the cache."""

ROW_CELLS = 2**21
"""Cells of the largest tensor over rows, with some for each latent dimension."""

FEW_AGREE = 1 / 50
"""A row with a smaller effective part of its draws looks for another mode."""

COPIES_OF_A_ROW = 64
"""Copies of a row's outputs that must fit at least: an estimated Fisher information makes them."""


class Evidence(NamedTuple):
    """log p(x) in nats, effective sample size and standard error of its estimate, each ``(n,)``."""

    log_likelihood: Tensor
    effective_sample_size: Tensor
    error: Tensor


class Weights(NamedTuple):
    """log p(x, z) / q(z) and g(z) / q(z) - 1 of each row's draws, each ``(n, n_draws)``."""

    log_weight: Tensor
    control: Tensor

    def at(self, index: Tensor) -> "Weights":
        """Those of some of the rows."""
        return Weights(self.log_weight[index], self.control[index])

    def joined(self, more: "Weights") -> "Weights":
        """With further draws of the same rows."""
        return Weights(*(torch.cat(pair, -1) for pair in zip(self, more, strict=True)))


def share_out(noise: Tensor, n_parts: int) -> list[Tensor]:
    """The noise of each part of the mixture: a quarter is the encoder's where there are others."""
    if n_parts == 1:
        return [noise]
    own = max(1, len(noise) // 4)
    return [noise[:own], *noise[own:].tensor_split(n_parts - 1)]


def rounds(noise: Tensor, n_parts: int) -> Iterator[list[Tensor]]:
    """The noise of one round after another, each of them shared out in the same way."""
    shares, n_draws = share_out(noise, n_parts), len(noise)
    stops = [*range(ROUND, n_draws, ROUND), n_draws]
    for start, stop in itertools.pairwise([0, *stops]):
        ends = [(len(share) * start // n_draws, len(share) * stop // n_draws) for share in shares]
        yield [share[first:last] for share, (first, last) in zip(shares, ends, strict=True)]


def draw(
    module: VAE, rows: Cells, proposal: Proposal, shares: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws z of each row by this noise, their log-weights, and the log of the mixture's density.

    Each part of the mixture counts by its share of the draws.
    """
    parts, n_draws = proposal.parts(), sum(map(len, shares))
    z = torch.cat([part.rsample(share) for part, share in zip(parts, shares, strict=True)], dim=1)
    log_shares = [math.log(len(share) / n_draws) if len(share) else -math.inf for share in shares]
    by_part = [part.log_density(z) + own for part, own in zip(parts, log_shares, strict=True)]
    mixture = torch.logsumexp(torch.stack(by_part, -1), -1)
    mask = None if rows.mask is None else rows.mask[:, None, :]
    return z, log_joint(module, z, rows.x[:, None, :], mask) - mixture, mixture


def weighted_draws(
    module: VAE, x: Tensor, mask: Tensor | None, noise: Tensor, refine: bool = True
) -> tuple[Tensor, Tensor]:
    """Draws z of the proposal q for every row, and their weights log p(x, z) / q(z).

    Parameters
    ----------
    module : VAE
        In eval mode and float64.
    x, mask : Tensor of shape (n, n_columns)
        Cells in the model's units.
    noise : Tensor of shape (n_draws, d)
        Standard normal draws, the same for every row; each part of the mixture takes its share.
    refine : bool
        Whether the decoder proposes too.

    Returns
    -------
    z : Tensor of shape (n, n_draws, d)
    log_weights : Tensor of shape (n, n_draws)
    """
    proposal = propose(module, x, mask, refine)
    return draw(module, Cells(x, mask), proposal, share_out(noise, len(proposal.parts())))[:2]


def weigh(module: VAE, rows: Cells, proposal: Proposal, shares: list[Tensor], size: int) -> Weights:
    """The weights of each row's draws, ``size`` rows at a time."""
    done = []
    for some in gen_batches(len(rows.x), size):
        part = proposal.at(some)
        z, log_weight, mixture = draw(module, rows.at(some), part, shares)
        if part.fitted is None:
            done.append(Weights(log_weight, torch.zeros_like(log_weight)))
        else:
            done.append(Weights(log_weight, torch.expm1(part.fitted.log_density(z) - mixture)))
    return Weights(*map(torch.cat, zip(*done, strict=True)))


def estimate(weights: Weights) -> Evidence:
    """log p(x) of each row by its draws: their mean weight, put right by the control variate.

    The error is that of independent draws; Sobol points have a smaller one.
    """
    log_weight, control = weights
    n_draws = log_weight.shape[-1]
    total = torch.logsumexp(log_weight, -1)
    share = torch.exp(log_weight - total[:, None]) * n_draws
    size = n_draws**2 / share.square().sum(-1)
    mean, spread = control.mean(-1), control - control.mean(-1, keepdim=True)
    slope = (spread * share).sum(-1) / spread.square().sum(-1).clamp(min=1e-300)
    if n_draws < FEWEST_FOR_CONTROL:
        slope = torch.zeros_like(slope)
    shift = (-slope * mean).clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)
    rest = share - 1 - slope[:, None] * spread
    error = (rest.square().mean(-1) / max(n_draws - 2, 1)).sqrt() / (1 + shift)
    return Evidence(total - math.log(n_draws) + torch.log1p(shift), size, error)


def log_evidence(
    module: VAE,
    x: Tensor,
    mask: Tensor | None,
    noise: Tensor,
    refine: bool = True,
    scouts: Scouts | None = None,
) -> Evidence:
    """Estimate log p(x) = log E_q [p(x, z) / q(z)] for every row, missing cells integrated out.

    Parameters as in `weighted_draws`. A row takes as many of the draws as its own error asks for,
    so that neither order nor company of the rows matters.
    """
    proposal, rows = propose(module, x, mask, refine, scouts), Cells(x, mask)
    found = Evidence(*x.new_empty(3, len(x)))
    live, weights = torch.arange(len(x), device=x.device), None
    for shares in rounds(noise, len(proposal.parts())):
        new = weigh(module, rows.at(live), proposal.at(live), shares, round_size(module, shares))
        weights = new if weights is None else weights.joined(new)
        now = estimate(weights)
        for whole, part in zip(found, now, strict=True):
            whole[live] = part
        keep = now.error.square() > TOLERANCE / len(noise)
        if proposal.fitted is None:
            keep[:] = True  # A narrow q(z|x) does not see what it misses.
        live, weights = live[keep], weights.at(keep)
        if not len(live):
            break
    poor = (found.effective_sample_size < FEW_AGREE * len(noise)).nonzero()[:, 0]
    if proposal.fitted is not None and len(poor):
        again = look_again(module, rows.at(poor), proposal.at(poor), noise)
        better = again.effective_sample_size > found.effective_sample_size[poor]
        for whole, part in zip(found, again, strict=True):
            whole[poor[better]] = part[better]
    return found


def look_again(module: VAE, rows: Cells, proposal: Proposal, noise: Tensor) -> Evidence:
    """The evidence with all draws about another mode, sought from the best of the first draws.

    Where hardly any draws agree, most of p(z|x) lies elsewhere than at the mode that was found.
    """
    best = noise.new_zeros(len(rows.x), noise.shape[-1])
    height = noise.new_full((len(best),), -math.inf)
    n_parts = len(proposal.parts())
    for shares in rounds(noise, n_parts):
        for some in gen_batches(len(best), round_size(module, shares)):
            z, log_weight, mixture = draw(module, rows.at(some), proposal.at(some), shares)
            joint, chosen = (log_weight + mixture).max(-1)
            here = z[torch.arange(len(z), device=z.device), chosen]
            best[some] = torch.where((joint > height[some])[:, None], here, best[some])
            height[some] = joint.maximum(height[some])
    third = find_mode(module, best, *rows)
    again = Proposal(proposal.encoder, third, proposal.fitted)
    shares = rounds(noise, n_parts)
    parts = [weigh(module, rows, again, one, round_size(module, one)) for one in shares]
    return estimate(Weights(*(torch.cat(part, -1) for part in zip(*parts, strict=True))))


def round_size(module: VAE, shares: list[Tensor]) -> int:
    """Rows whose draws of a round fit into `DRAW_CELLS`."""
    return max(1, DRAW_CELLS // (widest(module) * sum(map(len, shares))))


def widest(module: VAE) -> int:
    """Numbers that a draw of z takes at most, in a layer or as outputs."""
    widths = [p.shape[0] for p in module.decoder.parameters() if p.ndim]
    return max([module.likelihood.widest, *widths])


@dataclass(frozen=True, eq=False)
class Sampler:
    """A float64 copy of a module with the noise that all rows share.

    Parameters of `make`: a module trained in float32, the table's standardizer, importance samples
    a row, and the seed that scrambles the Sobol points.
    """

    module: VAE
    standardizer: Standardizer
    noise: Tensor
    refine: bool
    scouts: Scouts | None

    @classmethod
    def make(cls, module: VAE, standardizer: Standardizer, n_draws: int, seed: int) -> "Sampler":
        """Copy the module and draw the noise."""
        module = copy.deepcopy(module).double().eval()
        device = next(module.likelihood.buffers()).device
        origin = torch.zeros(1, module.likelihood.n_columns, dtype=torch.float64, device=device)
        n_components = module.encode(origin).mean.shape[-1]
        refine = is_differentiable(module, origin.new_zeros(1, n_components))
        noise = sobol_normal(n_draws, n_components, seed).to(device)
        with torch.no_grad():
            scouts = Scouts.send(module, n_components, origin) if refine else None
        return cls(module, standardizer, noise, refine, scouts)

    def chunks(self, X: CellTable) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Rows of X that fit into `ROW_CELLS`, in the model's units and on its device."""
        n_draws, d = self.noise.shape
        cells_a_row = max(max(widest(self.module), d) * max(COPIES_OF_A_ROW, d), n_draws)
        for rows in gen_batches(X.shape[0], max(1, ROW_CELLS // cells_a_row)):
            x, mask = self.standardizer.encode(X[rows], np.float64)
            observed = None if mask is None else torch.from_numpy(mask).to(self.noise)
            yield rows, torch.from_numpy(x).to(self.noise), observed

    def draws(self, X: CellTable) -> Iterator[tuple[slice, Cells, Tensor, Tensor]]:
        """All draws for a few rows at a time: these, z and weights as `weighted_draws` has them."""
        size = max(1, DRAW_CELLS // (widest(self.module) * len(self.noise)))
        for rows, x, mask in self.chunks(X):
            proposal = propose(self.module, x, mask, self.refine, self.scouts)
            shares = share_out(self.noise, len(proposal.parts()))
            for some in gen_batches(len(x), size):
                part = Cells(x, mask).at(some)
                z, weights, _ = draw(self.module, part, proposal.at(some), shares)
                yield slice(rows.start + some.start, rows.start + some.stop), part, z, weights


def score_rows(sampler: Sampler, X: CellTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log p(x) of every row of X in nats and the units of X, and its effective sample size.

    The standardizer's log-Jacobian carries the density from the model's units to those of X.
    """
    scores, sizes = np.empty(X.shape[0]), np.empty(X.shape[0])
    for rows, x, mask in sampler.chunks(X):
        with torch.no_grad():
            how = sampler.noise, sampler.refine, sampler.scouts
            evidence = log_evidence(sampler.module, x, mask, *how)
        observed = None if mask is None else mask.cpu().numpy()
        jacobian = sampler.standardizer.log_jacobian(observed)
        scores[rows] = evidence.log_likelihood.cpu().numpy() + jacobian
        sizes[rows] = evidence.effective_sample_size.cpu().numpy()
    return scores, sizes
