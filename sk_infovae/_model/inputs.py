"""What the encoder sees of a row."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from sk_infovae.likelihoods import Likelihood
from sk_infovae.likelihoods.product import columns_of

FAR = 10.0
"""Standardised numbers beyond this are shown to the encoder on a logarithmic scale."""

MOST_INDICATORS = 64
"""A column with more levels than this is embedded; one with fewer has an indicator for each."""

EMBEDDING_WIDTH = 16
"""Inputs that an embedded column takes."""


class EncoderInputs(nn.Module):
    """From cells ``(..., n, n_columns)`` to the encoder's inputs ``(..., n, width)``.

    In this order: standardised numbers as they are; what other families show
    (`Likelihood.features`, the logarithm of a count, say), centred and scaled; for each column of
    levels an indicator for each level less its frequency, or an embedding; a mark for each column
    that had missing cells in fit, 1 where the cell was observed. A missing cell shows the
    column's centre: 0.

    Parameters
    ----------
    likelihoods : sequence of Likelihood
        One for each column.
    hole_columns : sequence of int
        Columns with missing cells in fit.
    has_outliers : bool
        Whether numbers beyond `FAR` came up in fit: they are drawn in, so that a single cell can't
        throw a row's code far out.
    """

    plain: Tensor
    scaled: Tensor
    level_columns: Tensor
    level_codes: Tensor
    holes: Tensor
    order: Tensor

    def __init__(
        self,
        likelihoods: Sequence[Likelihood],
        hole_columns: Sequence[int] = (),
        has_outliers: bool = False,
    ):
        super().__init__()
        self.likelihoods = list(likelihoods)
        self.has_outliers = has_outliers
        numbered = list(enumerate(self.likelihoods))
        levels = {j: _n_levels(one) for j, one in numbered if one.has_levels}
        shown = [(j, code) for j, n in levels.items() if n <= MOST_INDICATORS for code in range(n)]
        scaled = [j for j, one in numbered if one.scales_features and j not in levels]
        for name, columns in {
            "plain": sorted({j for j, _ in numbered} - set(levels) - set(scaled)),
            "scaled": scaled,
            "level_columns": [j for j, _ in shown],
            "level_codes": [code for _, code in shown],
            "holes": hole_columns,
        }.items():
            index = torch.tensor(columns, dtype=torch.long)
            self.register_buffer(name, index, persistent=False)
        # Families of what is scaled, each with the places of its columns in there.
        self.families = columns_of([self.likelihoods[j] for j in scaled])
        places = [k for _, own in self.families for k in own]
        order = torch.tensor(places, dtype=torch.long).argsort()
        self.register_buffer("order", order, persistent=False)
        # Measured, not learned; parameters, so that a stack has each model's own.
        self.measured = nn.ParameterDict()
        if scaled:
            self.measured["centre"] = _constant(torch.zeros(len(scaled)))
            self.measured["scale"] = _constant(torch.ones(len(scaled)))
        if shown:
            self.measured["frequency"] = _constant(torch.zeros(len(shown)))
        self.tables = nn.ParameterDict(
            {
                str(j): nn.Parameter(torch.randn(n, EMBEDDING_WIDTH))
                for j, n in levels.items()
                if n > MOST_INDICATORS
            }
        )
        self.n_shown = len(self.plain) + len(scaled) + len(shown)
        self.width = self.n_shown + EMBEDDING_WIDTH * len(self.tables) + len(hole_columns)

    @torch.no_grad()
    def init_from_data(self, x: Tensor, mask: Tensor | None) -> None:
        """Measure centres, scales and frequencies on rows ``x (n, n_columns)``."""
        seen = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        if len(self.scaled):
            values, weights = self._features(x), seen[:, self.scaled]
            count = weights.sum(0).clamp(min=1)
            centre = (values * weights).sum(0) / count
            spread = ((values - centre).square() * weights).sum(0) / count
            self.measured["centre"].copy_(centre)
            self.measured["scale"].copy_(torch.where(spread > 0, spread.sqrt(), 1.0))
        if len(self.level_codes):
            weights = seen[:, self.level_columns]
            frequency = (self._indicators(x) * weights).sum(0) / weights.sum(0).clamp(min=1)
            self.measured["frequency"].copy_(frequency)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Inputs of each row; ``mask`` is 1 where a cell was observed, None where all were."""
        plain = x if len(self.plain) == x.shape[-1] else x[..., self.plain]
        plain = drawn_in(plain) if self.has_outliers else plain
        if len(self.plain) == self.width:
            return plain
        seen = None if mask is None else mask.to(x.dtype)
        parts = [plain]
        if len(self.scaled):
            centre, scale = (self.measured[name].unsqueeze(-2) for name in ("centre", "scale"))
            values = (self._features(x) - centre) / scale
            parts.append(values if seen is None else values * seen[..., self.scaled])
        if len(self.level_codes):
            values = self._indicators(x) - self.measured["frequency"].unsqueeze(-2)
            parts.append(values if seen is None else values * seen[..., self.level_columns])
        for j, table in self.tables.items():
            values = embed(x[..., int(j)].long(), table)
            parts.append(values if seen is None else values * seen[..., int(j), None])
        if len(self.holes):
            parts.append((torch.ones_like(x) if seen is None else seen)[..., self.holes])
        return torch.cat(parts, -1)

    def _features(self, x: Tensor) -> Tensor:
        """What other families show, in the order of their columns."""
        values = x if len(self.scaled) == x.shape[-1] else x.index_select(-1, self.scaled)
        if len(self.families) == 1:
            return self.families[0][0].features(values)
        parts = [one.features(values[..., own]) for one, own in self.families]
        return torch.cat(parts, -1).index_select(-1, self.order)

    def _indicators(self, x: Tensor) -> Tensor:
        """1 where a cell is the level, ``(..., n_indicators)``."""
        return (x[..., self.level_columns] == self.level_codes).to(x.dtype)


def embed(codes: Tensor, table: Tensor) -> Tensor:
    """Rows of the table ``(n_levels, width)``, or of a stack's ``(K, n_levels, width)``."""
    if table.ndim == 3:
        first = torch.arange(len(table), device=codes.device) * table.shape[1]
        codes, table = codes + first[:, None], table.flatten(0, 1)
    return embedding(codes, table)


def drawn_in(x: Tensor) -> Tensor:
    """``x`` up to `FAR`, ``sign(x) (FAR + log(1 + |x| - FAR))`` beyond; infinity as the largest."""
    size = x.abs().clamp(max=torch.finfo(x.dtype).max)
    # log1p would be no better beside FAR, and of the largest numbers infinite in torch 2.4.
    return x.sign() * (size.clamp(max=FAR) + (1 + (size - FAR).clamp(min=0)).log())


def _n_levels(likelihood: Likelihood) -> int:
    return likelihood.n_levels  # type: ignore[attr-defined]


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
