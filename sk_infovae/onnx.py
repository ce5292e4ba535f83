"""Pipelines with an `InfoVAETransformer` as graphs of ONNX, by skl2onnx."""

from sk_infovae._files.skl2onnx_ import ALIAS, convert, output_shapes, parse
from sk_infovae.estimator import InfoVAETransformer

__all__ = ["register_converter"]


def register_converter() -> None:
    """Tell skl2onnx how to convert an `InfoVAETransformer` that is a step of a Pipeline.

    ``skl2onnx.to_onnx(pipeline, X)`` then gives one graph of all steps, which has a result for
    ``transform`` of a Pipeline that ends in the transformer, for ``predict`` of one that ends in a
    classifier. An `InfoVAETransformer` alone needs no converter:
    see `InfoVAETransformer.export_onnx`.

    Raises
    ------
    ImportError
        Where skl2onnx is missing: ``pip install "sk-infovae[onnx]"``.

    Notes
    -----
    A step that was fitted on an array takes the steps' tensor before it as it is. One that was
    fitted on a DataFrame takes inputs by its columns' names,
    ``initial_types=[("age", DoubleTensorType([None, 1])), ("town", StringTensorType([None, 1]))]``,
    or a table of numbers in the order of its columns.
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError(
            f"register_converter needs the package skl2onnx ({error}). "
            'Install it: pip install "sk-infovae[onnx]".'
        ) from error
    update_registered_converter(InfoVAETransformer, ALIAS, output_shapes, convert, parser=parse)
