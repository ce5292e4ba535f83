"""The objective: the one place where alpha and lambd meet the terms."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sk_infovae._model.cells import Cells
from sk_infovae._model.neighbors import neighbor_information
from sk_infovae._model.networks import stack_modules
from sk_infovae._model.shares import CURRENT
from sk_infovae._model.vae import VAE
from sk_infovae.divergences import Codes, Divergence

ROUNDING = 1e-12
"""A beta-VAE's (1 - beta) + beta may miss 1 by the last digit."""


class Terms(NamedTuple):
    """The loss and its parts, nats per sample (``divergence`` in D's own units).

    ``neighbors`` only where the objective asks for it.
    """

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor
    divergence: Tensor
    neighbors: Tensor | None = None


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
            'to the prior. Choose lambd > 0; grids go by powers of ten, up to 1e4 for "mmd".'
        )
    if not alpha + lambd >= 1 - ROUNDING * lambd:
        raise ValueError(
            f"alpha + lambd must be at least 1, got alpha={alpha!r} and lambd={lambd!r}: the "
            "weight alpha + lambd - 1 of D(q(z), p(z)) would be negative and reward a mismatch. "
            f"Choose lambd >= {1 - alpha!r} for this alpha."
        )


def coefficients(alpha: Any, lambd: Any) -> tuple[Any, Any]:
    """Weights of KL(q(z|x)||p(z)) and of D(q(z), p(z)): ``(1 - alpha, alpha + lambd - 1)``."""
    return 1 - alpha, alpha + lambd - 1


class InfoVAELoss(nn.Module):
    """Negative InfoVAE objective on a batch (Zhao, Song, Ermon, arXiv 1706.02262, eq. 6).

    loss = -E log p(x|z) + (1 - alpha) KL(q(z|x)||p(z)) + (alpha + lambd - 1) D(q(z), p(z))
           - neighbor_weight I

    Every term is summed over columns or latent dimensions and averaged over the batch. With a
    neighbor_weight a batch holds its n rows and then a neighbour of each, which only I sees
    (`neighbor_information`). Where processes train together, each computes its share of the rows,
    and every term is that of the whole batch (`Shares`).

    Parameters
    ----------
    alpha, lambd : float, or Tensor of shape (K,)
        The weights; of each model in a stack.
    divergence : Divergence
        D.
    parameters : mapping of str to Tensor
        What D itself learns, from `Divergence.init_parameters`. It follows
        `Divergence.critic_loss` in the optimizer's same step, whatever the weight of D.
    neighbor_weight : float, or Tensor of shape (K,), default=0.0
        Weight of I, for all models of a stack 0 or for none.

    Attributes
    ----------
    log_scale : Parameter or None
        log s in I.
    """

    log_scale: nn.Parameter | None

    def __init__(
        self,
        alpha: Any,
        lambd: Any,
        divergence: Divergence,
        parameters: Mapping[str, Tensor] = MappingProxyType({}),
        neighbor_weight: Any = 0.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.lambd = lambd
        self.divergence = divergence
        self.critic = nn.ParameterDict(parameters)
        self.neighbor_weight = neighbor_weight
        scale = nn.Parameter(torch.zeros(())) if neighbor_weight else None
        self.register_parameter("log_scale", scale)

    @property
    def term_names(self) -> tuple[str, ...]:
        """The fields of `Terms` that are there."""
        return Terms._fields if self.log_scale is not None else Terms._fields[:-1]

    def own_rows(self, n_given: int) -> int:
        """Rows of a batch without their neighbours."""
        return n_given if self.log_scale is None else n_given // 2

    def noise_rows(self, n_given: int) -> int:
        """Standard normal draws that a batch takes: one a row, and those that D asks for."""
        n_rows = self.own_rows(n_given)
        return n_rows + self.divergence.noise_rows(n_rows)

    def forward(
        self, module: VAE, x: Tensor, mask: Tensor | None, noise: Tensor, n_rows: int | None = None
    ) -> Terms:
        """Evaluate every term on a batch.

        Parameters
        ----------
        module : VAE
        x : Tensor of shape (..., batch, n_columns)
            Rows, and then their neighbours where these have a weight.
        mask : Tensor of shape (..., batch, n_columns) or None
        noise : Tensor of shape (..., noise_rows, n_components)
            Standard normal, those of z first.
        n_rows : int or None
            Rows of the data set that the batch is a part of.
        """
        batch, shares = self.own_rows(x.shape[-2]), CURRENT.get()
        given, own = Cells(x, mask), shares.rows(batch)
        x, mask = given.at(own)
        posterior, z, outputs = module(x, mask, noise[..., own, :])
        reconstruction = shares.mean(module.likelihood.log_prob(x, outputs, mask), batch)
        posterior, z = shares.gather_codes(posterior, z, batch)
        kl = posterior.kl().mean(-1)
        codes = Codes(z, posterior, noise[..., batch:, :], n_rows, dict(self.critic.items()))
        value = self.divergence(codes)
        on_kl, on_divergence, on_neighbors = (
            weight.to(kl) if isinstance(weight, Tensor) else weight
            for weight in (*coefficients(self.alpha, self.lambd), self.neighbor_weight)
        )
        loss, neighbors = -reconstruction + on_kl * kl + on_divergence * value, None
        if self.log_scale is not None:
            own_near = slice(batch + own.start, batch + own.stop)
            near = shares.gather(module.encode(*given.at(own_near)).mean, batch)
            neighbors = neighbor_information(posterior.mean, near, self.log_scale)
            loss = loss - on_neighbors * neighbors
        if self.training and len(self.critic):
            game = self.divergence.critic_loss(codes)
            loss = loss + (game - game.detach())
        return Terms(loss, reconstruction, kl, value, neighbors)


def stack_losses(losses: Sequence[InfoVAELoss], device: str) -> InfoVAELoss:
    """One loss for K models: weights, and numbers of D in which the models differ, are ``(K,)``."""

    def numbers(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    stacked = stack_modules(losses)
    stacked.alpha = numbers([loss.alpha for loss in losses])
    stacked.lambd = numbers([loss.lambd for loss in losses])
    if stacked.log_scale is not None:
        stacked.neighbor_weight = numbers([loss.neighbor_weight for loss in losses])
    each = [loss.divergence.stackable_values() for loss in losses]
    values = {name: [one[name] for one in each] for name in each[0]}
    differing = {name: numbers(v).float() for name, v in values.items() if len(set(v)) > 1}
    stacked.divergence = stacked.divergence.replaced(differing)
    return stacked


def keep_models(stacked: InfoVAELoss, chosen: Sequence[int]) -> None:
    """Leave the numbers of some models of a stack; parameters are the optimizer's to thin out."""
    stacked.alpha, stacked.lambd = stacked.alpha[chosen], stacked.lambd[chosen]
    if stacked.log_scale is not None:
        stacked.neighbor_weight = stacked.neighbor_weight[chosen]
    numbers = {k: v for k, v in vars(stacked.divergence).items() if isinstance(v, Tensor)}
    stacked.divergence = stacked.divergence.replaced({k: v[chosen] for k, v in numbers.items()})
