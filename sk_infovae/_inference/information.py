"""What the code knows: the objective's terms taken apart on a table.

With draws z from q(z|x) and q(z) the mixture of all q(z|x),

    KL(q(z|x)||p(z))  =  I_q(x;z)  +  KL(q(z)||p(z))

holds for the averages of log q(z|x) - log p(z), log q(z|x) - log q(z) and log q(z) - log p(z),
term by term, because the three share their draws (Hoffman and Johnson, "ELBO surgery", 2016).
"""

import copy
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_infovae._base.posterior import LOG_2PI, Posterior, standard_normal_log_density
from sk_infovae._inference.neighbors import information_of_neighbors, most_information
from sk_infovae._inference.report import as_html, as_text
from sk_infovae._model.objective import InfoVAELoss
from sk_infovae._model.vae import VAE
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.standardizer import Standardizer, row_blocks
from sk_infovae.divergences import MMD, Codes

MOST_ROWS = 10_000
"""Rows measured; of a larger table a random part."""

DRAWS = 10_000
"""Draws of z in all: a small table takes several a row, at most `MOST_DRAWS_A_ROW`."""

MOST_DRAWS_A_ROW = 16
ACTIVE = 0.01
"""Variance of a dimension's posterior means above which it is active (Burda et al., 2016)."""

PAIR_CELLS = 2**24
"""Cells of the largest tensor over pairs of rows (128 MiB in float64)."""


@dataclass(frozen=True, eq=False, repr=False)
class Information:
    """The objective's terms on a table, nats per sample, natural logarithms.

    Prints as a short table.

    Attributes
    ----------
    reconstruction : float
        E log p(x|z), in the units of X.
    kl : float
        KL(q(z|x)||p(z)) by draws; equals ``mutual_information + marginal_kl``.
    kl_error : float
        Standard error of ``kl`` as an estimate of ``kl_analytic``.
    kl_analytic : float
        The same in closed form.
    mutual_information : float
        I_q(x;z) between the rows and their codes.
    mutual_information_error : float
        Its standard error over tables of this size.
    mutual_information_cap : float
        log(n_rows), the most that any estimate on so many rows can give.
    marginal_kl : float
        KL(q(z)||p(z)).
    divergence : float
        The fitted D(q(z), p(z)), in its own units.
    standardised_mmd : float
        Gaussian MMD^2 with bandwidth n_components, in its standard deviations under q(z) = p(z).
    elbo : float
        ``reconstruction - kl``.
    log_likelihood : float
        `InfoVAETransformer.score`; NaN where values have no density (grey values under bernoulli).
    amortisation_gap : float
        ``log_likelihood - elbo``: KL(q(z|x)||p(z|x)), what the encoder loses against the decoder's
        own posterior.
    effective_sample_size : float
        Of the importance samples that the score took for a row, how many count; mean over rows.
    active_units : int
        Dimensions whose posterior means vary by more than 0.01.
    kl_per_dimension : ndarray of shape (n_components,)
        Sums to ``kl_analytic``.
    logdet_cov : float
        log det of the covariance of q(z); 0 for the prior.
    neighbor_information : float
        What the codes of neighbouring rows have in common, by posterior means: an InfoNCE bound, as
        ``neighbor_weight`` has it, for each row and one of its n_neighbors nearest in X, at the
        best s.
    neighbor_information_cap : float
        log of the rows among which a neighbour is found: blocks of one size, 256 at most.
    n_rows, n_rows_given : int
        Rows measured, and rows of X: above 10,000 a random part is measured.
    """

    reconstruction: float
    kl: float
    kl_error: float
    kl_analytic: float
    mutual_information: float
    mutual_information_error: float
    mutual_information_cap: float
    marginal_kl: float
    divergence: float
    standardised_mmd: float
    elbo: float
    log_likelihood: float
    amortisation_gap: float
    effective_sample_size: float
    active_units: int
    kl_per_dimension: NDArray[np.float64]
    logdet_cov: float
    neighbor_information: float
    neighbor_information_cap: float
    n_rows: int
    n_rows_given: int

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


class Decomposition(NamedTuple):
    """KL = mutual information + marginal KL for each row, and the error of the second."""

    kl: Tensor
    mutual_information: Tensor
    marginal_kl: Tensor
    mutual_information_error: Tensor


def decompose(posterior: Posterior, noise: Tensor) -> Decomposition:
    r"""Take KL(q(z|x)||p(z)) apart on draws z from q(z|x).

    The error is the jackknife's. Without row j the mean loses its own term, and each other row i
    gains :math:`-\log(1 - s_{ij})`, where :math:`s_{ij} = q(z_i|x_j) / \sum_k q(z_i|x_k)` is the
    share that row j had in the density there.

    Parameters
    ----------
    posterior : Posterior
        Of the n rows, float64.
    noise : Tensor of shape (n_draws, n, d)
        Standard normal, what makes z of the posterior.

    Returns
    -------
    Decomposition
        The first three of shape (n,), averaged over draws; nats.
    """
    n_draws, n, _ = noise.shape
    z = posterior.rsample(noise)
    # From the noise: z - mean has no digits left where a posterior is as narrow as it likes.
    log_own = standard_normal_log_density(noise) - 0.5 * posterior.log_variance.sum(-1)
    log_prior = standard_normal_log_density(z)
    log_marginal, missed = torch.empty_like(log_own), 0.0
    for draw in range(n_draws):
        for rows in row_chunks(n, n):
            log_pairs = log_density_under_each(z[draw, rows], posterior)
            log_pairs[:, rows].diagonal().copy_(log_own[draw, rows])
            log_marginal[draw, rows] = log_pairs.logsumexp(-1) - math.log(n)
            share = log_pairs.softmax(-1)
            share[:, rows].diagonal().zero_()
            missed = missed - torch.log1p(-share).sum(0)
    information = (log_own - log_marginal).mean(0)
    influence = information - missed / n_draws
    return Decomposition(
        kl=(log_own - log_prior).mean(0),
        mutual_information=information,
        marginal_kl=(log_marginal - log_prior).mean(0),
        mutual_information_error=influence.std() / math.sqrt(n),
    )


def log_density_under_each(z: Tensor, posterior: Posterior) -> Tensor:
    """log q(z_i|x_j) ``(len(z), n)`` for z ``(..., d)``, one dimension at a time.

    Differences come first: an expanded square would lose all its digits where alpha = 1 has made
    a posterior as narrow as it likes.
    """
    mean, log_variance = posterior
    precision = torch.exp(-log_variance)
    exponent = (log_variance.sum(-1) + mean.shape[-1] * LOG_2PI).repeat(len(z), 1)
    for at, centre, weight in zip(z.mT, mean.mT, precision.mT, strict=True):
        exponent.add_((at[:, None] - centre).square_().mul_(weight))
    return exponent.mul_(-0.5)


def row_chunks(n_rows: int, cells_a_row: int) -> list[slice]:
    """Slices of the rows whose tensors stay within `PAIR_CELLS`."""
    size = max(1, PAIR_CELLS // cells_a_row)
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def log_det_covariance(posterior: Posterior) -> Tensor:
    """log det Cov of q(z): the covariance of the means plus the mean of the variances."""
    centred = posterior.mean - posterior.mean.mean(0)
    covariance = centred.mT @ centred / len(centred)
    covariance.diagonal().add_(posterior.log_variance.exp().mean(0))
    return torch.logdet(covariance)


def kl_per_dimension(posterior: Posterior) -> Tensor:
    """KL(q(z_l|x)||p(z_l)) of each dimension, averaged over rows, ``(d,)``."""
    mean, log_variance = posterior
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean(0)


def active_dimensions(posterior: Posterior) -> Tensor:
    """True for each dimension whose posterior mean varies over the rows (Burda et al., 2016)."""
    return posterior.mean.var(0, correction=0) > ACTIVE


def mmd_null_deviation(n: int, d: int) -> float:
    """Standard deviation of the Gaussian MMD^2 of n prior draws, bandwidth s^2 = d."""
    second = (d / (d + 4)) ** (d / 2)
    mixed = (d / (d + 1)) ** d * ((d + 3) / (d + 1)) ** (-d / 2)
    first = (d / (d + 2)) ** d
    return math.sqrt(2 / (n * (n - 1)) * (second - 2 * mixed + first))


def mean_divergence(
    loss: InfoVAELoss, posterior: Posterior, z: Tensor, generator: torch.Generator
) -> tuple[float, float]:
    """D of the fitted kind, and the Gaussian MMD^2 in null deviations, over random blocks."""
    n, d = z.shape
    size = max(2, math.isqrt(PAIR_CELLS // d))
    blocks = torch.randperm(n, generator=generator).tensor_split(math.ceil(n / size))
    parameters = {name: value.double() for name, value in loss.critic.items()}
    total = standard = variance = 0.0
    for rows in (block.to(z.device) for block in blocks):
        of_rows = Posterior(posterior.mean[rows], posterior.log_variance[rows])
        shape = (loss.divergence.noise_rows(len(rows)), d)
        noise = torch.randn(shape, generator=generator, dtype=z.dtype).to(z.device)
        codes = Codes(z[rows], of_rows, noise, n, parameters)
        total += loss.divergence(codes).item() * len(rows) / n
        standard += MMD()(codes).item() * len(rows) / n
        variance += (mmd_null_deviation(len(rows), d) * len(rows) / n) ** 2
    return total, standard / math.sqrt(variance)


class RowTerms(NamedTuple):
    """q(z|x), the noise of its draws ``(n_draws, n, d)``, and E log p(x|z), for every row."""

    posterior: Posterior
    noise: Tensor
    reconstruction: Tensor


def row_terms(
    module: VAE, X: CellTable, standardizer: Standardizer, n_draws: int, generator: torch.Generator
) -> RowTerms:
    """Encode, draw and decode every row, block by block, in float64."""
    device = next(module.likelihood.buffers()).device
    parts = []
    for rows in row_blocks(X.shape[0], n_draws * max(X.shape[1], module.likelihood.n_outputs)):
        cells, observed = standardizer.encode(X[rows], np.float64)
        x = torch.from_numpy(cells).to(device)
        mask = None if observed is None else torch.from_numpy(observed).to(device, x.dtype)
        q = module.encode(x, mask)
        # A row far from all training rows can overflow the exponential.
        q = Posterior(q.mean, q.log_variance.clamp(-80.0, 20.0))
        noise = torch.randn((n_draws, *q.mean.shape), generator=generator, dtype=x.dtype)
        noise = noise.to(device)
        log_px = module.likelihood.log_prob(x, module.decode(q.rsample(noise)), mask).mean(0)
        jacobian = torch.as_tensor(standardizer.log_jacobian(observed), device=device)
        parts.append(RowTerms(q, noise, log_px + jacobian))
    return RowTerms(
        Posterior(
            torch.cat([part.posterior.mean for part in parts]),
            torch.cat([part.posterior.log_variance for part in parts]),
        ),
        torch.cat([part.noise for part in parts], dim=1),
        torch.cat([part.reconstruction for part in parts]),
    )


def measure_information(
    module: VAE,
    loss: InfoVAELoss,
    X: CellTable,
    standardizer: Standardizer,
    evidence: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    seed: int,
    n_rows_given: int,
    n_neighbors: int,
) -> Information:
    """Take the objective apart on the rows of X.

    Parameters
    ----------
    module : VAE
        Trained in float32; a float64 copy of it is used.
    loss : InfoVAELoss
        Of the fit: it holds D, and what D has learned.
    X : ndarray or CSR matrix of shape (n_rows, n_columns)
    standardizer : Standardizer
    evidence : tuple of ndarray or None
        Scores and effective sample sizes of the same rows; None where they have no density.
    seed : int
        Of the draws.
    n_rows_given : int
        Rows of the table that X was taken from.
    n_neighbors : int
        Rows that count as near.
    """
    module = copy.deepcopy(module).double().eval()
    generator = torch.Generator().manual_seed(seed)
    n = X.shape[0]
    n_draws = min(MOST_DRAWS_A_ROW, math.ceil(DRAWS / n))
    with torch.no_grad():
        posterior, noise, reconstruction = row_terms(module, X, standardizer, n_draws, generator)
        parts = decompose(posterior, noise)
        z = posterior.rsample(noise[0])
        divergence, standardised_mmd = mean_divergence(loss, posterior, z, generator)
        sampling_error = (parts.kl - posterior.kl()).std() / math.sqrt(n)
        active = active_dimensions(posterior)
        shared = information_of_neighbors(
            module, X, standardizer, posterior.mean, n_neighbors, generator
        )
        kl, reconstructed = parts.kl.mean().item(), reconstruction.mean().item()
        score, ess = (math.nan, math.nan) if evidence is None else map(np.mean, evidence)
        return Information(
            reconstruction=reconstructed,
            kl=kl,
            kl_error=sampling_error.item(),
            kl_analytic=posterior.kl().mean().item(),
            mutual_information=parts.mutual_information.mean().item(),
            mutual_information_error=parts.mutual_information_error.item(),
            mutual_information_cap=math.log(n),
            marginal_kl=parts.marginal_kl.mean().item(),
            divergence=divergence,
            standardised_mmd=standardised_mmd,
            elbo=reconstructed - kl,
            log_likelihood=float(score),
            amortisation_gap=float(score) - (reconstructed - kl),
            effective_sample_size=float(ess),
            active_units=int(active.sum()),
            kl_per_dimension=kl_per_dimension(posterior).cpu().numpy(),
            logdet_cov=log_det_covariance(posterior).item(),
            neighbor_information=shared,
            neighbor_information_cap=most_information(n),
            n_rows=n,
            n_rows_given=n_rows_given,
        )
