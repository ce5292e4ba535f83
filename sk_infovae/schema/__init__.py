"""What a column is: its name, its kind, and the container that it came in."""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from sk_infovae.exceptions import SchemaError


@dataclass(frozen=True, eq=False)
class Schema:
    """Names, kinds and dtypes of the columns seen in fit, and how to build such a table again.

    Attributes
    ----------
    container : {"numpy", "pandas", "polars"}
        What `inverse_transform` and `sample` return.
    kinds : ndarray of str, shape (n_columns,)
        "float", "int" or "bool".
    names : list or None
        Column names of a DataFrame.
    dtypes : list
        Native dtype of each column of a DataFrame; one numpy dtype for an array.
    """

    container: str
    kinds: NDArray[np.str_]
    names: list[Any] | None
    dtypes: list[Any]

    def build(self, values: NDArray[np.float64], index: Any = None) -> Any:
        """Make a table of this schema from float64 values.

        Integer columns are rounded and kept within their dtype's range, boolean columns are True
        above one half. ``index`` is used for pandas only.
        """
        if self.container == "numpy":
            is_bool = self.kinds == "bool"
            values = np.where(is_bool, values > 0.5, values) if is_bool.any() else values
            return values.astype(self.dtypes[0], copy=False)
        columns = [
            _cast_cells(column, kind, dtype)
            for column, kind, dtype in zip(values.T, self.kinds, self.dtypes, strict=True)
        ]
        if self.container == "pandas":
            import pandas as pd

            frame = pd.DataFrame(
                {
                    j: pd.Series(column, index=index).astype(dtype)
                    for j, (column, dtype) in enumerate(zip(columns, self.dtypes, strict=True))
                },
                index=index,
            )
            frame.columns = self.names  # type: ignore[assignment]
            return frame
        import polars as pl

        return pl.DataFrame(
            [
                pl.Series(name, column).cast(pl.Float64 if dtype == pl.Null else dtype)
                for name, column, dtype in zip(self.names or [], columns, self.dtypes, strict=True)
            ]
        )


def _cast_cells(column: NDArray[np.float64], kind: str, dtype: Any) -> NDArray[Any]:
    if kind == "bool":
        return column > 0.5
    if kind == "int":
        name = str(dtype).lower().removesuffix("[pyarrow]").replace("128", "64")
        limits = np.iinfo(name)
        # The largest float64 below 2**63 is 2**63 - 1024: clip to what survives the cast.
        top = np.nextafter(float(limits.max) + 1, 0) if limits.bits == 64 else float(limits.max)
        return np.clip(np.rint(column), float(limits.min), top).astype(limits.dtype)
    return column


def is_frame(X: Any) -> bool:
    """Whether X is a pandas or polars DataFrame."""
    return nw.dependencies.is_pandas_dataframe(X) or nw.dependencies.is_polars_dataframe(X)


def check_readable(X: Any) -> None:
    """Refuse a DataFrame with a column that is neither a number nor a boolean.

    Raises
    ------
    SchemaError
        Naming the columns, their dtypes and the mend.
    """
    if not is_frame(X):
        return
    if X.shape[1] == 0:
        raise SchemaError(
            f"Found a DataFrame with 0 feature(s) (shape={X.shape}) while a minimum of 1 is needed."
        )
    unreadable = [
        f"{column.name!r} ({column.dtype})"
        for column in nw.from_native(X, eager_only=True).iter_columns()
        if not _is_readable(column)
    ]
    if unreadable:
        raise SchemaError(
            "Columns must hold numbers or booleans; these do not: " + ", ".join(unreadable) + ". "
            "Encode them before (OrdinalEncoder, OneHotEncoder in a ColumnTransformer), convert "
            "them to a numeric dtype, or drop them."
        )


def _is_readable(column: nw.Series) -> bool:
    """Whether a column holds numbers or booleans, or nothing at all."""
    dtype = column.dtype
    if dtype == nw.Boolean or dtype.is_integer() or dtype.is_float():
        return True
    if dtype == nw.Object:  # a pandas column that None, say, kept from a dtype of its own
        return all(isinstance(cell, Real) for cell in column.drop_nulls().to_list())
    # A column of None alone has no dtype to speak of: text to pandas, null to polars.
    return dtype in (nw.String, nw.Unknown) and column.null_count() == len(column)


def read_schema(X: Any, n_columns: int) -> Schema:
    """Read what `Schema` says of X, an array-like, CSR matrix or readable DataFrame."""
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        kinds = [
            "bool" if dtype == nw.Boolean else "int" if dtype.is_integer() else "float"
            for dtype in frame.schema.values()
        ]
        container = "pandas" if nw.dependencies.is_pandas_dataframe(X) else "polars"
        return Schema(container, np.array(kinds, dtype=str), list(X.columns), list(X.dtypes))
    dtype = np.dtype(X.dtype if hasattr(X, "dtype") else np.asarray(X).dtype)
    kind = "bool" if dtype.kind == "b" else "float"
    out = np.dtype(np.float32 if dtype == np.float32 else np.float64)
    return Schema("numpy", np.full(n_columns, kind), None, [out])
