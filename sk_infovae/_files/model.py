"""What a file of an `InfoVAETransformer` says, and how a model is made of it.

Parse, check, construct: `container.unpack` takes the bytes apart and compares the checksum; the
description is read into values by `Reader`, which knows the types below and no others; shapes of
the networks are compared with the weights before any network is made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from skorch.callbacks import GradientNormClipping

from sk_infovae._base import files
from sk_infovae._base.compat import library_versions
from sk_infovae._base.seeds import private_rng
from sk_infovae._files import container
from sk_infovae._files.values import Reader, Writer
from sk_infovae._model.architecture import Architecture
from sk_infovae._model.layout import TableLayout
from sk_infovae._table.codecs import LevelCodec, NumberCodec, TickCodec
from sk_infovae._table.schema import Schema
from sk_infovae._table.standardizer import Standardizer
from sk_infovae._table.texts import TextColumn
from sk_infovae._training.fitting import Fitted
from sk_infovae._training.plan import ELEMENTWISE, TrainingPlan, check_net_params
from sk_infovae._training.state import net_state, rebuild_net
from sk_infovae.divergences import DIVERGENCES
from sk_infovae.exceptions import ModelFileError
from sk_infovae.likelihoods import LIKELIHOODS

KIND, FIT = "InfoVAETransformer", "fit of an InfoVAETransformer"
"""What files hold, and what stands in a pickle: the part "fitted" of a description alone."""

PROTOCOL = 1
"""Version of the description.

To change what stands in a file: raise the number, add to `UPGRADES` a function that turns a
description of the protocol before into the new one, and put a file of the protocol before into
``tests/files/``, where every version goes on reading it. So does a new field of a record: the
upgrade says what it was before there was one. Never change an upgrade that was released.
"""

UPGRADES: dict[int, Any] = {}
"""By protocol: what makes a description of the next one of it."""

RECORDS = (
    TableLayout, Schema, NumberCodec, TickCodec, LevelCodec, TextColumn, Standardizer,
    Architecture, TrainingPlan,
)  # fmt: skip

ACTIVATIONS = (
    "CELU", "ELU", "GELU", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "Mish", "ReLU",
    "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh",
)  # fmt: skip

KNOWN = (
    *LIKELIHOODS.values(),
    *DIVERGENCES.values(),
    *ELEMENTWISE,
    *(getattr(torch.nn, name) for name in ACTIVATIONS),
    GradientNormClipping,
)
"""Classes that every file may name."""

LOCAL = ("memory",)
"""Parameters that speak of one machine. No file says where another is to be written."""

OUTPUT = "_sklearn_output_config"
"""Where scikit-learn keeps what ``set_output`` asked for."""

ATTRIBUTES = ("n_features_in_", "feature_names_in_", "explained_variance_ratio_", "loadings_")
"""What is not made anew from layout, plan and net."""

NET = ("weights", "optimizer", "optimizer_class", "history", "seed")


def save_model(estimator: Any, file: Any) -> None:
    """Write an estimator to a path or a binary file object; see `InfoVAETransformer.save`."""
    writer = Writer(RECORDS, KNOWN)
    params = {n: v for n, v in estimator.get_params(deep=False).items() if n not in LOCAL}
    described = {
        "libraries": library_versions(),
        "params": {name: writer.write(value, name) for name, value in params.items()},
        "output": writer.write(vars(estimator).get(OUTPUT), "set_output"),
        "fitted": describe_fit(estimator, writer) if hasattr(estimator, "net_") else None,
    }
    files.write(container.pack(KIND, PROTOCOL, described, writer.arrays), file)


def load_model(cls: type, file: Any, trusted: Iterable[Any] | Mapping[str, Any] = ()) -> Any:
    """An estimator from a path or a binary file object; see `InfoVAETransformer.load`."""
    protocol, described, arrays = container.unpack(files.read(file), KIND, PROTOCOL)
    reader = Reader(RECORDS, arrays, KNOWN, trusted)
    try:
        return construct(cls, upgraded(protocol, described), reader)
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(
            "The file is whole, but what it says is no model that this version can make: "
            f"{type(error).__name__}: {error}. It was written with {_libraries(described)}."
        ) from error


def upgraded(protocol: int, described: Any) -> Any:
    """The description as it would be in today's protocol."""
    for older in range(protocol, PROTOCOL):
        described = UPGRADES[older](described)
    return described


def construct(cls: type, described: dict[str, Any], reader: Reader) -> Any:
    """Make the estimator that a file describes."""
    params = {n: reader.read(tree) for n, tree in described["params"].items() if n not in LOCAL}
    estimator = cls(**params)
    output = reader.read(described["output"])
    if output is not None:
        estimator.set_output(**output)
    if described["fitted"] is not None:
        vars(estimator).update(make_fit(described["fitted"], reader))
    return estimator


def pack_fit(estimator: Any) -> dict[str, Any]:
    """What fit left, for a pickle: the bytes of a file, and what no file can hold."""
    carried: list[Any] = []
    writer = Writer(RECORDS, KNOWN, carried)
    described = {"fitted": describe_fit(estimator, writer)}
    file = container.pack(FIT, PROTOCOL, described, writer.arrays)
    return {"file": file, "carried": carried}


def unpack_fit(packed: dict[str, Any]) -> dict[str, Any]:
    """The attributes that `pack_fit` packed."""
    protocol, described, arrays = container.unpack(packed["file"], FIT, PROTOCOL)
    reader = Reader(RECORDS, arrays, KNOWN, carried=packed["carried"])
    return make_fit(upgraded(protocol, described)["fitted"], reader)


def describe_fit(estimator: Any, writer: Writer) -> Any:
    """The description of what fit left; its arrays are left in the writer."""
    attributes = vars(estimator)
    fitted = {
        "attributes": {n: attributes[n] for n in ATTRIBUTES if n in attributes},
        "layout": estimator._layout,
        "plan": estimator._plan,
        "net": net_state(estimator.net_),
    }
    return writer.write(fitted, "the fitted model")


def make_fit(described: Any, reader: Reader) -> dict[str, Any]:
    """The attributes that `describe_fit` described."""
    fitted = reader.read(described)
    layout, plan, state = fitted["layout"], fitted["plan"], fitted["net"]
    attributes = {n: one for n, one in fitted["attributes"].items() if n in ATTRIBUTES}
    check_layout(layout, attributes)
    check_weights(layout.architecture, state["weights"])
    check_net_params(plan.net_params)
    net = rebuild_net(layout.architecture, plan, {name: state[name] for name in NET})
    return {**attributes, **Fitted(layout, plan, net, {}).attributes}


def check_layout(layout: TableLayout, attributes: dict[str, Any]) -> None:
    """Refuse columns, scaling and shapes that do not go together.

    Raises
    ------
    ModelFileError
        Naming what differs.
    """
    columns, architecture = layout.schema.columns, layout.architecture
    standardizer = layout.standardizer
    parts = (
        standardizer.centre, standardizer.scale, standardizer.fill, standardizer.low,
        standardizer.high, standardizer.has_holes, standardizer.standardised,
    )  # fmt: skip
    found = {part.shape for part in parts} | {(len(architecture.likelihoods),)}
    if found != {(len(columns),)} or attributes["n_features_in_"] != len(layout.schema.every):
        raise ModelFileError(f"The file speaks of {len(columns)} columns, and of {sorted(found)}.")
    header = layout.schema.header
    if header is not None and len(header) != len(layout.schema.every):
        raise ModelFileError(f"The file's header has {len(header)} names, another number.")
    holes = set(map(int, np.flatnonzero(standardizer.has_holes)))
    if set(architecture.hole_columns) != holes:
        raise ModelFileError("The file's columns with holes are not those of its encoder.")
    for column, likelihood in zip(columns, architecture.likelihoods, strict=True):
        n_levels = max(1, len(column.levels)) if isinstance(column, LevelCodec) else None
        if n_levels != (getattr(likelihood, "n_levels", None) if likelihood.has_levels else None):
            raise ModelFileError(f"Column {column.name!r} has other levels than its likelihood.")


def check_weights(architecture: Architecture, weights: dict[str, Any]) -> None:
    """Refuse weights of other shapes than the networks have, before memory is taken for these.

    Networks of the user's own, which the caller trusts, are left to `load_state_dict`.

    Raises
    ------
    ModelFileError
        Naming the first that differs.
    """
    if len(architecture.hidden_layer_sizes) > len(weights):
        raise ModelFileError("The file has fewer weights than its networks have layers.")
    activation = architecture.activation if isinstance(architecture.activation, str) else "relu"
    plain = replace(architecture, encoder=None, decoder=None, activation=activation)
    with torch.device("meta"), private_rng(0, "cpu"):
        wanted = {f"module.{name}": one.shape for name, one in plain.build().state_dict().items()}
    own = [part for part in ("encoder", "decoder") if getattr(architecture, part) is not None]
    for name, shape in wanted.items():
        if name.split(".")[1] in own:
            continue
        if name not in weights or tuple(weights[name].shape) != tuple(shape):
            found = weights[name].shape if name in weights else "none"
            raise ModelFileError(
                f"{name} has shape {tuple(shape)} in the networks that the file describes, and "
                f"{found} in the file."
            )


def _libraries(described: Any) -> str:
    try:
        return ", ".join(f"{name} {number}" for name, number in described["libraries"].items())
    except (AttributeError, KeyError, TypeError):
        return "unknown libraries"
