"""`TabularPreprocessor`: a DataFrame as numbers, and exactly back."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sk_infovae._base.compat import StrOptions, _check_feature_names_in, _fit_context
from sk_infovae._base.links import Documented
from sk_infovae._base.warn import warn_user
from sk_infovae._model.layout import ColumnSpec, read_schema
from sk_infovae._table.features import Indicators, Scaled
from sk_infovae._table.reading import TableLike, check_table, dtype_of, to_cpu
from sk_infovae._table.schema import LevelCodec, is_frame
from sk_infovae._table.standardizer import Standardizer
from sk_infovae._table.texts import left_out_message

__all__ = ["TabularPreprocessor"]


class TabularPreprocessor(Documented, TransformerMixin, BaseEstimator):
    """Turn a table of mixed columns into numbers, and numbers back into such a table.

    `InfoVAETransformer` reads and writes its tables by the same rules; on its own this stands
    before PCA or any other estimator of numbers, and gives back what `ColumnTransformer` can't.

    A number becomes its distance from the column's centre in units of its spread (mean and
    standard deviation, of cells within thirty interquartile ranges of the quartiles), a boolean 0
    or 1, a time the same as a number, in days; a string or category an indicator for each level
    seen in fit. Missing numbers are NaN, a missing category has no indicator set.

    `inverse_transform` restores names, order, dtypes, categories, time zones and units. Of numbers
    that no step in between has changed it gives back the very cells; only floats of 14 digits and
    more may differ in the last one. Where a float64 can't hold a column of fit (nanoseconds over
    years, integers beyond 2^53, floats of very different sizes), a feature more carries what is
    left, scaled like the column and so of no weight to PCA. Numbers that were changed are rounded
    where the dtype is an integer, and stay non-negative where fit saw no negative one.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns to read as categories, besides strings and categories: a boolean mask, names or
        positions, as in `sklearn.ensemble.HistGradientBoostingClassifier`. None allows none.
    encoding : {"onehot", "ordinal"}, default="onehot"
        An indicator for each level, or one feature with the level's code (the most frequent level
        is 0), NaN where missing.
    handle_unknown : {"missing", "error"}, default="missing"
        What becomes of a level that fit did not see.
    text_features : {"drop", "error"}, default="drop"
        What becomes of free text, see `InfoVAETransformer`: "drop" gives it no feature, and
        inverse_transform returns the column empty.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of str
        Column names seen in fit, where all are strings.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_infovae.preprocessing import TabularPreprocessor
    >>> df = pd.DataFrame({"age": [31, 54, 40], "city": ["Rome", None, "Oslo"]})
    >>> numbers = TabularPreprocessor().fit(df)
    >>> numbers.transform(df).shape
    (3, 3)
    >>> numbers.inverse_transform(numbers.transform(df)).equals(df)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "encoding": [StrOptions({"onehot", "ordinal"})],
        "handle_unknown": [StrOptions({"missing", "error"})],
        "text_features": [StrOptions({"drop", "error"})],
    }

    def __init__(
        self,
        *,
        categorical_features: str | Sequence[Any] | None = "from_dtype",
        encoding: str = "onehot",
        handle_unknown: str = "missing",
        text_features: str = "drop",
    ):
        self.categorical_features = categorical_features
        self.encoding = encoding
        self.handle_unknown = handle_unknown
        self.text_features = text_features

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: TableLike, y: Any = None) -> Self:
        """Measure the columns.

        Parameters
        ----------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Rows to learn dtypes, levels and scales from; NaN, None, NaT and NA are missing cells.
        y : ignored
            Only for scikit-learn's conventions.

        Returns
        -------
        self : TabularPreprocessor
            The fitted preprocessor.

        Raises
        ------
        SchemaError
            For nested cells and other columns that can't be read, and where no column is left
            beside free text.
        """
        dtype = dtype_of(to_cpu(X))
        X = check_table(self, X, reset=True, accept_sparse=False)
        spec = ColumnSpec(
            categorical_features=self.categorical_features, text_features=self.text_features
        )
        self._schema, likelihoods = read_schema(X, dtype, spec)
        if self._schema.left_out:
            warn_user(left_out_message(self._schema.left_out), UserWarning)
        self._features = list(self._measure(X, [one.standardised for one in likelihoods]))
        return self

    def _measure(self, X: Any, standardised: Sequence[bool]) -> Iterator[Scaled | Indicators]:
        """What each column becomes, by the rows of fit."""
        parts = zip(self._schema.columns, self._schema.read(X), standardised, strict=True)
        for column, (series, cells), scaled in parts:
            if isinstance(column, LevelCodec) and self.encoding == "onehot":
                yield Indicators(column, bool(np.isnan(cells).any()))
                continue
            measured = Standardizer.fit(cells[:, None], np.array([scaled]))
            centre, scale = float(measured.centre[0]), float(measured.scale[0])
            yield Scaled.fit(column, series, cells, centre, scale)

    def transform(self, X: TableLike) -> NDArray[np.float64]:
        """Turn a table into numbers.

        Parameters
        ----------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            With the columns seen in fit; pandas and polars stand for each other.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features_out), float64
            NaN where a number is missing.
        """
        check_is_fitted(self)
        X = check_table(self, X, accept_sparse=False)
        Z = np.empty((X.shape[0], self._n_features_out))
        read = self._schema.read(X, self.handle_unknown)
        for one, place, (series, cells) in zip(self._features, self._places, read, strict=True):
            Z[:, place] = one.encode(series, cells)
        return Z

    def inverse_transform(self, Z: TableLike) -> Any:
        """Turn numbers back into a table.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features_out)
            As transform returns them; of several indicators the largest counts, and none or what
            they lack of 1 stands for a missing category.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            In the columns and dtypes of the X seen in fit. A pandas Z keeps its index.
        """
        check_is_fitted(self)
        index = Z.index if is_frame(Z) and hasattr(Z, "index") else None
        Z = check_array(
            Z,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_features=0,
            input_name="Z",
        )
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z must have the {self._n_features_out} columns that transform returns; got "
                f"{Z.shape[1]}."
            )
        parts = zip(self._features, self._places, strict=True)
        return self._schema.build([one.decode(Z[:, place]) for one, place in parts], index)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the features: the column's, or column and level, or column and "remainder".

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None takes those seen in fit, or x0, x1, ... without such.

        Returns
        -------
        names : ndarray of str
            One for each feature.
        """
        check_is_fitted(self)
        given = _check_feature_names_in(self, input_features)
        columns = zip(self._features, given[self._schema.places], strict=True)
        names = [name for one, column in columns for name in one.names(column)]
        return np.array(names, dtype=object)

    @property
    def _places(self) -> list[slice]:
        """Where the features of each column are."""
        ends = np.cumsum([one.width for one in self._features]).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    @property
    def _n_features_out(self) -> int:
        return sum(one.width for one in self._features)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
