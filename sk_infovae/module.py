"""Encoder, decoder and likelihood in one torch module."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_infovae.likelihoods import ColumnLikelihoods
from sk_infovae.posterior import Posterior


class VAEOutput(NamedTuple):
    """What one forward pass makes: q(z|x), one draw z of it, the decoder's outputs at z."""

    posterior: Posterior
    z: Tensor
    outputs: Tensor


class VAE(nn.Module):
    """Variational autoencoder over standardised columns.

    Parameters
    ----------
    encoder : Module
        ``(batch, n_columns + n_hole_columns) -> (batch, 2 n_components)``.
    decoder : Module
        ``(batch, n_components) -> (batch, n_outputs)``.
    likelihood : ColumnLikelihoods
        p(x|z) given the decoder's outputs.
    hole_columns : Tensor of int64
        Columns with missing cells in the training data: the encoder is told which cells were
        observed there, by one more input each.
    """

    hole_columns: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: ColumnLikelihoods,
        hole_columns: Tensor,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.register_buffer("hole_columns", hole_columns)
        self._n_marks = len(hole_columns)

    def encode(self, x: Tensor, mask: Tensor | None = None) -> Posterior:
        """q(z|x) for ``x (batch, n_columns)``; ``mask`` is True where a cell was observed."""
        if self._n_marks:
            marks = (
                x.new_ones((*x.shape[:-1], self._n_marks))
                if mask is None
                else mask[..., self.hole_columns].to(x.dtype)
            )
            x = torch.cat([x, marks], -1)
        return Posterior(*self.encoder(x).chunk(2, -1))

    def forward(self, x: Tensor, mask: Tensor | None, noise: Tensor) -> VAEOutput:
        """Encode, draw z with the given standard normal noise, decode."""
        posterior = self.encode(x, mask)
        z = posterior.draw(noise)
        return VAEOutput(posterior, z, self.decoder(z))
