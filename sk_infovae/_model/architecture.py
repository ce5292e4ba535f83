"""What fixes the shapes of a model, and how a model is built from it."""

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

from torch import nn

from sk_infovae._model.inputs import EncoderInputs
from sk_infovae._model.networks import ACTIVATIONS, check_shapes, default_decoder, default_encoder
from sk_infovae._model.vae import VAE
from sk_infovae.likelihoods import LIKELIHOODS, ColumnLikelihoods, Likelihood

AUTO = {"bool": "bernoulli", "string": "categorical", "category": "categorical"}
"""Likelihood by the kind of a column; all others are gaussian."""


@dataclass(frozen=True)
class NetworkSpec:
    """The estimator's parameters about networks, checked: see `Architecture` for what they mean.

    Raises
    ------
    ValueError
        For a network given as a module instance or for widths that are not positive integers.
    """

    n_components: int
    hidden_layer_sizes: tuple[int, ...]
    activation: str | Callable[[], nn.Module]
    encoder: Callable[[int, int], nn.Module] | None
    decoder: Callable[[int, int], nn.Module] | None

    def __post_init__(self):
        widths = tuple(self.hidden_layer_sizes)
        if not all(isinstance(width, Integral) and width > 0 for width in widths):
            raise ValueError(
                f"hidden_layer_sizes must hold positive integers, got {self.hidden_layer_sizes!r}."
            )
        for name in ("encoder", "decoder"):
            network = getattr(self, name)
            if isinstance(network, nn.Module):
                raise ValueError(
                    f"{name} must be a class or a factory, not a module instance; got an instance "
                    f"of {type(network).__name__}. Each fit makes a new network: pass the class, "
                    "or a function of the two widths that builds it."
                )
        object.__setattr__(self, "hidden_layer_sizes", tuple(map(int, widths)))
        object.__setattr__(self, "n_components", int(self.n_components))


MEASURED = ("hole_columns", "has_outliers")
"""What the table says of the architecture, not a parameter."""


@dataclass(frozen=True, kw_only=True)
class Architecture(NetworkSpec):
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
    has_outliers : bool
        Whether the encoder sees far numbers drawn in.
    """

    likelihoods: tuple[Likelihood, ...]
    hole_columns: tuple[int, ...]
    has_outliers: bool

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
        inputs = EncoderInputs(self.likelihoods, self.hole_columns, self.has_outliers)
        activation = (
            ACTIVATIONS[self.activation] if isinstance(self.activation, str) else self.activation
        )
        encoder = (
            default_encoder(inputs.width, self.n_components, self.hidden_layer_sizes, activation)
            if self.encoder is None
            else self.encoder(inputs.width, self.n_components)
        )
        decoder = (
            default_decoder(
                self.n_components, likelihood.n_outputs, self.hidden_layer_sizes, activation
            )
            if self.decoder is None
            else self.decoder(self.n_components, likelihood.n_outputs)
        )
        check_shapes(encoder, decoder, inputs.width, self.n_components, likelihood.n_outputs)
        return VAE(encoder, decoder, likelihood, inputs)

    def changed(self, other: "Architecture") -> list[str]:
        """Names of the parameters by which two architectures differ."""
        return [
            field.name.removesuffix("s") if field.name == "likelihoods" else field.name
            for field in fields(self)
            if field.name not in MEASURED
            and getattr(self, field.name) != getattr(other, field.name)
        ]


def resolve_likelihoods(
    choice: str | Likelihood | Mapping[Any, Any], names: Sequence[Hashable], kinds: Sequence[str]
) -> tuple[Likelihood, ...]:
    """The likelihood of each column, from the estimator's ``likelihood`` parameter.

    ``"auto"`` looks at the kind, never at values: strings and categories are categorical, booleans
    bernoulli, numbers and times gaussian.

    Raises
    ------
    ValueError
        For an unknown name, a column that X does not have, or a likelihood that can't be that of
        a column's kind.
    """
    given = dict(choice) if isinstance(choice, Mapping) else dict.fromkeys(names, choice)
    known = set(names)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(
            f"likelihood names column {unknown[0]!r}, which X does not have. Its columns are "
            f"{list(names)[:10]}{' ...' if len(names) > 10 else ''}."
        )
    found = []
    for name, kind in zip(names, kinds, strict=True):
        one = given.get(name, "auto")
        automatic = isinstance(one, str) and one == "auto"
        likelihood = _one_likelihood(AUTO.get(kind, "gaussian") if automatic else one)
        _check_kind(likelihood, name, kind)
        found.append(likelihood)
    return tuple(found)


def _check_kind(likelihood: Likelihood, name: Hashable, kind: str) -> None:
    """Levels need a likelihood of levels; times one that takes a centre and a scale."""
    is_time = kind in ("time", "date")
    if likelihood.has_levels or not (AUTO.get(kind) == "categorical" or is_time):
        return
    if is_time and likelihood.standardised:
        return
    fitting = [key for key, one in LIKELIHOODS.items() if one.has_levels]
    fitting += [key for key, one in LIKELIHOODS.items() if is_time and one().standardised]
    raise ValueError(
        f"Column {name!r} is of kind {kind!r}, which can't have likelihood {likelihood!r}. Choose "
        f"one of {fitting}, or convert the column to numbers."
    )


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
