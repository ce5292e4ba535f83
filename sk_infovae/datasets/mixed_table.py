"""A table of mixed columns, drawn from a known latent-variable model."""

import importlib
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from sk_infovae._base.compat import Interval, StrOptions, validate_params
from sk_infovae._base.seeds import draw_seed
from sk_infovae.datasets.truth import Array, Column, MixedTruth

FAMILIES = {
    "number": "gaussian",
    "positive": "lognormal",
    "boolean": "bernoulli",
    "category": "categorical",
    "ordinal": "ordinal",
    "count": "poisson",
}

COUNTS = ("n_numeric", "n_positive", "n_booleans", "n_categories", "n_ordinal", "n_counts")
COUNT, POSITIVE = ([Interval(Integral, low, None, closed="left")] for low in (0, 1))


@validate_params(
    {
        **{name: POSITIVE for name in ("n_samples", "n_components")},
        **{name: COUNT for name in COUNTS},
        "n_levels": [Interval(Integral, 2, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="neither")],
        "missing": [Interval(Real, 0, 1, closed="both")],
        "mechanism": [StrOptions({"mcar", "mar"})],
        "library": [StrOptions({"pandas", "polars"})],
        "random_state": ["random_state"],
        "return_truth": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_mixed_table(
    n_samples: int = 100,
    *,
    n_components: int = 2,
    n_numeric: int = 3,
    n_positive: int = 1,
    n_booleans: int = 1,
    n_categories: int = 1,
    n_ordinal: int = 1,
    n_counts: int = 1,
    n_levels: int = 4,
    noise: float = 0.5,
    missing: float = 0.0,
    mechanism: str = "mcar",
    library: str = "pandas",
    random_state: int | np.random.RandomState | None = None,
    return_truth: bool = False,
) -> Any:
    r"""Draw a table of mixed columns from a known latent-variable model.

    z is drawn from N(0, I). Given z the columns are independent, and their parameters linear in z:
    so log-likelihoods, and what the observed cells of a row say of a missing one, are integrals
    over z that the truth computes. With w of length 1 and of random direction for each column:

    - number: :math:`N(b + w'z, \text{noise}^2)`, in a unit of its own;
    - positive: :math:`\log x = N(b + w'z / 2, \text{noise}^2 / 4)`;
    - boolean: :math:`(b + w'z) / \text{noise}` as log-odds;
    - category: a softmax over :math:`(b_k + w_k'z) / \text{noise}` for the levels k;
    - ordinal: :math:`w'z / \text{noise}` plus a logistic variable, cut at fixed points [1]_;
    - count: Poisson, with log-rate :math:`b + w'z / 2`.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows.
    n_components : int, default=2
        Latent dimension. Exact answers need 1 or 2.
    n_numeric : int, default=3
        Columns of numbers, "number_0" and so on.
    n_positive : int, default=1
        Columns of positive numbers.
    n_booleans : int, default=1
        Columns of booleans.
    n_categories : int, default=1
        Columns of categories.
    n_ordinal : int, default=1
        Columns of ordered categories.
    n_counts : int, default=1
        Columns of counts.
    n_levels : int, default=4
        Levels of each category.
    noise : float, default=0.5
        How far a cell strays from what z says of it.
    missing : float, default=0.0
        Share of missing cells; with "mar" in all columns but the first, which has none.
    mechanism : {"mcar", "mar"}, default="mcar"
        Missing completely at random, or at random: with a probability that rises along the ranks
        of the first column [2]_. Neither depends on what is missing, so exact answers hold for
        both.
    library : {"pandas", "polars"}, default="pandas"
        What makes the table; it must be installed.
    random_state : int, RandomState or None, default=None
        An int gives the same table again, in either library.
    return_truth : bool, default=False
        Whether to return the model too.

    Returns
    -------
    X : DataFrame of shape (n_samples, n_columns)
        Booleans and counts are nullable, categories categorical.
    truth : MixedTruth
        Latents, the complete table, exact answers. Only with return_truth.

    References
    ----------
    .. [1] P. McCullagh, "Regression models for ordinal data", Journal of the Royal Statistical
       Society B 42, 1980, 109-142.
    .. [2] D. B. Rubin, "Inference and missing data", Biometrika 63, 1976, 581-592.

    Examples
    --------
    >>> from sk_infovae.datasets import make_mixed_table
    >>> X, truth = make_mixed_table(200, missing=0.2, random_state=0, return_truth=True)
    >>> X.shape, truth.latents.shape
    ((200, 8), (200, 2))
    >>> truth.score_samples(X).shape
    (200,)
    >>> truth.expect(X, "category_0").shape
    (200, 4)
    """
    counts = (n_numeric, n_positive, n_booleans, n_categories, n_ordinal, n_counts)
    if not sum(counts):
        raise ValueError("A table needs a column: set n_numeric, n_booleans or another to 1.")
    rng = np.random.default_rng(draw_seed(random_state))
    columns = tuple(
        _draw_law(kind, j, n_components, n_levels, noise, rng)
        for kind, count in zip(FAMILIES, counts, strict=True)
        for j in range(count)
    )
    z = rng.standard_normal((n_samples, n_components))
    cells = np.column_stack([column.draw(z, rng) for column in columns])
    probability = np.full(cells.shape, missing)
    if mechanism == "mar":
        rank = (2 * rankdata(cells[:, :1], axis=0) - 1) / n_samples - 1  # from -1 to 1, mean 0
        probability += min(missing, 1 - missing) * rank
        probability[:, 0] = 0.0
    holes = rng.random(cells.shape) < probability
    X = _table(columns, np.where(holes, np.nan, cells), library)
    if not return_truth:
        return X
    return X, MixedTruth(z, _table(columns, cells, library), holes, columns)


def _draw_law(
    kind: str, j: int, n_components: int, n_levels: int, noise: float, rng: np.random.Generator
) -> Column:
    weight = rng.standard_normal((n_levels if kind == "category" else 1, n_components))
    weight /= np.linalg.norm(weight, axis=1, keepdims=True)
    bias, unit = rng.standard_normal(len(weight)), 10 ** rng.uniform(-1, 2)
    scale, shift = {
        "number": (unit, 3 * unit * bias),
        "positive": (0.5, bias),
        "boolean": (1 / noise, bias / (2 * noise)),
        "category": (1 / noise, bias / (2 * noise)),
        "ordinal": (1 / noise, 0 * bias),
        "count": (0.5, 1.5 + bias / 2),
    }[kind]
    names = tuple(f"level_{k}" for k in range(n_levels))
    spread = np.hypot(1 / noise, np.pi / np.sqrt(3))  # of the logistic variable and w'z / noise
    return Column(
        name=f"{kind}_{j}",
        likelihood=FAMILIES[kind],
        weight=scale * weight,
        bias=shift,
        noise=scale * noise if kind in ("number", "positive") else np.nan,
        levels={"boolean": (False, True), "category": names, "ordinal": names}.get(kind, ()),
        cuts=spread * norm.ppf(np.arange(1, n_levels if kind == "ordinal" else 1) / n_levels),
    )


def _table(columns: tuple[Column, ...], cells: Array, library: str) -> Any:
    make = _polars_series if library == "polars" else _pandas_series
    try:
        frame = importlib.import_module(library).DataFrame
    except ImportError as error:
        raise ImportError(
            f"library={library!r} makes a DataFrame of {library}, which is not installed. Install "
            "it, or choose the other of 'pandas' and 'polars'."
        ) from error
    return frame({c.name: make(c, x) for c, x in zip(columns, cells.T, strict=True)})


def _pandas_series(column: Column, x: Array) -> Any:
    import pandas as pd

    if column.likelihood in ("categorical", "ordinal"):
        codes, ordered = np.where(np.isnan(x), -1, x).astype(int), column.likelihood == "ordinal"
        return pd.Categorical.from_codes(codes, column.levels, ordered=ordered)
    dtypes = {"bernoulli": "boolean", "poisson": "Int64"}
    return pd.Series(x).astype(dtypes.get(column.likelihood, "float64"))


def _polars_series(column: Column, x: Array) -> Any:
    import polars as pl

    if column.likelihood in ("categorical", "ordinal"):
        cells = [None if np.isnan(code) else column.levels[int(code)] for code in x]
        dtype = pl.Enum(column.levels) if column.likelihood == "ordinal" else pl.Categorical()
        return pl.Series(cells, dtype=dtype)
    dtypes = {"bernoulli": pl.Boolean, "poisson": pl.Int64}
    return pl.Series(x).fill_nan(None).cast(dtypes.get(column.likelihood, pl.Float64))
