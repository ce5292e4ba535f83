"""Columns of free text, which no model of levels can tell anything about."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sk_infovae._table.codecs import LIBRARIES
from sk_infovae.exceptions import SchemaError

MOST_TEXT_LEVELS = 50
"""A string column with more levels is free text if most cells hold one that occurs once."""

FEWEST_NAMES = 20
"""So many cells that all differ are names, however few: each is a level that no new row has."""


@dataclass(frozen=True, eq=False)
class RawColumn:
    """A column as it came: its name, its kind by dtype (or "text"), and its cells.

    ``source`` is a native series, or a function that reads it.
    """

    name: Hashable
    kind: str
    source: Any

    @property
    def series(self) -> Any:
        """The native series."""
        return self.source() if callable(self.source) else self.source


@dataclass(frozen=True, eq=False)
class TextColumn:
    """A column of free text: it carries no cells, and comes back empty.

    Of the levels of such a column most occur once. A model gains nothing by their frequencies, and
    a row that is new has a level that is new.

    Attributes
    ----------
    name : Hashable
    like : native series
        Of its dtype; the first missing cell of fit, or no row.
    container : str
        Key of `LIBRARIES`.
    """

    name: Hashable
    like: Any
    container: str
    kind: str = "text"

    def empty(self, n_rows: int) -> Any:
        """A native series of missing cells, in the column's own dtype."""
        return LIBRARIES[self.container].nothing(n_rows, self.like)


def find_texts(
    raw: Sequence[RawColumn], container: str, wanted: Collection[int], text_features: str
) -> list[RawColumn]:
    """The columns, those of free text marked by the kind "text".

    Parameters
    ----------
    raw : sequence of RawColumn
    container : str
        Key of `LIBRARIES`.
    wanted : collection of int
        Positions of columns that the user wants as levels, whatever they hold.
    text_features : {"drop", "error"}
        What becomes of free text.

    Raises
    ------
    SchemaError
        For the first free text with "error"; where there is nothing else.
    """
    found = list(raw)
    for j, one in enumerate(raw):
        why = None if j in wanted or one.kind != "string" else _why_text(one, container)
        if why is not None and text_features == "error":
            raise SchemaError(
                f"{why} Drop it, or encode it before (by what it says); if these are categories "
                "after all, convert it to a categorical dtype or name it in categorical_features. "
                "text_features='drop' leaves such columns out."
            )
        found[j] = one if why is None else replace(one, kind="text")
    if all(one.kind == "text" for one in found):
        raise SchemaError(
            f"Every column of X looks like free text ({_listed([one.name for one in found])}), "
            "which leaves nothing to model. Encode what the texts say as numbers; if they are "
            "categories after all, convert them to a categorical dtype or name them in "
            "categorical_features."
        )
    return found


def left_out_message(names: Sequence[Hashable]) -> str:
    """What a fit tells about the columns that it leaves out."""
    columns, they = ("Column", "it is") if len(names) == 1 else ("Columns", "they are")
    return (
        f"{columns} {_listed(names)}: free text (most cells hold a string that occurs nowhere "
        f"else), left out of the model; {they} missing in inverse_transform and sample. Encode "
        "what the text says as numbers, name it in categorical_features if these are categories, "
        "or drop it."
    )


def _listed(names: Sequence[Hashable]) -> str:
    return ", ".join(map(repr, names))


def _why_text(column: RawColumn, container: str) -> str | None:
    """What makes a string column free text; None for one of levels."""
    _, counts = LIBRARIES[container].level_counts(column.series)
    seen_once = (counts == 1).sum()
    are_names = seen_once == counts.sum() >= FEWEST_NAMES
    if not are_names and (len(counts) <= MOST_TEXT_LEVELS or seen_once <= counts.sum() / 2):
        return None
    return (
        f"Column {column.name!r} looks like free text: {len(counts)} different strings, and "
        f"{seen_once} of its {counts.sum()} cells hold one that occurs nowhere else."
    )
