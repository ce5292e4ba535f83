"""Tables through a fitted estimator into a file, block by block."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.base import BaseEstimator

from sk_infovae._base.files import replaced
from sk_infovae._table.disk import DiskTable
from sk_infovae._table.reading import parts_of
from sk_infovae._table.schema import is_frame
from sk_infovae._table.sources import BLOCK_CELLS

__all__ = ["to_parquet"]


def to_parquet(
    estimator: BaseEstimator,
    X: Any,
    path: str | os.PathLike[str],
    *,
    method: str = "transform",
    keep: Sequence[str] = (),
) -> int:
    """Write what a fitted estimator says of each row to a Parquet file.

    The table is read, and the file written, block by block, so that neither needs to fit into
    memory. An old file stays whole until all of the new one is there.

    Parameters
    ----------
    estimator : InfoVAETransformer or another estimator, such as a Pipeline
        Fitted.
    X : {ndarray, memmap, DataFrame, LazyFrame, str, Path, Dataset} of shape (n_samples, n_features)
        A table, or where one lies.
    path : str or Path
        The file to write.
    method : str, default="transform"
        A method that answers each row by itself: "transform", "impute", "score_samples",
        "predict" of a Pipeline that ends in a predictor.
    keep : sequence of str, default=()
        Columns of X that stand in the file too, before the answer. The estimator need not know
        them: keys of the rows, say.

    Returns
    -------
    n_rows : int
        Rows that were written.

    Raises
    ------
    ImportError
        Where pyarrow is missing.
    ValueError
        When the method does not give a row for each row, or ``keep`` names what can't be kept.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.files import to_parquet
    >>> X = load_iris(as_frame=True).data
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(X)
    >>> with TemporaryDirectory() as folder:
    ...     n_rows = to_parquet(vae, X, Path(folder) / "codes.parquet")
    ...     list(pd.read_parquet(Path(folder) / "codes.parquet"))
    ['infovaetransformer0', 'infovaetransformer1']
    """
    try:
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise ImportError("Parquet files are written by pyarrow: pip install pyarrow.") from error
    if isinstance(keep, str):
        raise ValueError(f"keep must be a list of names; got the string {keep!r}.")
    n_rows, writer = 0, None
    with replaced(path) as temporary:
        try:
            for block in _blocks(X):
                rows = _answer(estimator, method, block, keep)
                writer = writer or ParquetWriter(temporary, rows.schema)
                writer.write_table(rows.cast(writer.schema))
                n_rows += rows.num_rows
            if writer is None:
                raise ValueError("X must hold at least one row; got none.")
        finally:
            if writer is not None:
                writer.close()
    return n_rows


def _blocks(X: Any) -> Iterator[Any]:
    """Some rows after the others."""
    for part in parts_of(X):
        if isinstance(part, DiskTable | np.ndarray) and len(part.shape) == 2:
            size = max(1, BLOCK_CELLS // max(1, part.shape[1]))
            for start in range(0, part.shape[0], size):
                yield np.asarray(part[start : start + size])
        else:
            yield part


def _answer(estimator: Any, method: str, block: Any, keep: Sequence[str]) -> Any:
    """The columns to keep and the answer for some rows, as a table of pyarrow."""
    import pyarrow as pa

    kept, features = _divided(estimator, block, keep)
    answer = getattr(estimator, method)(features)
    is_table = is_frame(answer) or (isinstance(answer, np.ndarray) and answer.ndim in (1, 2))
    if not is_table or len(answer) != block.shape[0]:
        raise ValueError(
            "method must give a number or a row of numbers for each row of X; got "
            f"{method!r}, which gave {type(answer).__name__} of shape {np.shape(answer)}."
        )
    if not is_frame(answer):
        columns = answer.reshape(len(answer), -1).T
        answer = pa.table(dict(zip(_names(estimator, method, answer), columns, strict=True)))
    answer = _as_arrow(answer)
    taken = set(kept.column_names) & set(answer.column_names)
    if taken:
        raise ValueError(
            f"keep must not name columns that the answer has too; got {sorted(taken)}."
        )
    for name, column in zip(kept.column_names[::-1], kept.columns[::-1], strict=True):
        answer = answer.add_column(0, name, column)
    return answer


def _names(estimator: Any, method: str, answer: Any) -> list[str]:
    """Names of the columns of an array."""
    if answer.ndim == 1:
        return [method]
    d = answer.shape[1]
    names: list[str] = []
    if method == "transform":
        try:
            names = list(estimator.get_feature_names_out())
        except AttributeError:  # it has none, or a step has none
            pass
    elif method == "impute":
        names = list(getattr(estimator, "feature_names_in_", ()))
    return names if len(names) == d else [f"{method}{j}" for j in range(d)]


def _divided(estimator: Any, block: Any, keep: Sequence[str]) -> tuple[Any, Any]:
    """The columns to keep, and the block without those of them that the estimator never saw."""
    import pyarrow as pa

    if not keep:
        return pa.table({}), block
    if not is_frame(block) or not set(keep) <= set(block.columns):
        names = list(block.columns) if is_frame(block) else "an array without names"
        raise ValueError(f"keep must name columns of X; got {list(keep)}, and X has {names}.")
    known = getattr(estimator, "feature_names_in_", None)
    if known is None:  # then it counts its columns, or takes what comes
        fits = block.shape[1] == getattr(estimator, "n_features_in_", block.shape[1])
        known = block.columns if fits else ()
    foreign = [name for name in keep if name not in known]
    return _as_arrow(block[list(keep)]), nw.from_native(block).drop(foreign).to_native()


def _as_arrow(frame: Any) -> Any:
    """A DataFrame of pandas or polars as a table of pyarrow."""
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return frame
    return (
        frame.to_arrow()
        if hasattr(frame, "to_arrow")
        else pa.Table.from_pandas(frame, preserve_index=False)
    )
