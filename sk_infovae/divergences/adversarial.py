"""Jensen-Shannon divergence by a discriminator that is trained along."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, logsigmoid

from sk_infovae.divergences.base import Codes, Divergence, no_estimate, per_model

SPEED = 5.0
"""How many times faster than the networks the discriminator learns under Adam."""


class Adversarial(Divergence):
    r"""Jensen-Shannon divergence, at most log 2 nats, by a discriminator (Makhzani et al., 2015).

    For the discriminator's log-odds T(z) that z comes from the prior

    .. math::

        V = \log 2 + \tfrac12 E_p \log \sigma(T(z)) + \tfrac12 E_q \log \sigma(-T(z)) \le JS(q, p),

    with equality for T = log p(z) / q(z) (Goodfellow et al., arXiv 1406.2661). V, or 0 where it is
    negative, is the value reported. The encoder descends
    :math:`-\tfrac12 E_q \log \sigma(T(z))`, the non-saturating loss of the same paper: its gradient
    is that of V where q = p, and does not fade where the discriminator is sure.

    The discriminator climbs V in the optimizer's same step, whatever the weight of D. Two things
    keep the game from oscillating over a grid of weights: a penalty on its slope,
    :math:`\tfrac{\gamma}{2} E |\nabla T|^2` (Mescheder et al., arXiv 1801.04406), and steps that
    count several times those of the encoder (Heusel et al., arXiv 1706.08500). It is a perceptron
    beside a linear map of z and z^2, so that it knows from the start what tells a Gaussian from a
    Gaussian.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(64, 64)
        Widths of the discriminator.
    gradient_penalty : float, default=0.3
        :math:`\gamma`. 0 makes V reach JS for a still q, and the game unstable for large weights.
    """

    unbiased = False
    stackable = frozenset({"gradient_penalty"})
    along_codes = frozenset({"weight_0", "skip"})

    def __init__(self, hidden_layer_sizes: Sequence[int] = (64, 64), gradient_penalty: float = 0.3):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.gradient_penalty = gradient_penalty

    def noise_rows(self, n_rows: int) -> int:
        """As many draws of the prior as there are codes."""
        return n_rows

    def init_parameters(self, n_components: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Hidden layers drawn as torch's Linear draws them; the last layer 0, so that T = 0.

        Stored in units of `SPEED`: Adam's steps have one size, whatever the unit.
        """
        gamma: Any = self.gradient_penalty
        if not (isinstance(gamma, Real) and 0 <= float(gamma) < math.inf):
            raise ValueError(
                "Adversarial needs a finite gradient_penalty of at least 0, got "
                f"gradient_penalty={self.gradient_penalty!r}. 0.3 is the default."
            )
        widths = [2 * n_components, *self.hidden_layer_sizes]
        parameters = {"head": torch.zeros(widths[-1]), "skip": torch.zeros(widths[0] + 1)}
        for k, (fan_in, fan_out) in enumerate(pairwise(widths)):
            uniform = torch.rand((fan_in + 1, fan_out), generator=generator)
            layer = (2 * uniform - 1) * (fan_in**-0.5 / SPEED)
            parameters[f"weight_{k}"], parameters[f"bias_{k}"] = layer[:-1], layer[-1]
        return parameters

    def __call__(self, codes: Codes) -> Tensor:
        """V for the discriminator as it stands, with the non-saturating gradient."""
        if codes.z.shape[-2] < 2:
            return no_estimate(codes.z)
        still = {name: value.detach() for name, value in codes.parameters.items()}
        log_odds = self.log_odds(codes.z, still)
        value = self._value(codes.noise, log_odds, still).detach().clamp(min=0)
        pull = -0.5 * logsigmoid(log_odds).mean(-1)
        return value + (pull - pull.detach())

    def critic_loss(self, codes: Codes) -> Tensor:
        """-V and the penalty, with the codes held still."""
        assert codes.noise is not None
        z, parameters = codes.z.detach(), codes.parameters
        value = self._value(codes.noise, self.log_odds(z, parameters), parameters)
        if isinstance(self.gradient_penalty, Real) and not self.gradient_penalty:
            return -value
        both = torch.cat([codes.noise, z], -2)
        slope = torch.func.grad(lambda at: self.log_odds(at, parameters).sum())(both)
        penalty = slope.square().sum(-1).mean(-1)
        return 0.5 * per_model(self.gradient_penalty, penalty) * penalty - value

    def log_odds(self, z: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """T(z) ``(..., n)``, positive where the prior is the likelier source."""
        features = torch.cat([z, (z.square() - 1) * 2**-0.5], -1)
        hidden = features
        for k in range(len(self.hidden_layer_sizes)):
            weight, bias = parameters[f"weight_{k}"], parameters[f"bias_{k}"]
            hidden = leaky_relu(SPEED * (hidden @ weight + bias[..., None, :]), 0.2)
        head, skip = parameters["head"][..., None], parameters["skip"][..., None]
        outputs = hidden @ head + features @ skip[..., :-1, :] + skip[..., -1:, :]
        return SPEED * outputs[..., 0]

    def _value(
        self, prior: Tensor | None, log_odds: Tensor, parameters: Mapping[str, Tensor]
    ) -> Tensor:
        assert prior is not None
        of_prior = logsigmoid(self.log_odds(prior, parameters)).mean(-1)
        of_codes = logsigmoid(-log_odds).mean(-1)
        return math.log(2) + 0.5 * (of_prior + of_codes)
