"""Encoder, decoder and likelihood in one torch module."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_infovae._base.posterior import MOST_LOG_VARIANCE, Posterior
from sk_infovae._model.inputs import EncoderInputs
from sk_infovae._model.networks import output_bias
from sk_infovae.likelihoods import ColumnLikelihoods


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
        ``(batch, inputs.width) -> (batch, 2 n_components)``.
    decoder : Module
        ``(batch, n_components) -> (batch, n_outputs)``.
    likelihood : ColumnLikelihoods
        p(x|z) given the decoder's outputs.
    inputs : EncoderInputs
        What the encoder sees of a row.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: ColumnLikelihoods,
        inputs: EncoderInputs,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.inputs = inputs

    def encode(self, x: Tensor, mask: Tensor | None = None) -> Posterior:
        """q(z|x) for ``x (batch, n_columns)``; ``mask`` is True where a cell was observed."""
        mean, log_variance = self.encoder(self.inputs(x, mask)).chunk(2, -1)
        return Posterior(mean, log_variance.clamp(max=MOST_LOG_VARIANCE))

    def decode(self, z: Tensor) -> Tensor:
        """The decoder's outputs at codes ``(..., n_components)``.

        It sees ``(batch, n_components)``: a network of the user's own may mix up further axes, as
        BatchNorm1d does, without a word.
        """
        if z.ndim == 2:
            return self.decoder(z)
        return self.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])

    @property
    def is_measured(self) -> bool:
        """Whether `init_from_data` finds anything to do."""
        return len(self.inputs.measured) > 0 or self.likelihood.inits_from_data

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Begin where the rows ``x (n, n_columns)`` say: what can be measured is not learned.

        The outputs of the best constant model become the default decoder's last bias; they are
        returned, 0 where none is known.
        """
        self.inputs.init_from_data(x, mask)
        outputs, known = self.likelihood.init_from_data(x, mask)
        bias = output_bias(self.decoder)
        if bias is not None:
            bias.data = torch.where(known, outputs, bias.data)
        return outputs

    def forward(self, x: Tensor, mask: Tensor | None, noise: Tensor) -> VAEOutput:
        """Encode, draw z with the given standard normal noise, decode."""
        posterior = self.encode(x, mask)
        z = posterior.rsample(noise)
        return VAEOutput(posterior, z, self.decoder(z))
