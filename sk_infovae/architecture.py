"""What fixes the shapes of a model, and how a model is built from it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from sk_infovae.likelihoods import LIKELIHOODS, ColumnLikelihoods, Likelihood
from sk_infovae.module import VAE
from sk_infovae.networks import ACTIVATIONS, check_shapes, default_decoder, default_encoder
from sk_infovae.schema import Schema


@dataclass(frozen=True)
class Architecture:
    """Everything that the shapes of the networks depend on.

    Attributes
    ----------
    n_components : int
        Latent dimension.
    hidden_layer_sizes : tuple of int
        Widths of the default encoder; the default decoder mirrors them.
    activation : str or callable
        Name in `ACTIVATIONS`, or a module class.
    encoder, decoder : callable or None
        Factories of the user's own networks.
    likelihoods : tuple of Likelihood
        One for each column.
    hole_columns : tuple of int
        Columns of which the encoder is told whether a cell was observed.
    """

    n_components: int
    hidden_layer_sizes: tuple[int, ...]
    activation: str | Callable[[], nn.Module]
    encoder: Callable[[int, int], nn.Module] | None
    decoder: Callable[[int, int], nn.Module] | None
    likelihoods: tuple[Likelihood, ...]
    hole_columns: tuple[int, ...]

    @property
    def is_custom(self) -> bool:
        """Whether any part is the user's own, and so may draw random numbers of its own."""
        parts = (self.encoder, self.decoder, self.activation)
        if not all(part is None or isinstance(part, str) for part in parts):
            return True
        return not set(map(type, self.likelihoods)) <= set(LIKELIHOODS.values())

    def build(self) -> VAE:
        """Make the module with freshly drawn weights (from torch's global generator)."""
        likelihood = ColumnLikelihoods(self.likelihoods)
        n_inputs = len(self.likelihoods) + len(self.hole_columns)
        activation = (
            ACTIVATIONS[self.activation] if isinstance(self.activation, str) else self.activation
        )
        encoder = (
            default_encoder(n_inputs, self.n_components, self.hidden_layer_sizes, activation)
            if self.encoder is None
            else self.encoder(n_inputs, self.n_components)
        )
        decoder = (
            default_decoder(
                self.n_components, likelihood.n_outputs, self.hidden_layer_sizes, activation
            )
            if self.decoder is None
            else self.decoder(self.n_components, likelihood.n_outputs)
        )
        check_shapes(encoder, decoder, n_inputs, self.n_components, likelihood.n_outputs)
        return VAE(encoder, decoder, likelihood, torch.tensor(self.hole_columns, dtype=torch.long))

    def changed(self, other: "Architecture") -> list[str]:
        """Names of the parameters by which two architectures differ."""
        return [
            field.name.removesuffix("s") if field.name == "likelihoods" else field.name
            for field in fields(self)
            if field.name != "hole_columns"
            and getattr(self, field.name) != getattr(other, field.name)
        ]


def resolve_likelihoods(
    choice: str | Likelihood | Mapping[Any, Any], schema: Schema
) -> tuple[Likelihood, ...]:
    """The likelihood of each column, from the estimator's ``likelihood`` parameter.

    ``"auto"`` looks at dtypes, never at values: numbers are gaussian, booleans bernoulli.

    Raises
    ------
    ValueError
        For an unknown name or a column that X does not have.
    """
    auto = ["bernoulli" if kind == "bool" else "gaussian" for kind in schema.kinds]
    if not isinstance(choice, Mapping):
        return tuple(
            _one_likelihood(auto[j] if choice == "auto" else choice) for j in range(len(auto))
        )
    chosen: list[Any] = list(auto)
    columns: Sequence[Any] = schema.names if schema.names is not None else range(len(auto))
    positions = {column: j for j, column in enumerate(columns)}
    for column, value in choice.items():
        if column not in positions:
            raise ValueError(
                f"likelihood names column {column!r}, which X does not have. Its columns are "
                f"{list(columns)[:10]}{' ...' if len(auto) > 10 else ''}."
            )
        if value != "auto":
            chosen[positions[column]] = value
    return tuple(map(_one_likelihood, chosen))


def _one_likelihood(choice: str | Likelihood) -> Likelihood:
    if isinstance(choice, Likelihood):
        # A parameter that the user sets later must not reach into the model.
        return copy.deepcopy(choice)
    if choice not in LIKELIHOODS:
        raise ValueError(
            f"likelihood must be 'auto', one of {sorted(LIKELIHOODS)}, a Likelihood instance, or a "
            f"dict of these by column; got {choice!r}."
        )
    return LIKELIHOODS[choice]()
