"""log p(x) by importance sampling with a proposal from the decoder.

Draws from the encoder's q(z|x) alone are not enough: for alpha > 0 it is narrower than p(z|x) and
the bound collapses. So half of the draws come from a Gaussian fitted to the posterior p(z|x) of
the *decoder*: its mode m, found by damped Gauss-Newton steps from the encoder's mean, and the
covariance c^2 (I + J' F J)^-1, where J is the decoder's Jacobian at m, F the likelihood's Fisher
information and c^2 = 1 + 1 / sqrt(d) widens the tails. Both halves are weighted by the mixture's
density (balance heuristic, Veach and Guibas 1995), which bounds the weights by those of the better
half. For a linear decoder with Gaussian noise the fitted Gaussian is the posterior itself.
"""

import copy
import math
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches
from torch import Tensor

from sk_infovae._base.posterior import Posterior, standard_normal_log_density
from sk_infovae._model.vae import VAE
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.standardizer import Standardizer

GAUSS_NEWTON_STEPS = 12
STEP_LENGTHS = (1.0, 0.5, 0.25, 0.0625)
PROMISE = 1e-6
FORWARD_MODE = threading.Lock()
"""torch keeps one level of forward-mode derivatives for all threads."""

DRAW_CELLS = 2**22
"""Cells of the largest tensor that a chunk of rows may make (32 MiB in float64)."""


class Evidence(NamedTuple):
    """log p(x) in nats and effective sample size of its estimate, each ``(n,)``."""

    log_likelihood: Tensor
    effective_sample_size: Tensor


class GaussianProposal(NamedTuple):
    """N(mean, P^-1) given the lower Cholesky factor of the precision P."""

    mean: Tensor
    precision_factor: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        """``mean + L^-T noise`` for noise ``(n_draws, d)``; returns ``(n, n_draws, d)``."""
        upper = self.precision_factor.mT
        steps = torch.linalg.solve_triangular(
            upper, noise.mT.expand(len(upper), -1, -1), upper=True
        )
        return self.mean[:, None, :] + steps.mT

    def log_density(self, z: Tensor) -> Tensor:
        """Log density at z ``(n, n_draws, d)``."""
        factor = self.precision_factor
        whitened = (z - self.mean[:, None, :]) @ factor
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return standard_normal_log_density(whitened) + log_det[:, None]


def sobol_normal(n_draws: int, dim: int, seed: int) -> Tensor:
    """Scrambled Sobol points as standard normal draws, ``(n_draws, dim)`` float64.

    Every row of X uses the same draws, so that order and company of the rows change nothing;
    Sobol points make the error that they then share several times smaller than random ones.
    """
    engine = torch.quasirandom.SobolEngine(dim, scramble=True, seed=seed)
    uniform = engine.draw(n_draws, dtype=torch.float64)
    # 32 bits a point: stay half a step off 0 and 1, where the quantile is infinite.
    return torch.special.ndtri(uniform.clamp(2.0**-33, 1 - 2.0**-33))


def log_joint(module: VAE, z: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    """log p(x, z) = log p(x|z) + log N(z; 0, I) for z ``(..., n, d)``, nats."""
    log_likelihood = module.likelihood.log_prob(x, module.decoder(z), mask)
    return log_likelihood + standard_normal_log_density(z)


def decoder_jacobian(module: VAE, z: Tensor) -> Tensor:
    """Jacobian of the decoder at each row of z ``(n, d)``, as ``(n, n_outputs, d)``.

    One tangent for each latent dimension, all of them in one batched pass.
    """
    n, d = z.shape

    def push(direction: Tensor) -> Tensor:
        return torch.func.jvp(module.decoder, (z,), (direction.expand(n, d),))[1]

    with FORWARD_MODE:
        columns = torch.func.vmap(push)(torch.eye(d, dtype=z.dtype, device=z.device))
    return columns.permute(1, 2, 0)


def curvature(module: VAE, z: Tensor, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradient of log p(x, z) in z ``(n, d)`` and its Gauss-Newton precision I + J' F J."""
    jacobian = decoder_jacobian(module, z)
    with torch.enable_grad():
        outputs = module.decoder(z).detach().requires_grad_()
        slope = torch.autograd.grad(module.likelihood.log_prob(x, outputs, mask).sum(), outputs)[0]
    gradient = (slope[:, None, :] @ jacobian)[:, 0, :] - z
    precision = jacobian.mT @ module.likelihood.fisher_product(outputs.detach(), jacobian, mask)
    precision.diagonal(dim1=-2, dim2=-1).add_(1.0)
    return gradient, precision


def find_mode(module: VAE, z: Tensor, x: Tensor, mask: Tensor | None) -> GaussianProposal:
    """Damped Gauss-Newton steps from z towards the mode of p(z|x), each row on its own.

    A row takes the longest of a few step lengths that raises log p(x, z), or stays where it is;
    it is done when a full step promises less than `PROMISE` nats.
    """
    height = log_joint(module, z, x, mask)
    for _ in range(GAUSS_NEWTON_STEPS):
        gradient, precision = curvature(module, z, x, mask)
        step = torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(precision))[..., 0]
        settled = (gradient * step).sum(-1) < PROMISE
        if settled.all():
            break
        start = z
        for length in STEP_LENGTHS:
            trial = start + length * step
            trial_height = log_joint(module, trial, x, mask)
            better = ~settled & (trial_height > height)
            z = torch.where(better[:, None], trial, z)
            height = torch.where(better, trial_height, height)
            settled = settled | better
            if settled.all():
                break
    factor = torch.linalg.cholesky(curvature(module, z, x, mask)[1])
    widening = math.sqrt(1 + 1 / math.sqrt(z.shape[-1]))
    return GaussianProposal(z, factor / widening)


def encoder_proposal(posterior: Posterior) -> GaussianProposal:
    """q(z|x) in the same form."""
    return GaussianProposal(
        posterior.mean, torch.diag_embed(torch.exp(-0.5 * posterior.log_variance))
    )


def propose(module: VAE, x: Tensor, mask: Tensor | None, refine: bool) -> list[GaussianProposal]:
    """The mixture's parts: q(z|x) and, with refine, the Gaussian fitted to the decoder."""
    posterior = module.encode(x, mask)
    # A row far from all training rows can overflow the exponential; the prior's scale is enough.
    safe = Posterior(posterior.mean, posterior.log_variance.clamp(-40.0, 20.0))
    parts = [encoder_proposal(safe)]
    return [*parts, find_mode(module, safe.mean, x, mask)] if refine else parts


def is_differentiable(module: VAE, z: Tensor) -> bool:
    """Whether torch.func can push a tangent through the decoder; warns where it can't."""
    try:
        decoder_jacobian(module, z)
    except (RuntimeError, NotImplementedError) as error:
        warnings.warn(
            "torch.func could not differentiate the decoder, so the score falls back to draws "
            "from q(z|x), a lower bound that is far too low for alpha > 0. Build the decoder of "
            f"differentiable torch operations. The cause: {error}",
            stacklevel=2,
        )
        return False
    return True


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
    parts = propose(module, x, mask, refine)
    shares = noise.chunk(len(parts))
    z = torch.cat([part.rsample(share) for part, share in zip(parts, shares, strict=True)], dim=1)
    log_shares = torch.tensor(
        [math.log(len(share) / len(noise)) for share in shares], dtype=x.dtype, device=x.device
    )
    mixture = torch.logsumexp(
        torch.stack([part.log_density(z) for part in parts], -1) + log_shares, -1
    )
    joint = log_joint(module, z, x[:, None, :], None if mask is None else mask[:, None, :])
    return z, joint - mixture


def log_evidence(
    module: VAE, x: Tensor, mask: Tensor | None, noise: Tensor, refine: bool = True
) -> Evidence:
    """Estimate log p(x) = log E_q [p(x, z) / q(z)] for every row, missing cells integrated out.

    Parameters as in `weighted_draws`.
    """
    z, weights = weighted_draws(module, x, mask, noise, refine)
    total = torch.logsumexp(weights, -1)
    ess = torch.exp(2 * total - torch.logsumexp(2 * weights, -1))
    return Evidence(total - math.log(z.shape[1]), ess)


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

    @classmethod
    def make(cls, module: VAE, standardizer: Standardizer, n_draws: int, seed: int) -> "Sampler":
        """Copy the module and draw the noise."""
        module = copy.deepcopy(module).double().eval()
        device = next(module.likelihood.buffers()).device
        origin = torch.zeros(1, module.likelihood.n_columns, dtype=torch.float64, device=device)
        n_components = module.encode(origin).mean.shape[-1]
        refine = is_differentiable(module, origin.new_zeros(1, n_components))
        noise = sobol_normal(n_draws, n_components, seed).to(device)
        return cls(module, standardizer, noise, refine)

    def chunks(self, X: CellTable) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Rows of X that fit into `DRAW_CELLS`, in the model's units and on its device."""
        n_draws, n_components = self.noise.shape
        widths = [p.shape[0] for p in self.module.decoder.parameters() if p.ndim]
        widest = max([self.module.likelihood.widest, *widths])
        size = max(1, DRAW_CELLS // (widest * max(n_draws, n_components)))
        for rows in gen_batches(X.shape[0], size):
            x, mask = self.standardizer.encode(X[rows], np.float64)
            observed = None if mask is None else torch.from_numpy(mask).to(self.noise)
            yield rows, torch.from_numpy(x).to(self.noise), observed


def score_rows(sampler: Sampler, X: CellTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log p(x) of every row of X in nats and the units of X, and its effective sample size.

    The standardizer's log-Jacobian carries the density from the model's units to those of X.
    """
    scores, sizes = np.empty(X.shape[0]), np.empty(X.shape[0])
    for rows, x, mask in sampler.chunks(X):
        with torch.no_grad():
            evidence = log_evidence(sampler.module, x, mask, sampler.noise, sampler.refine)
        observed = None if mask is None else mask.cpu().numpy()
        jacobian = sampler.standardizer.log_jacobian(observed)
        scores[rows] = evidence.log_likelihood.cpu().numpy() + jacobian
        sizes[rows] = evidence.effective_sample_size.cpu().numpy()
    return scores, sizes
