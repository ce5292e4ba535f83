"""The epochs of a fit as the user sees them."""

from typing import Any

from sk_infovae._model.objective import Terms

ENDS = 4
"""First and last epochs that are printed of many."""


class History(list[dict[str, float]]):
    """Each epoch's number and terms; prints as a table of the first and the last ones."""

    def __repr__(self) -> str:
        names = list(self[-1]) if self else []
        rows = [[_written(epoch.get(name)) for name in names] for epoch in self]
        if len(rows) > 2 * ENDS + 1:
            rows = [*rows[:ENDS], ["..."] + [""] * (len(names) - 1), *rows[-ENDS:]]
        lines = [names, *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([f"{len(self)} epochs", *table]) if self else "0 epochs"


def tidy_history(epochs: list[dict[str, Any]]) -> History:
    """Epoch number and every term, train terms by their own names, ``valid_`` ones as they are."""
    return History(
        {"epoch": epoch["epoch"]}
        | {name: epoch[f"train_{name}"] for name in Terms._fields if f"train_{name}" in epoch}
        | {
            f"valid_{name}": epoch[f"valid_{name}"]
            for name in Terms._fields
            if f"valid_{name}" in epoch
        }
        for epoch in epochs
    )


def _written(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
