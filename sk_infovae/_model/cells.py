"""What a model is given of some rows."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Cells(NamedTuple):
    """Cells in the model's units, and what was observed of them (None: everything).

    Attributes
    ----------
    x : Tensor of shape (..., n, n_columns)
        Finite also where a cell is missing.
    mask : Tensor of shape (..., n, n_columns) or None
        1 or True where a cell was observed.
    """

    x: Tensor
    mask: Tensor | None

    def at(self, index: Tensor | slice) -> "Cells":
        """Those of some of the rows, of each model in a stack."""
        mask = None if self.mask is None else self.mask[..., index, :]
        return Cells(self.x[..., index, :], mask)

    def to(self, device: str) -> "Cells":
        """The same on a device."""
        return Cells(self.x.to(device), None if self.mask is None else self.mask.to(device))


def one_below_the_other(parts: Sequence[Cells]) -> Cells:
    """The rows of all parts."""
    x = torch.cat([part.x for part in parts])
    if all(part.mask is None for part in parts):
        return Cells(x, None)
    masks = [
        torch.ones_like(part.x, dtype=torch.bool) if part.mask is None else part.mask
        for part in parts
    ]
    return Cells(x, torch.cat(masks))
