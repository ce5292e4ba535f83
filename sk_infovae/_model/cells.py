"""What a model is given of some rows."""

from typing import NamedTuple

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
