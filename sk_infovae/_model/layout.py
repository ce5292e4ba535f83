"""What the first rows fix for good: columns, scaling, shapes and seeds."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sk_infovae._base.seeds import split_seed
from sk_infovae._model.architecture import Architecture, NetworkSpec, resolve_likelihoods
from sk_infovae._model.inputs import FAR
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.reading import TableLike
from sk_infovae._table.schema import LevelCodec, Schema, container_of, read_columns
from sk_infovae._table.standardizer import Standardizer
from sk_infovae._table.texts import find_texts
from sk_infovae.exceptions import SchemaError
from sk_infovae.likelihoods import Likelihood

LEVEL_KINDS = ("string", "category")
"""Kinds of columns that hold nothing but levels."""

SEED_USES = ("weights", "split", "train", "score", "information")


@dataclass(frozen=True)
class ColumnSpec:
    """The estimator's parameters about columns, see `InfoVAETransformer`."""

    likelihood: str | Likelihood | Mapping[Any, str | Likelihood] = "auto"
    categorical_features: Any = "from_dtype"
    handle_unknown: str = "missing"
    text_features: str = "drop"


@dataclass(frozen=True, eq=False)
class TableLayout:
    """Columns, scaling and shapes, and the seed that everything random grows from."""

    schema: Schema
    standardizer: Standardizer
    architecture: Architecture
    seed: int

    @classmethod
    def measure(
        cls,
        X: TableLike,
        dtype: np.dtype | None,
        columns: ColumnSpec,
        networks: NetworkSpec,
        seed: int,
    ) -> tuple["TableLayout", CellTable]:
        """Lay out a table from its first rows.

        Parameters
        ----------
        X : ndarray, CSR matrix or DataFrame
            Validated.
        dtype : numpy dtype
            Of an array as the user gave it.
        columns : ColumnSpec
        networks : NetworkSpec
        seed : int

        Returns
        -------
        layout : TableLayout
        cells : ndarray or CSR matrix
            The table as numbers.
        """
        schema, likelihoods = read_schema(X, dtype, columns)
        cells = schema.encode(X)
        standardised = [one.standardised for one in likelihoods]
        standardizer = Standardizer.fit(cells, np.array(standardised), schema.has_levels)
        architecture = make_architecture(columns, networks, schema, standardizer)
        return cls(schema, standardizer, architecture, seed), cells

    def of_networks(self, columns: ColumnSpec, networks: NetworkSpec, seed: int) -> "TableLayout":
        """The layout of the same columns for other networks."""
        architecture = make_architecture(columns, networks, self.schema, self.standardizer)
        return replace(self, architecture=architecture, seed=seed)

    def check_unchanged(self, columns: ColumnSpec, networks: NetworkSpec) -> None:
        """Refuse to go on training when a parameter that sets shapes was changed.

        Raises
        ------
        ValueError
            Naming the parameters and the mend.
        """
        wanted = make_architecture(columns, networks, self.schema, self.standardizer)
        changed = wanted.changed(self.architecture)
        if changed:
            raise ValueError(
                f"Training can't go on after a change of {', '.join(changed)}: it sets the shapes "
                "of the networks. Set it back, or fit anew with warm_start=False."
            )

    def seed_for(self, use: str, step: int = 0) -> int:
        """A seed of its own for each of `SEED_USES` (``step``: epochs trained so far)."""
        return split_seed(self.seed, SEED_USES.index(use), step)


def read_schema(
    X: TableLike, dtype: np.dtype | None, spec: ColumnSpec
) -> tuple[Schema, list[Likelihood]]:
    """The columns of a validated table, and the likelihood of each that has cells."""
    raw = read_columns(X, dtype)
    names = [one.name for one in raw]
    raw = find_texts(raw, container_of(X), wanted_levels(spec, names), spec.text_features)
    likelihoods = choose_likelihoods(spec, names, [one.kind for one in raw])
    schema = Schema.fit(X, raw, likelihoods)
    return schema, [one for one in likelihoods if one is not None]


def wanted_levels(spec: ColumnSpec, names: Sequence[Hashable]) -> set[int]:
    """Positions of the columns that the user names, which so are no free text."""
    named = spec.likelihood if isinstance(spec.likelihood, Mapping) else {}
    chosen = chosen_categories(spec.categorical_features, names) or set()
    return chosen | {j for j, name in enumerate(names) if name in named}


def choose_likelihoods(
    spec: ColumnSpec, names: Sequence[Hashable], kinds: Sequence[str]
) -> tuple[Likelihood | None, ...]:
    """The likelihood of each column, from ``likelihood`` and ``categorical_features``.

    None for a column of the kind "text", unless the user names it.

    Raises
    ------
    ValueError
        For a choice that does not fit the columns.
    """
    chosen = chosen_categories(spec.categorical_features, names)
    if chosen is None:  # nothing may be a category
        chosen, text = set(), [n for n, k in zip(names, kinds, strict=True) if k in LEVEL_KINDS]
        if text:
            raise SchemaError(
                f"categorical_features=None allows no categories, but columns {text} hold "
                "nothing else. Take categorical_features='from_dtype', or drop them."
            )
    kinds = [
        "category" if j in chosen and kind not in LEVEL_KINDS else kind
        for j, kind in enumerate(kinds)
    ]
    wanted = wanted_levels(spec, names)
    with_cells = [j for j, kind in enumerate(kinds) if kind != "text" or j in wanted]
    found: list[Likelihood | None] = [None] * len(kinds)
    some = [names[j] for j in with_cells], [kinds[j] for j in with_cells]
    for j, likelihood in zip(with_cells, resolve_likelihoods(spec.likelihood, *some), strict=True):
        found[j] = likelihood
    return tuple(found)


def chosen_categories(choice: Any, names: Sequence[Hashable]) -> set[int] | None:
    """Positions of the columns that ``categorical_features`` names; None where none may be one.

    Raises
    ------
    ValueError
        For a mask of the wrong length, or a column that X does not have.
    """
    if choice is None:
        return None
    if isinstance(choice, str) and choice == "from_dtype":
        return set()
    chosen = np.asarray(choice)
    if chosen.dtype == bool and chosen.shape == (len(names),):
        return set(np.flatnonzero(chosen).tolist())
    positions = {name: j for j, name in enumerate(names)}
    found = {
        one if isinstance(one, int) and one in range(len(names)) else positions.get(one)
        for one in chosen.tolist()
    }
    if chosen.dtype == bool or None in found:
        raise ValueError(
            "categorical_features must be 'from_dtype', None, a boolean mask with one entry for "
            f"each of the {len(names)} columns, or names or positions of columns of X; got "
            f"{choice!r}."
        )
    return {one for one in found if one is not None}


def make_architecture(
    columns: ColumnSpec, networks: NetworkSpec, schema: Schema, standardizer: Standardizer
) -> Architecture:
    """The architecture that the estimator's parameters ask for on this table."""
    names, kinds = [one.name for one in schema.every], [one.kind for one in schema.every]
    chosen = choose_likelihoods(columns, names, kinds)
    likelihoods = tuple(
        likelihood.bind(max(1, len(column.levels)))
        if isinstance(column, LevelCodec)
        else likelihood
        for likelihood, column in zip(chosen, schema.every, strict=True)
        if likelihood is not None
    )
    with_cells = [chosen[place] for place in schema.places]
    standardised = np.array([one is not None and one.standardised for one in with_cells])
    return Architecture(
        **vars(networks),
        likelihoods=likelihoods,
        hole_columns=tuple(map(int, np.flatnonzero(standardizer.has_holes))),
        has_outliers=standardizer.reach(standardised) > FAR,
    )
