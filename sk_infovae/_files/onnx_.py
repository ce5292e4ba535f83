"""A fitted estimator as a graph of ONNX, which runs without torch, scikit-learn and this package.

torch exports what is made of numbers: standardisation, networks, the way back. Columns come before
it, or behind: of an array one tensor, of a DataFrame one tensor ``(n_rows, 1)`` for each column, in
which strings become codes, and codes strings, by ONNX' own tables.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sk_infovae._base import files
from sk_infovae._model.layout import TableLayout
from sk_infovae._model.vae import VAE
from sk_infovae._table.codecs import ColumnCodec, LevelCodec, NumberCodec
from sk_infovae._table.kinds import largest
from sk_infovae._table.standardizer import FARTHEST
from sk_infovae.likelihoods.numerics import log_gamma_ratio

NEEDS = (
    "export_onnx needs the packages onnx and onnxscript ({0}). "
    'Install them: pip install "sk-infovae[onnx]".'
)

METHODS = ("transform", "inverse_transform", "elbo")

N_DRAWS = 64
"""Of z, for the ELBO of a row."""

NO_LEVEL = "\0"
"""Stands in the table of a column that was missing altogether."""

MOST_INT = 2.0**53
"""Integers of ONNX are exact up to here."""


class Embedding(nn.Module):
    """From cells, float64 with NaN for missing ones, to the mean of q(z|x)."""

    def __init__(self, module: VAE, layout: TableLayout):
        super().__init__()
        self.module = module
        standardizer = layout.standardizer
        self.centre, self.scale, self.fill, self.far = map(
            torch.from_numpy,
            (
                standardizer.centre.copy(),
                standardizer.scale.copy(),
                standardizer.fill.copy(),
                np.where(standardizer.standardised, FARTHEST, largest(np.float32)),
            ),
        )
        # Of levels that are numbers: the cells hold these, not their codes.
        self.numeric = _numeric_levels(layout)

    def forward(self, cells: Tensor) -> Tensor:
        """``(n_rows, n_columns)`` to ``(n_rows, n_components)``."""
        return self.module.encode(*self.standardised(cells)).mean

    def standardised(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Cells in the model's units, and whether each is there."""
        columns = list(cells.unbind(-1))
        for j, levels in self.numeric.items():
            same = columns[j][:, None] == levels
            code = same.to(torch.uint8).argmax(-1).double()
            columns[j] = torch.where(same.any(-1), code, torch.nan)
        cells = torch.stack(columns, -1) if self.numeric else cells
        x = (cells - self.centre) / self.scale
        missing = torch.isnan(x)
        x = torch.where(missing, self.fill, x).clamp(-self.far, self.far)
        return x.float(), ~missing


class Elbo(Embedding):
    """From cells to E log p(x|z) - KL(q(z|x)||p(z)) of each row, nats, in the units of X.

    The expectation is a mean over draws of z, the same for all rows: a scrambled Sobol sequence and
    its mirror image, with a variance of 1 in each dimension.
    """

    def __init__(self, module: VAE, layout: TableLayout):
        super().__init__(module, layout)
        n_components, seed = layout.architecture.n_components, layout.seed_for("score")
        uniform = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=seed)
        half = torch.special.ndtri(uniform.draw(N_DRAWS // 2).clamp(1e-6, 1 - 1e-6))
        half = half / half.square().mean(0).sqrt()
        self.noise = torch.cat([half, -half])[:, None]
        self.log_scale = self.scale.log().float()

    def forward(self, cells: Tensor) -> Tensor:
        """``(n_rows, n_columns)`` to ``(n_rows, 1)``."""
        x, there = self.standardised(cells)
        observed, posterior = there.to(x.dtype), self.module.encode(x, there)
        outputs = self.module.decode(posterior.rsample(self.noise))
        log_p = self.module.likelihood.log_prob(x, outputs, observed).mean(0)
        return (log_p - posterior.kl() - observed @ self.log_scale)[:, None]


class Decoding(nn.Module):
    """From codes to the columns: the expected number, the most probable level.

    One tensor ``(n_rows, 1)`` for each column of a DataFrame, one for all of an array.
    """

    def __init__(self, module: VAE, layout: TableLayout):
        super().__init__()
        self.module, self.columns = module, layout.schema.columns
        self.dtype = None if is_frame(layout) else getattr(torch, str(layout.schema.dtype))
        self.centre, self.scale = (
            torch.from_numpy(getattr(layout.standardizer, name).copy())
            for name in ("centre", "scale")
        )
        self.numeric = _numeric_levels(layout)

    def forward(self, code: Tensor) -> Any:
        """``(n_rows, n_components)`` to columns."""
        likelihood = self.module.likelihood
        x = likelihood.mode(likelihood.mean(self.module.decoder(code)))
        cells = (x.double() * self.scale + self.centre).unbind(-1)
        columns = [self._column(j, cell) for j, cell in enumerate(cells)]
        if self.dtype is not None:
            most = torch.finfo(self.dtype).max
            table = torch.stack([column.double() for column in columns], -1)
            return table.clamp(-most, most).to(self.dtype)
        return tuple(column[:, None] for column in columns)

    def _column(self, j: int, cells: Tensor) -> Tensor:
        column = self.columns[j]
        if isinstance(column, LevelCodec):
            codes = cells.round().clamp(0, max(0, len(column.levels) - 1)).long()
            return self.numeric[j][codes] if j in self.numeric else codes
        assert isinstance(column, NumberCodec)
        if column.kind == "bool":
            return cells > 0.5
        if column.kind == "int":
            low, high = max(column.low, -MOST_INT), min(column.high, MOST_INT)
            return cells.round().clamp(low, high).long()
        return cells.clamp(column.low, column.high)


def export_onnx(estimator: Any, file: Any, method: str) -> None:
    """Write a graph to a path or a binary file object; see `InfoVAETransformer.export_onnx`."""
    files.write(make_model(estimator, method).SerializeToString(), file)


def make_model(estimator: Any, method: str) -> Any:
    """The graph as a model of ONNX, checked."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(NEEDS.format(error)) from error
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        raise ImportError(f"export_onnx needs torch 2.6 or later, got {torch.__version__}.")
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    layout = estimator._layout
    _check_columns(layout)
    module = copy.deepcopy(estimator.module_).cpu().eval()
    if method == "inverse_transform":
        network, name = Decoding(module, layout), "code"
        example = torch.zeros(2, layout.architecture.n_components)
    else:
        network, name = (Elbo if method == "elbo" else Embedding)(module, layout), "cells"
        example = torch.zeros(2, len(layout.schema.columns), dtype=torch.float64)
    rows = {name: {0: torch.export.Dim("n_rows")}}
    with quiet():
        traced = torch.export.export(network.eval(), (example,), dynamic_shapes=rows)
        traced = traced.run_decompositions({torch.ops.aten.lgamma.default: _log_gamma})
        program = torch.onnx.export(traced, input_names=[name], dynamo=True, verbose=False)
    assert program is not None
    model = program.model_proto
    rename(model.graph, _prefix([str(column.name) for column in layout.schema.columns]))
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 2))
    if method == "inverse_transform":
        _columns_out(model.graph, layout)
    else:
        _columns_in(model.graph, layout, "code" if method == "transform" else "elbo")
    onnx.checker.check_model(model)
    return model


def _log_gamma(x: Tensor) -> Tensor:
    """log Gamma(x) of x >= 1, which ONNX does not know, by what it does."""
    return log_gamma_ratio(x - 1, torch.ones_like(x))


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch's exporter tells about itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def is_frame(layout: TableLayout) -> bool:
    """Whether fit saw a DataFrame."""
    return layout.schema.container != "numpy"


def _kind(column: ColumnCodec) -> str:
    """What stands in a column for ONNX: "number", "bool" or "string"; "" for what it can't say."""
    if isinstance(column, NumberCodec):
        return "bool" if column.kind == "bool" else "number"
    if not isinstance(column, LevelCodec):
        return ""
    if not len(column.levels):
        return "string"
    kind = column.library.value_kind(column.levels)
    if kind in ("int", "float") and np.abs(np.asarray(column.levels, dtype=float)).max() > MOST_INT:
        return ""
    return {"string": "string", "int": "number", "float": "number", "bool": "number"}.get(kind, "")


def _check_columns(layout: TableLayout) -> None:
    if is_frame(layout) and "" in [str(column.name) for column in layout.schema.columns]:
        raise ValueError("ONNX needs columns that have a name, got ''. Rename it before fit.")
    for column in layout.schema.columns:
        if not _kind(column):
            raise ValueError(
                "ONNX knows numbers up to 2^53, booleans and strings, and levels of these; column "
                f"{column.name!r} is of kind {column.kind!r} (dtype {column.like.dtype}). Turn it "
                "into numbers before fit: a time into days, say."
            )


def _numeric_levels(layout: TableLayout) -> dict[int, Tensor]:
    """Levels that are numbers, by column."""
    return {
        j: torch.from_numpy(np.asarray(column.levels, dtype=np.float64))
        for j, column in enumerate(layout.schema.columns)
        if isinstance(column, LevelCodec) and _kind(column) == "number"
    }


def rename(graph: Any, prefix: str) -> None:
    """Give every value of a graph a name that begins so."""
    for node in graph.node:
        node.input[:] = [name and prefix + name for name in node.input]
        node.output[:] = [name and prefix + name for name in node.output]
    for one in (*graph.initializer, *graph.value_info, *graph.input, *graph.output):
        one.name = prefix + one.name


def _prefix(names: list[str]) -> str:
    """How no column's name begins: names of torch's graph do."""
    prefix = "net/"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    return prefix


def _free(name: str, names: list[str]) -> str:
    """The name, with underscores where a column is called so."""
    while name in names:
        name += "_"
    return name


def _columns_in(graph: Any, layout: TableLayout, output: str) -> None:
    """Put the table's columns before the graph."""
    from onnx import TensorProto, helper

    (cells,) = [one.name for one in graph.input]
    del graph.input[:]
    nodes, parts = [], []
    types = {
        "number": TensorProto.DOUBLE, "bool": TensorProto.BOOL, "string": TensorProto.STRING
    }  # fmt: skip
    if not is_frame(layout):
        own = TensorProto.FLOAT if layout.schema.dtype == np.float32 else TensorProto.DOUBLE
        width = len(layout.schema.columns)
        graph.input.append(helper.make_tensor_value_info("X", own, ["n_rows", width]))
        nodes.append(helper.make_node("Cast", ["X"], [cells], to=TensorProto.DOUBLE))
    names = [str(column.name) for column in layout.schema.columns] if is_frame(layout) else []
    prefix = f"{_prefix(names)}column/"
    for j, name in enumerate(names):
        column = layout.schema.columns[j]
        kind = _kind(column)
        if kind == "bool" and layout.standardizer.has_holes[j]:
            kind = "number"  # a boolean of ONNX can't be missing
        graph.input.append(helper.make_tensor_value_info(name, types[kind], ["n_rows", 1]))
        source = name
        if kind == "string":
            source = f"{prefix}{j}/code"
            nodes.append(_table(name, source, _strings(column), to_codes=True))
        parts.append(f"{prefix}{j}")
        nodes.append(helper.make_node("Cast", [source], parts[-1:], to=TensorProto.DOUBLE))
    if parts:
        nodes.append(helper.make_node("Concat", parts, [cells], axis=1))
    output = _free(output, names)
    nodes += [*graph.node, helper.make_node("Identity", [graph.output[0].name], [output])]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output[0].name = output


def _columns_out(graph: Any, layout: TableLayout) -> None:
    """Put the table's columns behind the graph."""
    from onnx import TensorProto, helper

    names = [str(one.name) for one in layout.schema.columns] if is_frame(layout) else ["X"]
    code = _free("code", names)
    graph.node.insert(0, helper.make_node("Identity", [code], [graph.input[0].name]))
    graph.input[0].name = code
    columns = layout.schema.columns if is_frame(layout) else [None]
    for one, name, column in zip(graph.output, names, columns, strict=True):
        if column is not None and _kind(column) == "string":
            graph.node.append(_table(one.name, name, _strings(column), to_codes=False))
            one.type.tensor_type.elem_type = TensorProto.STRING
        else:
            graph.node.append(helper.make_node("Identity", [one.name], [name]))
        one.name = name


def _strings(column: ColumnCodec) -> list[str]:
    assert isinstance(column, LevelCodec)
    return [str(level) for level in column.levels] or [NO_LEVEL]


def _table(source: str, target: str, strings: list[str], *, to_codes: bool) -> Any:
    """A table of ONNX: strings to codes, NaN for others; or codes to strings."""
    from onnx import helper

    places = range(len(strings))
    if to_codes:
        codes = [float(k) for k in places] if strings != [NO_LEVEL] else [float("nan")]
        how = {"values_floats": codes, "default_float": float("nan")}
        return helper.make_node(
            "LabelEncoder", [source], [target], domain="ai.onnx.ml", keys_strings=strings, **how
        )
    return helper.make_node(
        "LabelEncoder", [source], [target], domain="ai.onnx.ml",
        keys_int64s=list(places), values_strings=strings,
    )  # fmt: skip
