"""Where the score draws z: q(z|x), and a Gaussian fitted to the decoder's own posterior p(z|x).

The second has as its mean the mode m of p(z|x), found by damped Gauss-Newton steps from the
encoder's mean, and as its precision I + J' F J, where J is the decoder's Jacobian at m and F the
likelihood's Fisher information. The proposal widens it by c^2 = 1 + 1 / sqrt(d), for the tails.

Where the decoder bends, p(z|x) has several modes, and the encoder's mean leads to one of them, not
always the highest. So points of the prior, whose decoded outputs serve all rows, are tried as well
(`two_modes`), and a Gaussian at the second mode is drawn from too.
"""

import math
from typing import NamedTuple

import torch
from sklearn.utils import gen_batches
from torch import Tensor

from sk_infovae._base.posterior import Posterior, standard_normal_log_density
from sk_infovae._base.warn import warn_user
from sk_infovae._inference.jacobian import outputs_and_jacobian
from sk_infovae._model.cells import Cells
from sk_infovae._model.vae import VAE

GAUSS_NEWTON_STEPS = 12
STEP_LENGTHS = (1.0, 0.5, 0.25, 0.0625)
PROMISE = 1e-2
"""A full step that promises fewer nats is taken unseen: at most a seventh of a deviation far."""

MOST_SCOUTS, SCOUT_CELLS = 256, 2**16
"""Points of the prior from which another mode may be found, a power of 2; outputs of them all."""

TRIED = 8
"""Highest scouts of a row of which it asks what a step from there promises."""

NEAR = 3.0
"""Deviations from the known mode within which a step from a scout leads to it."""

WORTH = 5.0
"""A mode is of interest if it holds at most so many nats less of p(z|x) than another."""

LOOK_CELLS = 2**18
"""Cells of rows and scouts that are looked at together."""


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

    def log_volume(self) -> Tensor:
        """log of the root of det of its covariance."""
        return -self.precision_factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def deviations(self, z: Tensor) -> Tensor:
        """How far z ``(n, n_draws, d)`` is from the mean, in standard deviations."""
        return ((z - self.mean[:, None, :]) @ self.precision_factor).norm(dim=-1)

    def at(self, index: Tensor | slice) -> "GaussianProposal":
        """Those of some of the rows."""
        return GaussianProposal(self.mean[index], self.precision_factor[index])


class Proposal(NamedTuple):
    """What is drawn from for each row: q(z|x) and, where the decoder allows it, fits to p(z|x).

    ``fitted`` is the fit at the mode with most of p(z|x), ``other`` that at another one; of a row
    that has none it is the same.
    """

    encoder: GaussianProposal
    fitted: GaussianProposal | None
    other: GaussianProposal | None

    def parts(self) -> list[GaussianProposal]:
        """The mixture's parts; the fits have wider tails in it."""
        if self.fitted is None or self.other is None:
            return [self.encoder]
        widening = math.sqrt(1 + 1 / math.sqrt(self.fitted.mean.shape[-1]))
        fits = (self.fitted, self.other)
        return [
            self.encoder,
            *(GaussianProposal(g.mean, g.precision_factor / widening) for g in fits),
        ]

    def at(self, index: Tensor | slice) -> "Proposal":
        """That of some of the rows."""
        fits = (part if part is None else part.at(index) for part in self[1:])
        return Proposal(self.encoder.at(index), *fits)


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
    log_likelihood = module.likelihood.log_prob(x, module.decode(z), mask)
    return log_likelihood + standard_normal_log_density(z)


def curvature(module: VAE, z: Tensor, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradient of log p(x, z) in z ``(n, d)`` and its Gauss-Newton precision I + J' F J."""
    return curvature_of(module, z, *outputs_and_jacobian(module.decoder, z), x, mask)


def curvature_of(
    module: VAE, z: Tensor, outputs: Tensor, jacobian: Tensor, x: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same, the decoder's outputs and Jacobian at z being known."""
    with torch.enable_grad():
        outputs = outputs.detach().requires_grad_()
        slope = torch.autograd.grad(module.likelihood.log_prob(x, outputs, mask).sum(), outputs)[0]
    gradient = (slope[:, None, :] @ jacobian)[:, 0, :] - z
    given = module.likelihood.with_offset(x, outputs.detach(), mask)
    precision = jacobian.mT @ module.likelihood.fisher_product(given, jacobian, mask)
    precision.diagonal(dim1=-2, dim2=-1).add_(1.0)
    return gradient, precision


def find_mode(module: VAE, z: Tensor, x: Tensor, mask: Tensor | None) -> GaussianProposal:
    """Damped Gauss-Newton steps from z towards the mode of p(z|x), each row on its own.

    A row takes the longest of a few step lengths that raises log p(x, z). It is done when a full
    step promises less than `PROMISE` nats, when no length helps, or after `GAUSS_NEWTON_STEPS`;
    only the others go on. The precision is that of the last place where it was needed.
    """
    mean, factor = z.clone(), z.new_empty(*z.shape, z.shape[-1])
    live, rows = torch.arange(len(z), device=z.device), Cells(x, mask)
    height = log_joint(module, z, x, mask)
    for _ in range(GAUSS_NEWTON_STEPS):
        gradient, precision = curvature(module, z, *rows)
        root = torch.linalg.cholesky(precision)
        step = torch.cholesky_solve(gradient[..., None], root)[..., 0]
        near = (gradient * step).sum(-1) < PROMISE
        mean[live], factor[live] = torch.where(near[:, None], z + step, z), root
        far = (~near).nonzero()[:, 0]
        higher, height, moved = climb(module, z[far], step[far], height[far], rows.at(far))
        keep = far[moved]
        live, rows, z, height = live[keep], rows.at(keep), higher[moved], height[moved]
        if not len(live):
            break
    else:
        mean[live], factor[live] = z, torch.linalg.cholesky(curvature(module, z, *rows)[1])
    return GaussianProposal(mean, factor)


def climb(
    module: VAE, start: Tensor, step: Tensor, height: Tensor, rows: Cells
) -> tuple[Tensor, Tensor, Tensor]:
    """Go the longest of the step lengths that leads higher, and say which rows did."""
    z, height, moved = start.clone(), height.clone(), start.new_zeros(len(start), dtype=torch.bool)
    for length in STEP_LENGTHS:
        stuck = (~moved).nonzero()[:, 0]
        if not len(stuck):
            break
        trial = start[stuck] + length * step[stuck]
        trial_height = log_joint(module, trial, *rows.at(stuck))
        better = trial_height > height[stuck]
        chosen = stuck[better]
        z[chosen], height[chosen], moved[chosen] = trial[better], trial_height[better], True
    return z, height, moved


def two_modes(
    module: VAE, fitted: GaussianProposal, rows: Cells, scouts: "Scouts"
) -> tuple[GaussianProposal, GaussianProposal]:
    """The fits at the mode with more of p(z|x) and at another; equal where there is none.

    A row climbs from its most promising scout, if that promises at least a mode that counts. By
    Laplace's approximation a mode holds exp(log p(x, z)) times the volume of its Gaussian.
    """
    start, promise = best_scouts(module, rows, fitted, scouts)
    reached = log_joint(module, fitted.mean, *rows)
    some = (promise > reached - WORTH).nonzero()[:, 0]
    if not len(some):
        return fitted, fitted
    found, own = find_mode(module, start[some], *rows.at(some)), fitted.at(some)
    gain = log_joint(module, found.mean, *rows.at(some)) - reached[some]
    gain = gain + found.log_volume() - own.log_volume()
    is_another = (own.deviations(found.mean[:, None])[:, 0] > 1) & (gain > -WORTH)
    leads, replaces = is_another & (gain > 0), is_another & (gain > WORTH)
    first, second = (GaussianProposal(*(part.clone() for part in fitted)) for _ in range(2))
    for high, low, new, old in zip(first, second, found, own, strict=True):
        shape = (-1,) + (1,) * (new.ndim - 1)
        high[some] = torch.where(leads.view(shape), new, old)
        low[some] = torch.where(((is_another & ~leads) | replaces).view(shape), new, old)
    return first, second


class Scouts(NamedTuple):
    """Points of the prior, with the decoder's outputs and Jacobians there, for all rows."""

    z: Tensor
    outputs: Tensor
    jacobian: Tensor

    @classmethod
    def send(cls, module: VAE, d: int, like: Tensor) -> "Scouts":
        """As many as the outputs allow."""
        most = int(math.log2(SCOUT_CELLS / module.likelihood.n_outputs))
        z = sobol_normal(min(MOST_SCOUTS, 2 ** max(3, most)), d, seed=0).to(like)
        return cls(z, *outputs_and_jacobian(module.decoder, z))


def best_scouts(
    module: VAE, rows: Cells, fitted: GaussianProposal, scouts: Scouts
) -> tuple[Tensor, Tensor]:
    """For each row a point of the prior from where a step leads high, and what it promises.

    That is log p(x, z) + g' P^-1 g / 2 with gradient g and Gauss-Newton precision P, of the `TRIED`
    scouts with the largest log p(x, z). Steps to the mode that is known count for nothing.
    """
    z, outputs, jacobian = scouts
    n_scouts, d = z.shape
    log_prior = standard_normal_log_density(z)
    size = max(1, LOOK_CELLS // (outputs.shape[-1] * max(n_scouts, TRIED * d)))
    starts, promises = [], []
    for some in gen_batches(len(rows.x), size):
        x, mask = part = rows.at(some)
        among = None if mask is None else mask[:, None, :]
        heights = module.likelihood.log_prob(x[:, None, :], outputs[None], among) + log_prior
        heights = heights.nan_to_num(nan=-math.inf, posinf=-math.inf)
        height, which = (found.flatten() for found in heights.topk(TRIED))
        tried = z[which]
        each = part.at(torch.arange(len(x), device=x.device).repeat_interleave(TRIED))
        gradient, precision = curvature_of(module, tried, outputs[which], jacobian[which], *each)
        root, failed = torch.linalg.cholesky_ex(precision)
        step = torch.cholesky_solve(gradient[..., None], root)[..., 0]
        promise = height + 0.5 * (gradient * step).sum(-1)
        lost = (failed > 0) | ~promise.isfinite()
        known = fitted.at(some).deviations((tried + step).view(-1, TRIED, d)) < NEAR
        promise = promise.masked_fill(lost, -math.inf).view(-1, TRIED)
        promise, best = promise.masked_fill(known, -math.inf).max(1)
        starts.append(tried.view(-1, TRIED, d)[torch.arange(len(best), device=z.device), best])
        promises.append(promise)
    return torch.cat(starts), torch.cat(promises)


def encoder_proposal(posterior: Posterior) -> GaussianProposal:
    """q(z|x) in the same form."""
    return GaussianProposal(
        posterior.mean, torch.diag_embed(torch.exp(-0.5 * posterior.log_variance))
    )


def propose(
    module: VAE, x: Tensor, mask: Tensor | None, refine: bool, scouts: Scouts | None = None
) -> Proposal:
    """q(z|x) and, with refine, the Gaussians fitted to the decoder."""
    posterior = module.encode(x, mask)
    # A row far from all training rows can overflow the exponential; the prior's scale is enough.
    safe = Posterior(posterior.mean, posterior.log_variance.clamp(-40.0, 20.0))
    if not refine:
        return Proposal(encoder_proposal(safe), None, None)
    fitted = find_mode(module, safe.mean, x, mask)
    scouts = scouts or Scouts.send(module, safe.mean.shape[-1], x)
    return Proposal(encoder_proposal(safe), *two_modes(module, fitted, Cells(x, mask), scouts))


def is_differentiable(module: VAE, z: Tensor) -> bool:
    """Whether a tangent can be pushed through the decoder; warns where it can't."""
    try:
        outputs_and_jacobian(module.decoder, z)
    except (RuntimeError, NotImplementedError) as error:
        warn_user(
            "torch.func could not differentiate the decoder, so the score falls back to draws "
            "from q(z|x), a lower bound that is far too low for alpha > 0. Build the decoder of "
            f"differentiable torch operations. The cause: {error}",
            UserWarning,
        )
        return False
    return True
