"""One of several levels without an order."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sk_infovae.likelihoods.base import ConstantModel
from sk_infovae.likelihoods.levels import Levels
from sk_infovae.likelihoods.numerics import look_up, observed_sum


class Categorical(Levels):
    r"""P(x_j = k) by a softmax over the K outputs of column j.

    .. math::

        \log p(x | z) = \sum_j \left[ o_{j,x_j} - \log \sum_{k < K} e^{o_{j,k}} \right]

    Level 0 is the most frequent one, and so on. A column with more than max_outputs levels has
    K = max_outputs outputs, the last of which stands for all rarer levels together. Among these a
    level has the share that it had in the rows that training starts from (one observation at
    least):

    .. math::

        \log P(x_j = k) = o_{j,K-1} - \log \sum_{l < K} e^{o_{j,l}} + \log \text{share}_{j,k},
        \qquad k \ge K - 1

    Training starts at the log of the outputs' frequencies, with half an observation added to each.

    Parameters
    ----------
    n_levels : int or None, default=None
        How many levels the columns have; None leaves it to the table seen in fit.
    max_outputs : int, default=256
        Most outputs for a column.
    """

    def __init__(self, n_levels: int | None = None, *, max_outputs: int = 256):
        self.n_levels = n_levels
        self.max_outputs = max_outputs

    @property
    def width(self) -> int:
        """K, the outputs of a column."""
        if self.max_outputs < 1:
            raise ValueError(
                f"Categorical needs max_outputs of 1 or more, got {self.max_outputs!r}; 256 is "
                "the default."
            )
        return min(self.bound_levels, self.max_outputs)

    @property
    def is_capped(self) -> bool:
        """Whether the last output stands for several levels."""
        return self.bound_levels > self.width

    def n_outputs(self, n_columns: int) -> int:
        """K outputs a column: the logits of its levels."""
        return n_columns * self.width

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Equal shares for the levels of the last output, where it has several."""
        if not self.is_capped:
            return {}
        n_rare = self.bound_levels - self.width + 1
        log_share = torch.full((n_columns, n_rare), -math.log(n_rare))
        return {"log_share": nn.Parameter(log_share, requires_grad=False)}

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> ConstantModel:
        """Log-frequencies, and the shares of rare levels."""
        counts, frequent = self.counts(x, mask), self.width - 1
        rare = counts[:, frequent:]
        by_output = torch.cat([counts[:, :frequent], rare.sum(-1, keepdim=True)], -1)
        logits = _log_share(by_output + 0.5).flatten().to(x.dtype)
        if not self.is_capped:
            return ConstantModel(logits, {})
        return ConstantModel(logits, {"log_share": _log_share(rare.clamp(min=1)).to(x.dtype)})

    def logits(self, outputs: Tensor) -> Tensor:
        """Outputs by column, ``(..., n, n_columns, K)``."""
        return outputs.unflatten(-1, (-1, self.width))

    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log probability, see `Likelihood.log_prob`."""
        codes, logits = self.codes(x), self.logits(outputs)
        output = codes.clamp(max=self.width - 1)
        shape = torch.broadcast_shapes(output.shape, logits.shape[:-1])
        chosen = logits.expand(*shape, -1).gather(-1, output.expand(shape)[..., None])[..., 0]
        log_p = chosen - logits.logsumexp(-1)
        if self.is_capped:
            rank = codes - (self.width - 1)
            (log_share,) = look_up(rank.clamp(min=0), parameters["log_share"])
            log_p = log_p + torch.where(rank >= 0, log_share, 0.0)
        return observed_sum(log_p, mask)

    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Probability of every level."""
        return self._spread(self.logits(outputs).softmax(-1), parameters)

    def average(self, outputs: Tensor, parameters: Mapping[str, Tensor], shares: Tensor) -> Tensor:
        """The same over draws: of the K outputs first, then rare levels take their shares."""
        p = self.logits(outputs).softmax(-1).flatten(-2)
        mean = (shares[..., None, :] @ p)[..., 0, :]
        return self._spread(self.logits(mean), parameters)

    def _spread(self, p: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Probability of every level by that of every output, ``(..., n_columns, K)``."""
        if self.is_capped:
            p = torch.cat([p[..., :-1], p[..., -1:] * parameters["log_share"].exp()], -1)
        return p.flatten(-2)

    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """The first level at which the distribution function reaches ``uniform``.

        What ``uniform`` has beyond the frequent levels, as a share of the last output, chooses
        among the rare ones.
        """
        p = self.logits(outputs).softmax(-1)
        below = p.cumsum(-1)[..., :-1]
        code = (below < uniform[..., None]).sum(-1)
        if self.is_capped:
            rest = (uniform - p[..., :-1].sum(-1)) / p[..., -1]
            code = code + torch.where(code == self.width - 1, self._rank(rest, parameters), 0)
        return code.to(outputs.dtype)

    def _rank(self, uniform: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Which of the rare levels, ``(..., n, n_columns)``."""
        log_share = parameters["log_share"]
        if log_share.ndim > 2:
            pairs = zip(uniform.unbind(-3), log_share[:, 0], strict=True)
            return torch.stack([self._rank(u, {"log_share": own}) for u, own in pairs], -3)
        below = log_share.exp().cumsum(-1)[..., :-1].contiguous()
        by_column = uniform.movedim(-1, 0)
        rank = torch.searchsorted(below, by_column.flatten(1).contiguous())
        return rank.unflatten(1, by_column.shape[1:]).movedim(0, -1)

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """``p (1 - p)`` for every output."""
        p = self.logits(outputs).softmax(-1)
        return (p * (1 - p)).flatten(-2)

    def fisher_product(
        self, outputs: Tensor, parameters: Mapping[str, Tensor], tangents: Tensor
    ) -> Tensor:
        """``p t - p (p' t)`` for every column: the information is diag(p) - p p'."""
        p = self.logits(outputs).softmax(-1)[..., None]
        t = tangents.unflatten(-2, (-1, self.width))
        return (p * (t - (p * t).sum(-2, keepdim=True))).flatten(-3, -2)


def _log_share(counts: Tensor) -> Tensor:
    """Log of every count's share of its row."""
    return counts.log() - counts.sum(-1, keepdim=True).log()
