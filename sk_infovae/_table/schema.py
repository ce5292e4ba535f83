"""What the columns of a table are, and how such a table is built again."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sk_infovae._table.codecs import LIBRARIES, ColumnCodec, LevelCodec, NumberCodec, fit_column
from sk_infovae._table.infinity import finite
from sk_infovae._table.kinds import within
from sk_infovae._table.sources import BlockTable, LazyColumns, spooled
from sk_infovae._table.texts import RawColumn, TextColumn
from sk_infovae.exceptions import SchemaError

__all__ = ["LevelCodec", "RawColumn", "Schema", "is_frame", "read_columns"]


@dataclass(frozen=True, eq=False)
class Schema:
    """The columns seen in fit, and the container that they came in.

    Everything but `build`, `every` and `left_out` speaks of the columns that have cells: free text
    has none, is passed by on the way in, and comes back empty.

    Attributes
    ----------
    container : {"numpy", "pandas", "polars"}
        What `decode` returns.
    every : tuple of ColumnCodec or TextColumn
        All columns of the table.
    dtype : numpy dtype
        Of the array that `decode` returns where it returns one.
    header : native index
        The names of a DataFrame as its library keeps them.
    """

    container: str
    every: tuple[ColumnCodec | TextColumn, ...]
    dtype: np.dtype
    header: Any = None

    @classmethod
    def fit(cls, X: Any, raw: Sequence[RawColumn], likelihoods: Sequence[Any]) -> "Schema":
        """Measure the columns; likelihoods say which are levels, and whether in order.

        A likelihood is None for a column of the kind "text".
        """
        container = container_of(X)
        series = _native(X, [one is not None and one.has_levels for one in likelihoods])
        columns: list[ColumnCodec | TextColumn] = []
        for one, cells, likelihood in zip(raw, series, likelihoods, strict=True):
            if likelihood is None:
                like = LIBRARIES[container].like(cells)
                columns.append(TextColumn(one.name, like, container))
                continue
            if container == "numpy" and not likelihood.has_levels:
                columns.append(NumberCodec(one.name, one.kind, None, container))
                continue
            levels, ordered = likelihood.has_levels, likelihood.is_ordered
            columns.append(
                fit_column(one.name, one.kind, cells, container, levels=levels, ordered=ordered)
            )
        float32 = container == "numpy" and X.dtype == np.float32
        dtype = np.dtype(np.float32 if float32 else np.float64)
        head = X.head if isinstance(X, BlockTable) else X
        header = LIBRARIES[container].header(head) if is_frame(head) else None
        return cls(container, tuple(columns), dtype, header)

    @property
    def columns(self) -> list[ColumnCodec]:
        """The columns that have cells."""
        return [column for column in self.every if isinstance(column, ColumnCodec)]

    @property
    def left_out(self) -> list[Hashable]:
        """Names of the columns of free text."""
        return [column.name for column in self.every if isinstance(column, TextColumn)]

    @property
    def places(self) -> list[int]:
        """Where the columns that have cells stand in the table."""
        return [j for j, column in enumerate(self.every) if isinstance(column, ColumnCodec)]

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values for each column of the table, NaN where it has no cells."""
        spread = np.full((len(self.every), *values.shape[1:]), np.nan)
        spread[self.places] = values
        return spread

    @property
    def kinds(self) -> NDArray[np.str_]:
        """Kind of every column."""
        return np.array([column.kind for column in self.columns], dtype=str)

    @property
    def names(self) -> list[Hashable]:
        """Name of every column; its position in an array."""
        return [column.name for column in self.columns]

    @property
    def has_levels(self) -> NDArray[np.bool_]:
        """Which columns hold levels."""
        return np.array([isinstance(column, LevelCodec) for column in self.columns], dtype=bool)

    def encode(self, X: Any, handle_unknown: str = "missing") -> Any:
        """Cells of a table, float ndarray or CSR matrix, NaN where missing.

        Raises
        ------
        ValueError
            For an infinite cell of a DataFrame (those of an array were refused before).
        SchemaError
            For a column of another kind than in fit; with handle_unknown="error" for a level that
            fit did not see.
        """
        if isinstance(X, BlockTable):
            return spooled(X, lambda block: self.encode(block, handle_unknown))
        X = self.as_fitted(X)
        if not (is_frame(X) or self.has_levels.any()):
            return X
        cells = np.empty((X.shape[0], len(self.columns)), dtype=np.float64)
        for j, (_, part) in enumerate(self.read(X, handle_unknown)):
            cells[:, j] = part
        return cells

    def read(
        self, X: Any, handle_unknown: str = "missing"
    ) -> Iterator[tuple[Any, NDArray[np.float64]]]:
        """The columns of a table and their cells, one after the other; as `encode`."""
        X = self.as_fitted(X)
        for column, series in zip(self.columns, self._with_cells(X), strict=True):
            if is_frame(X):
                column.check(series)
            cells = column.encode(series)
            finite(cells[:, None], [column.name])
            if handle_unknown == "error" and isinstance(column, LevelCodec):
                column.check_seen(series, cells)
            yield series, cells

    def as_fitted(self, X: Any) -> Any:
        """X in the container seen in fit; an array of plain numbers is as good.

        Raises
        ------
        SchemaError
            Where the other container can't hold what fit saw.
        """
        if container_of(X) == self.container:
            return X
        if is_frame(X):
            return self._from_frame(X)
        other = [column for column in self.every if not isinstance(column, NumberCodec)]
        if other:
            raise SchemaError(
                f"Fit saw a DataFrame whose column {other[0].name!r} (dtype {other[0].like.dtype}) "
                "an array can't hold. Pass a DataFrame."
            )
        return X

    def _from_frame(self, X: Any) -> Any:
        """A DataFrame in the other library, or as an array of numbers."""
        raw = read_columns(X)
        if self.container != "numpy":
            library = LIBRARIES[self.container]
            return self._table([library.from_other(one.series) for one in raw])
        for one in raw:
            if one.kind not in NumberCodec.reads:
                raise SchemaError(
                    f"Fit saw an array of numbers; column {one.name!r} ({one.series.dtype}) of "
                    "this DataFrame holds none. Pass the kind of table that fit saw."
                )
        library = LIBRARIES[container_of(X)]
        return np.column_stack([library.floats(one.series) for one in raw])

    def _with_cells(self, X: Any) -> Sequence[Any]:
        """The native columns that have cells."""
        series = _native(X)
        return [series[j] for j in self.places]

    def decode(
        self,
        cells: NDArray[np.float64],
        index: Any = None,
        remainders: Sequence[Any] | None = None,
    ) -> Any:
        """Build a table of this schema from cells; ``index`` is used for pandas only.

        Integers are rounded, booleans are True above one half, and neither leaves its dtype's
        range; a column of a DataFrame without negative numbers in fit stays without. Remainders,
        one or None for each column, are those of `ColumnCodec.remainder`.
        """
        if self.container == "numpy" and set(self.kinds) == {"float"} and not any(self.has_levels):
            return within(cells, self.dtype)
        rests = remainders or [None] * len(self.columns)
        parts = zip(self.columns, cells.T, rests, strict=True)
        return self.build([column.decode(part, rest) for column, part, rest in parts], index)

    def holes(self, X: Any) -> NDArray[np.bool_]:
        """Which cells of a table are missing (and not: of an unseen level), as a dense array."""
        if sparse.issparse(X):
            return np.isnan(X.toarray())
        if not is_frame(X):
            return np.isnan(X)
        library = LIBRARIES[container_of(X)]
        return np.column_stack([library.missing(series) for series in self._with_cells(X)])

    def fill(
        self, X: Any, holes: NDArray[np.bool_], rows: NDArray[np.intp], cells: NDArray[np.float64]
    ) -> Any:
        """X with its holes filled, everything else as it was.

        Parameters
        ----------
        X : ndarray, CSR matrix or DataFrame
            Of the container seen in fit.
        holes : ndarray of bool, shape (n_rows, n_columns)
        rows : ndarray of int
            The rows with holes.
        cells : ndarray of shape (len(rows), n_columns)
            Cells for them.
        """
        if is_frame(X):
            whole, filled = np.zeros(len(X)), list(_native(X))
            for j, (place, column) in enumerate(zip(self.places, self.columns, strict=True)):
                whole[rows] = cells[:, j]
                decoded = column.decode(whole)
                filled[place] = column.library.fill(filled[place], holes[:, j], decoded)
            return self._table(filled, getattr(X, "index", None))
        X, decoded = X.copy(), self.decode(cells)
        if is_frame(decoded):
            decoded = np.column_stack(
                [
                    column.library.floats(series)
                    for column, series in zip(self.columns, _native(decoded), strict=True)
                ]
            )
        if sparse.issparse(X):
            table = X.tolil()
            for row, values in zip(rows, decoded, strict=True):
                table[row, holes[row]] = values[holes[row]]
            return table.tocsr().astype(X.dtype)
        X[holes] = decoded[holes[rows]]
        return X

    def build(self, columns: Sequence[Any], index: Any = None) -> Any:
        """A table of the native columns that have cells; the others are missing in it."""
        n_rows, with_cells = len(columns[0]), iter(columns)
        every = [
            column.empty(n_rows) if isinstance(column, TextColumn) else next(with_cells)
            for column in self.every
        ]
        return self._table(every, index)

    def _table(self, columns: Sequence[Any], index: Any = None) -> Any:
        """A table of all its native columns."""
        if self.container == "numpy":
            return within(np.column_stack(columns), self.dtype)
        return LIBRARIES[self.container].frame(list(columns), self.header, index)


def is_frame(X: Any) -> bool:
    """Whether X is a pandas or polars DataFrame."""
    return nw.dependencies.is_pandas_dataframe(X) or nw.dependencies.is_polars_dataframe(X)


def container_of(X: Any) -> str:
    """Key of `LIBRARIES`: "pandas", "polars", or "numpy" for everything else."""
    if isinstance(X, BlockTable):
        return X.container
    if not is_frame(X):
        return "numpy"
    return "pandas" if nw.dependencies.is_pandas_dataframe(X) else "polars"


def _native(X: Any, wanted: Sequence[bool] | None = None) -> Sequence[Any]:
    """The columns of a DataFrame, or (where ``wanted``) those of an array."""
    if isinstance(X, BlockTable):
        return LazyColumns(X)
    if is_frame(X):
        return LIBRARIES[container_of(X)].columns(X)
    if isinstance(X, np.ndarray):
        return list(X.T)
    if wanted is not None and any(wanted):
        raise SchemaError(
            "Levels (a categorical or ordinal likelihood) can't be read from a CSR matrix or a "
            "memmap. Pass a dense array in memory or a DataFrame."
        )
    return [None] * X.shape[1]


def read_columns(X: Any, dtype: Any = np.float64) -> list[RawColumn]:
    """Names and kinds of the columns of X.

    Parameters
    ----------
    X : ndarray, CSR matrix or DataFrame
        Arrays hold floats.
    dtype : numpy dtype
        What an array was before it became one of floats: booleans are known by it.

    Raises
    ------
    SchemaError
        Naming the columns that can't be read, their dtypes and the mend.
    """
    if isinstance(X, BlockTable):
        heads = enumerate(read_columns(X.head))
        return [replace(one, source=partial(X.series, j)) for j, one in heads]
    if not is_frame(X):
        kind = "bool" if np.dtype(dtype).kind == "b" else "float"
        return [RawColumn(j, kind, None) for j in range(X.shape[1])]
    if X.shape[1] == 0:
        raise SchemaError(
            f"Found a DataFrame with 0 feature(s) (shape={X.shape}) while a minimum of 1 is needed."
        )
    library = LIBRARIES[container_of(X)]
    columns = library.columns(X)
    kinds = [library.kind_of(series) for series in columns]
    unreadable = [
        f"{name!r} ({series.dtype})"
        for name, kind, series in zip(X.columns, kinds, columns, strict=True)
        if kind is None
    ]
    if unreadable:
        raise SchemaError(
            "Columns must hold numbers, booleans, categories, strings or times; these do not: "
            + ", ".join(unreadable)
            + ". Convert them to one of these, spread nested cells over columns of their own, or "
            "drop them."
        )
    return [RawColumn(*one) for one in zip(X.columns, kinds, columns, strict=True)]
