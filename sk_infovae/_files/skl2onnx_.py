"""An estimator as a part of a graph of skl2onnx: a step of a Pipeline."""

from typing import Any

from sk_infovae._files.onnx_ import is_frame, make_model, rename

NEEDS_COLUMNS = (
    "A step that was fitted on a DataFrame takes each column by its name, "
    "initial_types=[(name, DoubleTensorType([None, 1])), ...], or numbers side by side; strings "
    "where fit saw strings, and only there. It needs {0}, got {1}."
)


ALIAS = "SkInfoVAETransformer"
"""What skl2onnx calls the step."""


def parse(scope: Any, vae: Any, inputs: list[Any], custom_parsers: Any = None) -> Any:
    """Declare the step: it gives codes, float32, whatever it takes."""
    from skl2onnx.common.data_types import FloatTensorType

    operator = scope.declare_local_operator(ALIAS, vae)
    operator.inputs = inputs
    code = scope.declare_local_variable("code", FloatTensorType([None, vae._n_features_out]))
    operator.outputs.append(code)
    return operator.outputs


def output_shapes(operator: Any) -> None:
    """Say nothing more: `parse` has."""


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Put the estimator's graph between the operator's inputs and its output."""
    from onnx import TensorProto

    model = make_model(operator.raw_operator, "transform")
    graph, opsets = model.graph, {one.domain: one.version for one in model.opset_import}
    names, wanted = zip(*((one.name, _kind(one.type)) for one in graph.input), strict=True)
    prefix = scope.get_unique_variable_name("InfoVAE") + "/"
    rename(graph, prefix)
    parts = Parts(scope, container, prefix, opsets[""])
    if is_frame(operator.raw_operator._layout):
        sources = parts.columns(operator, names)
        kinds = [source[1] for source in sources]
        if [k == TensorProto.STRING for k in kinds] != [w == TensorProto.STRING for w in wanted]:
            given = {one.raw_name: one.type for one in operator.inputs}
            raise ValueError(NEEDS_COLUMNS.format(dict(zip(names, wanted, strict=True)), given))
    else:
        sources = [parts.side_by_side(operator)]
    for one, (source, kind), own in zip(graph.input, sources, wanted, strict=True):
        cast = {} if kind == own else {"to": own}
        parts.add("Cast" if cast else "Identity", [source], one.name, **cast)
    for node in graph.node:
        node.name = scope.get_unique_operator_name(node.op_type)
    container.initializers.extend(graph.initializer)
    container.nodes.extend(graph.node)
    container.node_domain_version_pair_sets.update(opsets.items())
    parts.add("Identity", [graph.output[0].name], operator.outputs[0].full_name)


Source = tuple[str, int]
"""Name of a tensor, and the type of its elements in ONNX."""


def _kind(type_: Any) -> int:
    return type_.tensor_type.elem_type


def _source(variable: Any) -> Source:
    return variable.full_name, _kind(variable.type.to_onnx_type())


class Parts:
    """Nodes around an estimator's graph.

    Parameters
    ----------
    scope, container : object
        skl2onnx's.
    prefix : str
        How names of the step begin.
    opset : int
        Version of ONNX' operators.
    """

    def __init__(self, scope: Any, container: Any, prefix: str, opset: int):
        self.scope, self.container, self.prefix, self.opset = scope, container, prefix, opset

    def add(self, kind: str, sources: list[str], target: str, **attributes: Any) -> str:
        """One more node; returns its output."""
        name = self.scope.get_unique_operator_name(kind)
        self.container.add_node(
            kind, sources, target, op_version=self.opset, name=name, **attributes
        )
        return target

    def side_by_side(self, operator: Any) -> Source:
        """All inputs as one table of numbers."""
        from onnx import TensorProto

        if len(operator.inputs) == 1:
            return _source(operator.inputs[0])
        numbers = [
            self.add("Cast", [one.full_name], f"{self.prefix}input/{k}", to=TensorProto.DOUBLE)
            for k, one in enumerate(operator.inputs)
        ]
        table = self.add("Concat", numbers, f"{self.prefix}input", axis=1)
        return table, TensorProto.DOUBLE

    def columns(self, operator: Any, names: tuple[str, ...]) -> list[Source]:
        """Each column by its name, or by its place among the columns of fit."""
        from onnx import TensorProto

        by_name = {one.raw_name: one for one in operator.inputs}
        if by_name.keys() >= set(names):
            return [_source(by_name[name]) for name in names]
        seen = list(operator.raw_operator.feature_names_in_)
        widths = [one.type.shape[1] for one in operator.inputs]
        if None in widths or sum(widths) != len(seen):
            raise ValueError(NEEDS_COLUMNS.format(list(names), list(by_name)))
        table, kind = self.side_by_side(operator)
        found = []
        for name in names:
            place = f"{self.prefix}place/{name}"
            self.container.add_initializer(place, TensorProto.INT64, [1], [seen.index(name)])
            target = f"{self.prefix}input/{name}"
            found.append((self.add("Gather", [table, place], target, axis=1), kind))
        return found
