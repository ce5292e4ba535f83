"""What the first rows fix for good: columns, scaling, shapes and seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sk_infovae.architecture import Architecture, resolve_likelihoods
from sk_infovae.preprocessing import Standardizer
from sk_infovae.schema import Schema, read_schema
from sk_infovae.seeds import split_seed

SEED_USES = ("weights", "split", "train", "score", "information")


@dataclass(frozen=True, eq=False)
class TableLayout:
    """Columns, scaling and shapes, and the seed that everything random grows from."""

    schema: Schema
    standardizer: Standardizer
    architecture: Architecture
    seed: int

    @classmethod
    def measure(cls, original: Any, X: Any, params: Mapping[str, Any], seed: int) -> "TableLayout":
        """Lay out a table from its first rows.

        Parameters
        ----------
        original : array-like, CSR matrix or DataFrame
            As the user gave it.
        X : ndarray or CSR matrix
            The same, validated.
        params : mapping
            The estimator's parameters.
        seed : int
        """
        schema = read_schema(original, X.shape[1])
        likelihoods = resolve_likelihoods(params["likelihood"], schema)
        standardizer = Standardizer.fit(X, np.array([one.standardised for one in likelihoods]))
        architecture = make_architecture(params, schema, standardizer.has_holes)
        return cls(schema, standardizer, architecture, seed)

    def check_unchanged(self, params: Mapping[str, Any]) -> None:
        """Refuse to go on training when a parameter that sets shapes was changed.

        Raises
        ------
        ValueError
            Naming the parameters and the mend.
        """
        wanted = make_architecture(params, self.schema, self.standardizer.has_holes)
        changed = wanted.changed(self.architecture)
        if changed:
            raise ValueError(
                f"Training can't go on after a change of {', '.join(changed)}: it sets the shapes "
                "of the networks. Set it back, or fit anew with warm_start=False."
            )

    def seed_for(self, use: str, step: int = 0) -> int:
        """A seed of its own for each of `SEED_USES` (``step``: epochs trained so far)."""
        return split_seed(self.seed, SEED_USES.index(use), step)


def make_architecture(
    params: Mapping[str, Any], schema: Schema, has_holes: NDArray[np.bool_]
) -> Architecture:
    """The architecture that the estimator's parameters ask for on this table.

    Raises
    ------
    ValueError
        For a network given as a module instance or for widths that are not positive integers.
    """
    widths = tuple(params["hidden_layer_sizes"])
    if not all(isinstance(width, int | np.integer) and width > 0 for width in widths):
        raise ValueError(
            f"hidden_layer_sizes must hold positive integers, got {params['hidden_layer_sizes']!r}."
        )
    for name in ("encoder", "decoder"):
        if isinstance(params[name], nn.Module):
            raise ValueError(
                f"{name} must be a class or a factory, not a module instance; got an instance of "
                f"{type(params[name]).__name__}. Each fit makes a new network: pass the class, or "
                "a function of the two widths that builds it."
            )
    return Architecture(
        n_components=int(params["n_components"]),
        hidden_layer_sizes=tuple(map(int, widths)),
        activation=params["activation"],
        encoder=params["encoder"],
        decoder=params["decoder"],
        likelihoods=resolve_likelihoods(params["likelihood"], schema),
        hole_columns=tuple(map(int, np.flatnonzero(has_holes))),
    )
