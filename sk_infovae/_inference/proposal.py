"""Where the score draws z: q(z|x), and a Gaussian fitted to the decoder's own posterior p(z|x).

The second has as its mean the mode m of p(z|x), found by damped Gauss-Newton steps from the
encoder's mean, and as its precision I + J' F J, where J is the decoder's Jacobian at m and F the
likelihood's Fisher information. The proposal widens it by c^2 = 1 + 1 / sqrt(d), for the tails.
"""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from sk_infovae._base.posterior import Posterior, standard_normal_log_density
from sk_infovae._inference.jacobian import outputs_and_jacobian
from sk_infovae._model.cells import Cells
from sk_infovae._model.vae import VAE

GAUSS_NEWTON_STEPS = 12
STEP_LENGTHS = (1.0, 0.5, 0.25, 0.0625)
PROMISE = 1e-2
"""A full step that promises fewer nats is taken unseen: at most a seventh of a deviation far."""


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

    def at(self, index: Tensor | slice) -> "GaussianProposal":
        """Those of some of the rows."""
        return GaussianProposal(self.mean[index], self.precision_factor[index])


class Proposal(NamedTuple):
    """What is drawn from for each row: q(z|x) and, where the decoder allows it, a fit to p(z|x)."""

    encoder: GaussianProposal
    fitted: GaussianProposal | None

    def parts(self) -> list[GaussianProposal]:
        """The mixture's parts; the fit has wider tails in it."""
        if self.fitted is None:
            return [self.encoder]
        widening = math.sqrt(1 + 1 / math.sqrt(self.fitted.mean.shape[-1]))
        mean, factor = self.fitted
        return [self.encoder, GaussianProposal(mean, factor / widening)]

    def at(self, index: Tensor | slice) -> "Proposal":
        """That of some of the rows."""
        fitted = None if self.fitted is None else self.fitted.at(index)
        return Proposal(self.encoder.at(index), fitted)


def log_joint(module: VAE, z: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    """log p(x, z) = log p(x|z) + log N(z; 0, I) for z ``(..., n, d)``, nats."""
    log_likelihood = module.likelihood.log_prob(x, module.decoder(z), mask)
    return log_likelihood + standard_normal_log_density(z)


def curvature(module: VAE, z: Tensor, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradient of log p(x, z) in z ``(n, d)`` and its Gauss-Newton precision I + J' F J."""
    outputs, jacobian = outputs_and_jacobian(module.decoder, z)
    with torch.enable_grad():
        outputs = outputs.detach().requires_grad_()
        slope = torch.autograd.grad(module.likelihood.log_prob(x, outputs, mask).sum(), outputs)[0]
    gradient = (slope[:, None, :] @ jacobian)[:, 0, :] - z
    precision = jacobian.mT @ module.likelihood.fisher_product(outputs.detach(), jacobian, mask)
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


def encoder_proposal(posterior: Posterior) -> GaussianProposal:
    """q(z|x) in the same form."""
    return GaussianProposal(
        posterior.mean, torch.diag_embed(torch.exp(-0.5 * posterior.log_variance))
    )


def propose(module: VAE, x: Tensor, mask: Tensor | None, refine: bool) -> Proposal:
    """q(z|x) and, with refine, the Gaussian fitted to the decoder."""
    posterior = module.encode(x, mask)
    # A row far from all training rows can overflow the exponential; the prior's scale is enough.
    safe = Posterior(posterior.mean, posterior.log_variance.clamp(-40.0, 20.0))
    fitted = find_mode(module, safe.mean, x, mask) if refine else None
    return Proposal(encoder_proposal(safe), fitted)


def is_differentiable(module: VAE, z: Tensor) -> bool:
    """Whether a tangent can be pushed through the decoder; warns where it can't."""
    try:
        outputs_and_jacobian(module.decoder, z)
    except (RuntimeError, NotImplementedError) as error:
        warnings.warn(
            "torch.func could not differentiate the decoder, so the score falls back to draws "
            "from q(z|x), a lower bound that is far too low for alpha > 0. Build the decoder of "
            f"differentiable torch operations. The cause: {error}",
            stacklevel=2,
        )
        return False
    return True
