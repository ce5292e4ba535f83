r"""A start from PCA: the networks begin as the linear model that suits the rows best.

Probabilistic PCA (Tipping and Bishop 1999) of what the encoder sees of a row, u, with eigenvectors
U and eigenvalues L of its covariance, and :math:`s^2` the mean of the eigenvalues left over, has
the posterior

.. math::

    q(z|u) = N\left( L^{-1} (L - s^2)^{1/2} U' (u - \bar u),\; s^2 L^{-1} \right),

and with it the encoder begins. The decoder begins with one step of Fisher scoring from the best
constant model b, whatever the likelihood: with g the gradient of log p(x|b) in the outputs and F
their Fisher information, and since E zz' = I,

.. math::

    o(z) = b + F^{-1} E[g] + F^{-1} E[g z'] z.

For standardised gaussian columns these are PCA's own reconstructions. The perceptrons beside the
linear maps begin small. Nothing here depends on a seed, so that two fits begin as one.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from sk_infovae._model.cells import Cells
from sk_infovae._model.networks import begin_linear, is_default
from sk_infovae._model.vae import VAE
from sk_infovae.likelihoods import ColumnLikelihoods

LEAST_REST = 1e-2
"""Least s^2, in means of the eigenvalues that are kept."""

MOST_SLOPE = 1.0
"""A step of scoring goes no further, in an output's own units for a unit of z."""


class LinearCode(NamedTuple):
    """A linear q(z|u) = N(slopes (u - centre), variance)."""

    slopes: Tensor
    centre: Tensor
    variance: Tensor


def start_from_pca(module: VAE, n_components: int, cells: Cells, outputs: Tensor) -> None:
    """Begin as probabilistic PCA of some rows; networks of the user's own are left alone.

    Parameters
    ----------
    module : VAE
        Freshly drawn; changed in place.
    n_components : int
    cells : Cells
    outputs : Tensor of shape (n_outputs,)
        Of the best constant model (`VAE.init_from_data`).
    """
    encoder, decoder = module.encoder, module.decoder
    if not (is_default(encoder) and is_default(decoder)):
        return
    with torch.no_grad():
        inputs = module.inputs(*cells)
        shown = inputs[:, : module.inputs.n_shown]
    code = probabilistic_pca(shown, n_components)
    if code is None:
        return
    slopes = torch.zeros(2 * n_components, inputs.shape[1])
    slopes[:n_components, : shown.shape[1]] = code.slopes
    offset = torch.cat([-(code.slopes @ code.centre), code.variance.log()])
    begin_linear(encoder, slopes, offset)
    z = (shown - code.centre) @ code.slopes.mT
    begin_linear(decoder, *scoring_step(module.likelihood, cells, outputs, z))


def probabilistic_pca(u: Tensor, n_components: int) -> LinearCode | None:
    """Its posterior by rows ``u (n, width)``; None where they do not vary, or beyond all bounds.

    Components that the rows do not have, and those with no more variance than the rest, are the
    prior.
    """
    n, width = u.shape
    n_found = min(n_components, width, n - 1)
    centre = u.mean(0)
    if n_found < 1 or not (u - centre).square().sum().isfinite():
        return None
    values, axes = principal_axes(u - centre)
    kept = values[:n_found]
    rest = (values.sum() - kept.sum()) / max(1, width - n_found)
    rest = rest.maximum(LEAST_REST * kept.mean())
    if not rest > 0:
        return None
    kept = kept.maximum(rest)
    slopes, variance = u.new_zeros(n_components, width), u.new_ones(n_components)
    slopes[:n_found] = ((kept - rest).sqrt() / kept)[:, None] * axes[:n_found]
    variance[:n_found] = rest / kept
    return LinearCode(slopes, centre, variance)


def principal_axes(u: Tensor) -> tuple[Tensor, Tensor]:
    """Variances, the largest first, and axes ``(min(n, width), width)`` of centred rows.

    The longer tail of the rows lies on the positive side of an axis: some rows more or less turn it
    less often than by scikit-learn's rule, where two large entries of opposite signs leave it to
    chance. (Its PCA takes four times as long for small tables: its BLAS and torch wait for each
    other.)
    """
    n, width = u.shape
    wide = width > n
    values, vectors = torch.linalg.eigh((u @ u.mT if wide else u.mT @ u) / (n - 1))
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    axes = (u.mT @ vectors if wide else vectors).mT
    axes = torch.nn.functional.normalize(axes, dim=1)
    return values, axes * (u @ axes.mT).pow(3).sum(0).sign()[:, None]


def scoring_step(
    likelihood: ColumnLikelihoods, cells: Cells, outputs: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Slopes ``(n_outputs, d)`` and offsets of the decoder, by codes ``z (n, d)`` of the rows."""
    likelihood = copy.deepcopy(likelihood).double().eval()
    x, start = cells.x.double(), outputs.double()
    mask = None if cells.mask is None else cells.mask.double()
    at = start.expand(len(x), -1).clone().requires_grad_()
    score = torch.autograd.grad(likelihood.log_prob(x, at, mask).sum(), at)[0]
    n_seen = (torch.ones_like(x) if mask is None else mask).sum(0).clamp(min=1)
    known = torch.cat([torch.ones(len(z), 1).to(x), z.double()], 1)
    mean = (score.mT @ known) / likelihood.of_outputs(n_seen)[:, None]
    step = likelihood.inverse_fisher(start, mean)
    slopes = step[:, 1:]
    slopes = slopes * (MOST_SLOPE / slopes.norm(dim=1, keepdim=True)).clamp(max=1)
    return slopes.to(z), (start + step[:, 0]).to(z)
