"""What scorers and Displays ask of an estimator: its transformer, cells and reconstruction."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from sk_infovae._table.reading import TableLike, read_table
from sk_infovae.estimator import InfoVAETransformer


def vae_and_table(
    estimator: BaseEstimator, X: TableLike | None = None
) -> tuple[InfoVAETransformer, Any]:
    """The transformer in a fitted estimator, and X (where there is one) as it arrives there.

    Raises
    ------
    TypeError
        When there is none, or more than one.
    """
    found = getattr(estimator, "best_estimator_", estimator)
    if isinstance(found, InfoVAETransformer):
        return found, X
    if isinstance(found, Pipeline):
        places = [k for k, (_, step) in enumerate(found.steps) if _count_vaes(step)]
        if _count_vaes(found) == 1:
            k = places[0]
            return vae_and_table(found[k], X if X is None or not k else found[:k].transform(X))
    steps = [type(step).__name__ for _, step in getattr(found, "steps", [])]
    received = type(found).__name__ + (f" of {', '.join(steps)}" if steps else "")
    raise TypeError(
        "Scorers and Displays of sk_infovae take an InfoVAETransformer, a Pipeline with exactly "
        f"one as a step, or a search over either with refit; got {received}. Make the transformer "
        "a step of the Pipeline, or pass it by itself."
    )


def prefix_of_vae(estimator: BaseEstimator) -> str:
    """What stands before the transformer's parameters: "" or "vae__", say."""
    if isinstance(estimator, Pipeline) and _count_vaes(estimator) == 1:
        name, step = next(pair for pair in estimator.steps if _count_vaes(pair[1]))
        return f"{name}__{prefix_of_vae(step)}"
    return ""


def _count_vaes(estimator: BaseEstimator) -> int:
    """How many transformers of ours there are in a step, Pipelines within Pipelines included."""
    if isinstance(estimator, Pipeline):
        return sum(_count_vaes(step) for _, step in estimator.steps)
    return int(isinstance(estimator, InfoVAETransformer))


def some_rows(X: TableLike, most: int, seed: int) -> Any:
    """At most so many rows, in their order."""
    n_rows = X.shape[0]
    if n_rows <= most:
        return X
    return X[np.sort(np.random.default_rng(seed).choice(n_rows, most, replace=False))]


def cells_and_decoded(
    vae: InfoVAETransformer, X: TableLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """X and its reconstruction, numbers in the units of X, NaN where X has no cell.

    Counts relative to their row's total come back at that total.
    """
    mean, layout = vae.posterior(X)[0], vae._layout
    cells = read_table(vae, layout, X)
    decoded = read_table(vae, layout, layout.schema.decode(vae._model().expect(mean, cells), None))
    cells = cells.toarray() if sparse.issparse(cells) else cells
    return cells.astype(np.float64), decoded.astype(np.float64)


def columns_of_levels(vae: InfoVAETransformer) -> NDArray[np.bool_]:
    """Columns whose cells are right or wrong, but not near."""
    schema = vae._layout.schema
    return schema.has_levels | (schema.kinds == "bool")


def columns_with_distance(vae: InfoVAETransformer) -> NDArray[np.bool_]:
    """Columns of numbers, booleans as 0 and 1 included."""
    return ~vae._layout.schema.has_levels


def with_distances(vae: InfoVAETransformer, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cells, for each column of levels an indicator for each level in place of its code."""
    levels = vae._layout.schema.has_levels
    parts = [cells[:, ~levels]]
    for codes in cells[:, levels].T:
        parts.append((codes[:, None] == np.unique(codes)) / np.sqrt(2))
    return np.hstack(parts)
