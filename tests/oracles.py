"""Answers to compare the score with: exact, by quadrature, by annealed importance sampling."""

import math

import numpy as np
import torch
from scipy.stats import multivariate_normal

LOG_2PI = math.log(2 * math.pi)


def exact_linear_score(vae, X):
    """log N(x; b, W W' + Psi) of a linear network in units of X, missing cells marginalised."""
    standardizer = vae._layout.standardizer
    weight = vae.module_.decoder.weight.detach().double().numpy() * standardizer.scale[:, None]
    mean = vae.module_.decoder.bias.detach().double().numpy() * standardizer.scale
    mean = mean + standardizer.centre
    covariance = weight @ weight.T + np.diag(vae.noise_variance_)
    scores = np.zeros(len(X))
    for i, row in enumerate(np.asarray(X, dtype=float)):
        seen = ~np.isnan(row)
        if seen.any():
            law = multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
            scores[i] = law.logpdf(row[seen])
    return scores


def encoded(vae, X):
    """Module in float64, cells and mask as tensors, and the log-Jacobian of the scaling."""
    import copy

    module = copy.deepcopy(vae.module_).double().eval()
    x, mask = vae._layout.standardizer.encode(np.asarray(X, dtype=float), np.float64)
    jacobian = vae._layout.standardizer.log_jacobian(mask)
    mask = None if mask is None else torch.from_numpy(mask).double()
    return module, torch.from_numpy(x), mask, jacobian


def log_likelihood(module, z, x, mask):
    """log p(x|z) for z (n_draws, n, d)."""
    return module.likelihood.log_prob(x, module.decoder(z), mask)


def quadrature_score(vae, X, n_nodes=3001, reach=9.0):
    """log p(x) by the rectangle rule over a grid of one or two latent dimensions.

    The rule converges faster than any power of the step for a smooth integrand that vanishes at
    the ends; 9 standard deviations of the prior leave out e-18 of its mass.
    """
    module, x, mask, jacobian = encoded(vae, X)
    d = vae.n_components
    n_nodes = n_nodes if d == 1 else 601
    axis = torch.linspace(-reach, reach, n_nodes, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    log_prior = -0.5 * (grid.square().sum(-1) + d * LOG_2PI)
    step = d * math.log(float(axis[1] - axis[0]))
    scores = []
    with torch.no_grad():
        outputs = module.decoder(grid)
        for i in range(len(x)):
            one = None if mask is None else mask[i]
            log_px = module.likelihood.log_prob(x[i], outputs, one)
            scores.append(float(torch.logsumexp(log_px + log_prior, 0) + step))
    return np.array(scores) + jacobian


def ais_score(vae, X, n_steps=400, n_chains=48, n_leaps=5, seed=0):
    """log p(x) by annealed importance sampling with Hamiltonian moves (Neal 2001; Wu et al. 2017).

    Returns the estimate and its standard error for each row. The step size of the moves adapts on
    a first pass, and stays fixed on the second, which is the one that counts.
    """
    module, x, mask, jacobian = encoded(vae, X)
    generator = torch.Generator().manual_seed(seed)
    shape = (n_chains, len(x), vae.n_components)
    betas = torch.linspace(0, 1, n_steps + 1, dtype=torch.float64) ** 3
    sizes = torch.full((n_steps,), 0.2, dtype=torch.float64)

    def energy(z, beta):
        return beta * log_likelihood(module, z, x, mask) - 0.5 * z.square().sum(-1)

    def slope(z, beta):
        z = z.detach().requires_grad_()
        return torch.autograd.grad(energy(z, beta).sum(), z)[0]

    for adapt in (True, False):
        z = torch.randn(shape, generator=generator, dtype=torch.float64)
        weights = torch.zeros(shape[:2], dtype=torch.float64)
        size = 0.2
        for t in range(n_steps):
            with torch.no_grad():
                weights += (betas[t + 1] - betas[t]) * log_likelihood(module, z, x, mask)
            beta, size = betas[t + 1], size if adapt else float(sizes[t])
            momentum = torch.randn(shape, generator=generator, dtype=torch.float64)
            new, speed = z, momentum + 0.5 * size * slope(z, beta)
            for leap in range(n_leaps):
                new = new + size * speed
                speed = speed + (0.5 if leap == n_leaps - 1 else 1.0) * size * slope(new, beta)
            with torch.no_grad():
                change = energy(new, beta) - 0.5 * speed.square().sum(-1)
                change = change - energy(z, beta) + 0.5 * momentum.square().sum(-1)
                coin = torch.rand(shape[:2], generator=generator, dtype=torch.float64).log()
                taken = coin < change
                z = torch.where(taken[..., None], new, z)
            sizes[t] = size
            size *= 1.02 if taken.double().mean() > 0.65 else 0.98
    ratios = torch.exp(weights - weights.max(0).values)
    estimate = weights.max(0).values + ratios.mean(0).log()
    error = ratios.std(0) / ratios.mean(0) / math.sqrt(n_chains)
    return estimate.numpy() + jacobian, error.numpy()
