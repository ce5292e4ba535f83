"""The score without a shortcut, to hold the real one to: every draw, every row, no correction."""

import math

import torch

from sk_infovae._inference.evidence import Sampler
from sk_infovae._inference.jacobian import torch_jacobian
from sk_infovae._inference.proposal import encoder_proposal, log_joint


def sampler_of(vae, n_draws=512, seed=0):
    """The sampler of a fitted model."""
    return Sampler.make(vae.module_, vae._layout.standardizer, n_draws, seed)


def cells_of(vae, X):
    """X as the model's cells, in the units of X."""
    schema = vae._layout.schema
    return schema.encode(schema.as_fitted(X), "error")


@torch.no_grad()
def plain_mode(module, x, mask, n_steps=40):
    """Mode of p(z|x) of one row and I + J'FJ there; steps are halved until they lead higher."""
    z = module.encode(x, mask).mean
    for _ in range(n_steps):
        jacobian, outputs = torch_jacobian(module.decoder, z), module.decoder(z)
        with torch.enable_grad():
            o = outputs.clone().requires_grad_()
            slope = torch.autograd.grad(module.likelihood.log_prob(x, o, mask).sum(), o)[0]
        gradient = (slope[:, None] @ jacobian)[:, 0] - z
        precision = jacobian.mT @ module.likelihood.fisher_product(outputs, jacobian, mask)
        precision = precision + torch.eye(z.shape[-1], dtype=z.dtype)
        step, height = torch.linalg.solve(precision, gradient), log_joint(module, z, x, mask)
        while log_joint(module, z + step, x, mask) < height and step.norm() > 1e-9:
            step = step / 2
        if step.norm() <= 1e-9:
            break
        z = z + step
    return z, precision


@torch.no_grad()
def plain_score(vae, X, n_draws, seed=0):
    """log p(x) of each row of X by as many draws of the plain mixture, half from either part.

    Pseudo-random draws, float64, from q(z|x) and from N(mode, 1.5 (I + J'FJ)^-1) by torch's own
    distributions.
    """
    sampler, scores = sampler_of(vae, 2), []
    generator = torch.Generator().manual_seed(seed)
    for _, xs, masks in sampler.chunks(cells_of(vae, X)):
        jacobian = sampler.standardizer.log_jacobian(None if masks is None else masks.numpy())
        for i in range(len(xs)):
            x, mask = xs[i : i + 1], None if masks is None else masks[i : i + 1]
            q = sampler.module.encode(x, mask)
            mean, precision = plain_mode(sampler.module, x, mask)
            own = encoder_proposal(q).precision_factor[0]
            laws = [
                torch.distributions.MultivariateNormal(q.mean[0], precision_matrix=own @ own.T),
                torch.distributions.MultivariateNormal(
                    mean[0], precision_matrix=precision[0] / 1.5
                ),
            ]
            noise = torch.randn(2, n_draws // 2, mean.shape[-1], generator=generator).double()
            z = torch.cat(
                [law.loc + e @ law.scale_tril.T for law, e in zip(laws, noise, strict=True)]
            )
            density = torch.stack([law.log_prob(z) for law in laws]).logsumexp(0) - math.log(2)
            weights = log_joint(sampler.module, z, x, mask) - density
            offset = jacobian if jacobian.ndim == 0 else jacobian[i]
            scores.append(float(torch.logsumexp(weights, 0)) - math.log(len(z)) + float(offset))
    return torch.tensor(scores, dtype=torch.float64).numpy()
