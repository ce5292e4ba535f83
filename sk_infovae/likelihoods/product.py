"""The product of likelihoods over the columns of a table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sk_infovae.likelihoods.base import Likelihood

SINGULAR = 1e-7
"""Eigenvalues of an information below this part of the largest are rounding."""


class Block(NamedTuple):
    """Columns that share a likelihood, and the slice of the decoder's outputs that serves them."""

    likelihood: Likelihood
    columns: Tensor
    outputs: slice
    parameters: Mapping[str, Tensor]


def columns_of(likelihoods: Sequence[Likelihood]) -> list[tuple[Likelihood, list[int]]]:
    """The different likelihoods in the order of their first columns, each with its columns."""
    found: list[tuple[Likelihood, list[int]]] = []
    for j, likelihood in enumerate(likelihoods):
        same = next((columns for other, columns in found if other == likelihood), None)
        if same is None:
            found.append((likelihood, [j]))
        else:
            same.append(j)
    return found


class ColumnLikelihoods(nn.Module):
    """log p(x|z) = sum over blocks of columns, independent given z; missing cells drop out.

    It serves K models at once as soon as every parameter has been replaced by the models' own, side
    by side along a new first axis. The data are then ``(..., K, n, n_columns)``.

    Parameters
    ----------
    likelihoods : sequence of Likelihood
        One for each column; equal ones form a block.
    """

    def __init__(self, likelihoods: Sequence[Likelihood]):
        super().__init__()
        self.n_columns = len(likelihoods)
        self._likelihoods: list[Likelihood] = []
        self._slices: list[slice] = []
        self._ndims: list[dict[str, int]] = []
        self.parameter_dicts = nn.ModuleList()
        start = 0
        for k, (likelihood, columns) in enumerate(columns_of(likelihoods)):
            self._likelihoods.append(likelihood)
            stop = start + likelihood.n_outputs(len(columns))
            self._slices.append(slice(start, stop))
            self.register_buffer(f"columns_{k}", torch.tensor(columns), persistent=False)
            parameters = likelihood.init_parameters(len(columns))
            self._ndims.append({name: value.ndim for name, value in parameters.items()})
            self.parameter_dicts.append(nn.ParameterDict(parameters))
            start = stop
        self.n_outputs = start

    @property
    def widest(self) -> int:
        """Numbers that a draw of z takes, as outputs or as means of families that average these."""
        means = sum(
            (getattr(block.likelihood, "n_levels", None) or 1) * len(block.columns)
            for block in self.blocks()
            if type(block.likelihood).average is Likelihood.average
        )
        return max(self.n_outputs, means)

    def blocks(self) -> Iterator[Block]:
        """Every block in turn."""
        for k, (likelihood, outputs) in enumerate(
            zip(self._likelihoods, self._slices, strict=True)
        ):
            columns = getattr(self, f"columns_{k}")
            yield Block(likelihood, columns, outputs, self._parameters_of(k))

    def _parameters_of(self, k: int) -> Mapping[str, Tensor]:
        """The block's parameters; K models' with an axis for rows, ``(K, 1, n_columns, ...)``."""
        own: Any = self.parameter_dicts[k]
        ndims = self._ndims[k]
        if all(own[name].ndim == ndim for name, ndim in ndims.items()):
            return own
        return {name: own[name][:, None] for name in ndims}

    def _pick(self, values: Tensor, block: Block) -> Tensor:
        """The block's columns; no copy where there is one block only.

        Not by ``values[..., columns]``: onnxruntime fuses the transpose in that with a product that
        comes behind it, and is wrong.
        """
        return values if len(self._likelihoods) == 1 else values.index_select(-1, block.columns)

    def log_prob(self, x: Tensor, outputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """log p(x|z) over the observed cells, nats, ``(..., n)``.

        Parameters
        ----------
        x : Tensor of shape (..., n, n_columns)
            Cells in the model's units, finite also where missing.
        outputs : Tensor of shape (..., n, n_outputs)
            What the decoder returned.
        mask : Tensor of shape (..., n, n_columns) or None
            1 where a cell was observed.
        """
        total: Tensor | float = 0.0
        for block, cells, given, observed in self._parts(x, outputs, mask):
            parameters = block.parameters
            if self.training and block.likelihood.has_closed_form:
                parameters = block.likelihood.closed_form_update(cells, given, parameters, observed)
            total = total + block.likelihood.log_prob(cells, given, parameters, observed)
        assert isinstance(total, Tensor)
        return total

    @property
    def has_closed_form(self) -> bool:
        """Whether any family sets parameters in closed form; in training each batch then does."""
        return any(likelihood.has_closed_form for likelihood in self._likelihoods)

    def closed_form_update(self, x: Tensor, outputs: Tensor, mask: Tensor | None = None) -> None:
        """Keep the parameters that make these rows most likely, where a family sets its own."""
        for block, cells, given, observed in self._parts(x, outputs, mask):
            best = block.likelihood.closed_form_update(cells, given, block.parameters, observed)
            for name, value in best.items():
                block.parameters[name].data.copy_(value)

    @property
    def calibrated_columns(self) -> Tensor:
        """Positions of the columns whose noise is set after training."""
        own = [block.columns for block in self.blocks() if block.likelihood.is_calibrated]
        return torch.cat(own) if own else torch.empty(0, dtype=torch.long)

    def calibrate(self, variance: Tensor | None) -> None:
        """Set their noise variances ``(..., n_columns)``; None takes that back, to train on."""
        for block in self.blocks():
            own = None if variance is None else variance[..., block.columns]
            if block.likelihood.is_calibrated:
                for name, value in block.likelihood.calibrated(own, block.parameters).items():
                    block.parameters[name].data.copy_(value)

    def _parts(
        self, x: Tensor, outputs: Tensor, mask: Tensor | None
    ) -> Iterator[tuple[Block, Tensor, Tensor, Tensor | None]]:
        """Every block with its share of the cells, the outputs, offset included, and the mask."""
        for block in self.blocks():
            observed = None if mask is None else self._pick(mask, block)
            cells, given = self._pick(x, block), outputs[..., block.outputs]
            offset = block.likelihood.row_offset(cells, block.parameters, observed)
            yield block, cells, given if offset is None else given + offset, observed

    def with_offset(self, x: Tensor, outputs: Tensor, mask: Tensor | None) -> Tensor:
        """The outputs, and what the rows ``x`` themselves add: see `Likelihood.row_offset`."""
        if all(type(one).row_offset is Likelihood.row_offset for one in self._likelihoods):
            return outputs  # without taking them apart: the score asks often
        parts = [given for _, _, given, _ in self._parts(x, outputs, mask)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    @property
    def inits_from_data(self) -> bool:
        """Whether any family says where training starts."""
        return any(
            type(one).init_from_data is not Likelihood.init_from_data for one in self._likelihoods
        )

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Set parameters to those of the best constant model of these rows, where families can.

        Returns
        -------
        outputs : Tensor of shape (n_outputs,)
            The decoder's outputs in that model.
        known : Tensor of bool, shape (n_outputs,)
            Where there is such an output; the others are 0.
        """
        outputs, known = torch.zeros(self.n_outputs), torch.zeros(self.n_outputs, dtype=torch.bool)
        for block in self.blocks():
            observed = None if mask is None else self._pick(mask, block)
            start = block.likelihood.init_from_data(self._pick(x, block), observed)
            if start is not None:
                outputs[block.outputs], known[block.outputs] = start.outputs, True
                for name, value in start.parameters.items():
                    block.parameters[name].data.copy_(value)
        return outputs, known

    def mean(self, outputs: Tensor) -> list[Tensor]:
        """Each block's expected x, or probabilities of levels: what can be averaged over z."""
        return [b.likelihood.mean(outputs[..., b.outputs], b.parameters) for b in self.blocks()]

    def average(self, outputs: Tensor, shares: Tensor) -> list[Tensor]:
        """Each block's `mean` over draws of z that have these shares, ``(..., n_draws)``."""
        return [
            b.likelihood.average(outputs[..., b.outputs], b.parameters, shares)
            for b in self.blocks()
        ]

    def mode(self, means: Sequence[Tensor]) -> Tensor:
        """Cells ``(..., n, n_columns)`` that the blocks' means stand for."""
        return self._assemble(
            [b.likelihood.mode(mean) for b, mean in zip(self.blocks(), means, strict=True)]
        )

    def sample(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Draw x at ``uniform (..., n, n_columns)`` in (0, 1)."""
        return self._assemble(
            [
                b.likelihood.sample(outputs[..., b.outputs], b.parameters, self._pick(uniform, b))
                for b in self.blocks()
            ]
        )

    def noise_variance(self) -> Tensor:
        """Variance of p(x_j|z) per column where it is a parameter of its own, NaN elsewhere."""
        values = torch.full((self.n_columns,), torch.nan, dtype=torch.float64)
        for block in self.blocks():
            variance = block.likelihood.noise_variance(block.parameters)
            if variance is not None:
                values[block.columns.cpu()] = variance.detach().cpu().double()
        return values

    def _assemble(self, parts: Sequence[Tensor]) -> Tensor:
        """Put the blocks' columns back in the table's order."""
        x = parts[0].new_empty((*parts[0].shape[:-1], self.n_columns))
        for block, part in zip(self.blocks(), parts, strict=True):
            x[..., block.columns] = part
        return x

    def fisher_product(self, outputs: Tensor, tangents: Tensor, mask: Tensor | None) -> Tensor:
        """Fisher information times ``tangents (..., n, n_outputs, d)``, 0 for missing cells."""
        parts = []
        for block in self.blocks():
            part = block.likelihood.fisher_product(
                outputs[..., block.outputs], block.parameters, tangents[..., block.outputs, :]
            )
            if mask is not None:
                observed = self._pick(mask, block)
                width = part.shape[-2] // observed.shape[-1]
                part = part * observed.repeat_interleave(width, -1)[..., None]
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts, -2)

    def of_outputs(self, values: Tensor) -> Tensor:
        """For each output what ``values (n_columns,)`` say of its column, ``(n_outputs,)``."""
        parts = [
            values[b.columns].repeat_interleave(b.likelihood.n_outputs(1)) for b in self.blocks()
        ]
        return torch.cat(parts)

    def inverse_fisher(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """Inverse Fisher information at ``outputs (n_outputs,)`` times ``vectors (n_outputs, d)``.

        What moves no probability (the same number more on each logit, say) is left out.
        """
        parts = []
        for block in self.blocks():
            width, given = block.likelihood.n_outputs(1), vectors[block.outputs]
            identity = torch.eye(width).to(outputs).repeat(len(block.columns), 1)
            information = block.likelihood.fisher_product(
                outputs[None, block.outputs], block.parameters, identity[None]
            )
            inverse = torch.linalg.pinv(
                information.view(-1, width, width), rtol=SINGULAR, hermitian=True
            )
            parts.append((inverse @ given.view(-1, width, given.shape[1])).flatten(0, 1))
        return torch.cat(parts)
