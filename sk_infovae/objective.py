"""The objective: the one place where alpha and lambd meet the terms."""

from typing import NamedTuple

from torch import Tensor, nn

from sk_infovae.divergences import Divergence
from sk_infovae.module import VAE

ROUNDING = 1e-12
"""A beta-VAE's (1 - beta) + beta may miss 1 by the last digit."""


class Terms(NamedTuple):
    """The loss and its parts, nats per sample (``divergence`` in D's own units)."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor
    divergence: Tensor


def check_weights(alpha: float, lambd: float) -> None:
    """Refuse weights that reward a mismatch or that tie q(z) to nothing.

    Raises
    ------
    ValueError
        Naming the weight, its value and the mend.
    """
    if not alpha <= 1:
        raise ValueError(
            f"alpha must be at most 1, got alpha={alpha!r}: the weight 1 - alpha of "
            "KL(q(z|x)||p(z)) would be negative and reward a mismatch. Choose alpha <= 1; "
            "alpha near 1 keeps the most information."
        )
    if not 0 < lambd < float("inf"):
        raise ValueError(
            f"lambd must be positive and finite, got lambd={lambd!r}: otherwise nothing ties q(z) "
            "to the prior. Choose lambd > 0; grids go by powers of ten, up to 1e4."
        )
    if not alpha + lambd >= 1 - ROUNDING * lambd:
        raise ValueError(
            f"alpha + lambd must be at least 1, got alpha={alpha!r} and lambd={lambd!r}: the "
            "weight alpha + lambd - 1 of D(q(z), p(z)) would be negative and reward a mismatch. "
            f"Choose lambd >= {1 - alpha!r} for this alpha."
        )


def coefficients(alpha: float, lambd: float) -> tuple[float, float]:
    """Weights of KL(q(z|x)||p(z)) and of D(q(z), p(z)): ``(1 - alpha, alpha + lambd - 1)``."""
    return 1 - alpha, alpha + lambd - 1


class InfoVAELoss(nn.Module):
    """Negative InfoVAE objective on a batch (Zhao, Song, Ermon, arXiv 1706.02262, eq. 6).

    loss = -E log p(x|z) + (1 - alpha) KL(q(z|x)||p(z)) + (alpha + lambd - 1) D(q(z), p(z))

    Every term is summed over columns or latent dimensions and averaged over the batch.

    Parameters
    ----------
    alpha, lambd : float
        The weights.
    divergence : Divergence
        D.
    """

    def __init__(self, alpha: float, lambd: float, divergence: Divergence):
        super().__init__()
        self.alpha = alpha
        self.lambd = lambd
        self.divergence = divergence

    def forward(self, module: VAE, x: Tensor, mask: Tensor | None, noise: Tensor) -> Terms:
        """Evaluate every term for ``x (..., batch, n_columns)`` and its noise."""
        posterior, z, outputs = module(x, mask, noise)
        reconstruction = module.likelihood.log_prob(x, outputs, mask).mean(-1)
        kl = posterior.kl().mean(-1)
        divergence = self.divergence(z, posterior)
        on_kl, on_divergence = coefficients(self.alpha, self.lambd)
        loss = -reconstruction + on_kl * kl + on_divergence * divergence
        return Terms(loss, reconstruction, kl, divergence)
