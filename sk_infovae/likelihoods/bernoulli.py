"""Yes or no, with the decoder's output as log-odds."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import softplus

from sk_infovae.likelihoods.base import Likelihood


class Bernoulli(Likelihood):
    r"""P(x_j = 1) = sigmoid(output_j): log p(x|z) = sum_j [ x_j o_j - log(1 + exp(o_j)) ].

    Grey values between 0 and 1 train (the sum is then a cross-entropy), but have no probability
    and so no score.
    """

    standardised = False
    fit_rule = "lie between 0 and 1"
    score_rule = "be 0 or 1 (grey values train, but have no probability)"

    def n_outputs(self, n_columns: int) -> int:
        """One output a column: its log-odds."""
        return n_columns

    def in_fit_domain(self, x: Tensor) -> Tensor:
        """Values from 0 to 1."""
        return (x >= 0) & (x <= 1)

    def in_support(self, x: Tensor) -> Tensor:
        """0 and 1."""
        return (x == 0) | (x == 1)

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log probability, see `Likelihood.log_prob`."""
        cells = x * outputs - softplus(outputs)
        return (cells if mask is None else cells * mask).sum(-1)

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Probability of a 1."""
        return outputs.sigmoid()

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """1 where ``uniform`` lies above the probability of a 0."""
        return (uniform > (-outputs).sigmoid()).to(outputs.dtype)

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``p (1 - p)``."""
        p = outputs.sigmoid()
        return p * (1 - p)
