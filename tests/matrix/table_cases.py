"""Tables of every kind, what the documentation says becomes of them, and a model for each.

A case is one value of each factor. `refusals` is written by the documentation alone: the errors of
which ``fit`` owes its user one.
"""

import datetime as dt
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
from covering import covering
from scipy import sparse

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.divergences import DIVERGENCES
from sk_infovae.exceptions import SchemaError
from sk_infovae.likelihoods import LIKELIHOODS
from sk_infovae.model_selection import InfoVAEGridSearchCV

N_ROWS = 24
FAR = 1e6

REAL, COUNTED, OF_LEVELS = "real", "counted", "levels"
FAMILIES = {name: REAL for name, family in LIKELIHOODS.items() if family().standardised} | {
    "lognormal": REAL,
    "bernoulli": COUNTED,
    "poisson": COUNTED,
    "negative_binomial": COUNTED,
    "categorical": OF_LEVELS,
    "ordinal": OF_LEVELS,
}
"""Density, probability of numbers, probability of levels."""

LEFT_OUT = "left out"
"""In the place of a family, for free text that nobody asks for."""

ALLOWED = {
    "lognormal": {"positive", "counts"},
    "bernoulli": {"grey", "binary"},
    "poisson": {"counts", "binary"},
    "negative_binomial": {"counts", "binary"},
}
"""Values that a family trains on; the others take every number."""

VALUES = ("reals", "positive", "counts", "grey", "binary")
MIXED = ("price", "text", "town", "grade", "flag", "when", "rooms")
COLUMNS = {
    "one": ("x0",),
    "many": ("x0", "x1", "x2", "x3", "x4"),
    "mixed": MIXED,
    "text": ("text",),
    "town": ("town",),
    "grade": ("grade",),
    "flag": ("flag",),
    "when": ("when",),
    "rooms": ("rooms",),
    "notes": ("note", "x0", "flag"),
}
FACTORS = {
    "container": ("float64", "float32", "csr", "pandas", "polars"),
    "columns": tuple(COLUMNS),
    "values": VALUES,
    "holes": (False, True),
    "rows": ("24", "2", "one far"),
    "likelihood": ("auto", *LIKELIHOODS, "by column"),
    "categorical_features": ("from_dtype", "first", None),
    "divergence": tuple(DIVERGENCES),
    "neighbor_weight": (0.0, 2.0),
    "way": ("fit", "partial_fit", "warm_start", "search"),
}


class Case(NamedTuple):
    """One value of each factor."""

    container: str
    columns: str
    values: str
    holes: bool
    rows: str
    likelihood: str
    categorical_features: str | None
    divergence: str
    neighbor_weight: float
    way: str

    def __str__(self):
        return " ".join(map(str, self))

    @property
    def is_frame(self):
        return self.container in ("pandas", "polars")

    @property
    def names(self):
        """Of the columns; positions for an array."""
        names = COLUMNS[self.columns]
        return names if self.is_frame else tuple(range(len(names)))

    @property
    def n_rows(self):
        if self.columns == "notes":  # fewer are levels
            return 80
        return 2 if self.rows == "2" else N_ROWS


def kind_of(name):
    """What a column holds by its dtype: numbers, or as its name says."""
    return name if name in ("text", "town", "grade", "flag", "when", "note") else "number"


def values_of(case, j):
    """What the numbers of a column are."""
    name = COLUMNS[case.columns][j]
    return {"rooms": "counts", "flag": "binary"}.get(name, case.values)


def family_of(case, j):
    """The likelihood that the documentation gives a column."""
    name = COLUMNS[case.columns][j]
    if name == "note" and case.categorical_features != "first":
        return LEFT_OUT
    chosen = case.likelihood if case.likelihood != "by column" else _by_column(case).get(j, "auto")
    if chosen != "auto":
        return chosen
    if case.categorical_features == "first" and j == 0:
        return "categorical"
    automatic = {"text": "categorical", "town": "categorical", "grade": "categorical"}
    return {**automatic, "flag": "bernoulli"}.get(kind_of(name), "gaussian")


def _by_column(case):
    """Families that suit: another for each column, the last of several left to auto."""
    found = {}
    names = COLUMNS[case.columns]
    for j, name in enumerate(names if len(names) == 1 else names[:-1]):
        if name == "note":
            continue
        fixed = {"text": "categorical", "town": "categorical", "grade": "ordinal"}
        fixed |= {"when": "student_t", "flag": "poisson"}
        if name in fixed:
            found[j] = fixed[name]
            continue
        suiting = [one for one in FAMILIES if values_of(case, j) in ALLOWED.get(one, VALUES)]
        if case.categorical_features == "first" and j == 0:
            suiting = ["categorical", "ordinal"]
        if case.container == "csr":
            suiting = [one for one in suiting if FAMILIES[one] != OF_LEVELS] or suiting
        found[j] = suiting[(j + VALUES.index(case.values)) % len(suiting)]
    return found


def refusals(case):
    """The errors of which fit owes the user one; none where it trains."""
    found = [_refusal_of(case, j) for j in range(len(case.names))]
    return {error for error in found if error is not None}


def _refusal_of(case, j):
    """The error that is owed for one column."""
    kind, family = kind_of(COLUMNS[case.columns][j]), family_of(case, j)
    if family == LEFT_OUT:
        return None
    of_levels, chosen = FAMILIES[family] == OF_LEVELS, case.categorical_features == "first"
    if case.categorical_features is None and kind in ("text", "town", "grade"):
        return SchemaError
    if of_levels:
        without_order = family == "ordinal" and kind in ("text", "town", "note")
        return SchemaError if without_order or case.container == "csr" else None
    if kind in ("text", "town", "grade") or (chosen and j == 0):
        return ValueError
    if kind == "when":
        return None if family in ("gaussian", "student_t") else ValueError
    if family == "bernoulli" and case.rows == "one far" and is_far(case, j):
        return ValueError  # a large whole number suits all others that its column suits
    return None if values_of(case, j) in ALLOWED.get(family, VALUES) else ValueError


def is_far(case, j):
    """Whether the column holds the cell far outside: the first of numbers."""
    numbers = [k for k, name in enumerate(COLUMNS[case.columns]) if kind_of(name) == "number"]
    return numbers[:1] == [j]


def may_diverge(case):
    """Whether the error names what is there: a far cell in a column that is standardised."""
    families = [family_of(case, j) for j, _ in enumerate(case.names) if is_far(case, j)]
    return case.rows == "one far" and families[0] in ("gaussian", "student_t")


# The tables


def make_table(case):
    """The table of a case."""
    rng = np.random.default_rng(0)
    cells = [_cells(case, j, rng) for j in range(len(case.names))]
    holes = _holes(case)
    if not case.is_frame:
        X = np.column_stack(cells).astype(float)
        X[holes] = np.nan
        X = X.astype(np.float32) if case.container == "float32" else X
        return sparse.csr_matrix(X) if case.container == "csr" else X
    make = _pandas_series if case.container == "pandas" else _polars_series
    series = [
        make(name, list(column), holes[:, j])
        for j, (name, column) in enumerate(zip(case.names, cells, strict=True))
    ]
    if case.container == "polars":
        return pl.DataFrame(series)
    return pd.concat(series, axis=1).set_index(np.arange(case.n_rows) * 2 + 5)


def _cells(case, j, rng):
    """Python's own cells, or numbers, without holes."""
    n, name = case.n_rows, COLUMNS[case.columns][j]
    if name in ("text", "town"):
        return [["north", "süd", "", "west"][k % 4] for k in rng.permutation(n)]
    if name == "note":
        return [f"note {k}" for k in rng.permutation(n)]
    if name == "grade":
        return [["low", "mid", "high"][k % 3] for k in rng.permutation(n)]
    if name == "flag":
        return [bool(k % 2) for k in rng.permutation(n)]
    if name == "when":
        days = rng.normal(0, 300, n)
        return [dt.datetime(2020, 5, 17, 3) + dt.timedelta(days=round(day, 3)) for day in days]
    drawn = {
        "reals": lambda: rng.normal(-3, 5, n),
        "positive": lambda: np.exp(rng.normal(1, 0.5, n)),
        "counts": lambda: rng.poisson(4, n) + 1.0,
        "grey": lambda: np.append([0.0, 0.25], rng.uniform(0, 1, n))[:n],
        "binary": lambda: rng.permutation(n) % 2.0,
    }[values_of(case, j)]()
    if case.rows == "one far" and is_far(case, j):
        drawn[3] = np.rint(FAR * max(1.0, np.std(drawn)))
    return drawn


def _holes(case):
    """Which cells are missing: a column keeps one at least, a row may lose all."""
    holes = np.zeros((case.n_rows, len(case.names)), dtype=bool)
    if case.holes:
        for j in range(len(case.names)):
            holes[(j + 1) % 2 :: 5 + j, j] = True
    return holes


def _pandas_series(name, cells, holes):
    kinds = {
        "text": "str",
        "note": "str",
        "town": pd.CategoricalDtype(["north", "süd", "", "west", "nowhere"]),
        "grade": pd.CategoricalDtype(["low", "mid", "high"], ordered=True),
        "flag": "boolean" if holes.any() else "bool",
        "when": "datetime64[us]",
        "rooms": "Int64" if holes.any() else "int64",
    }
    if name == "rooms":
        cells = [int(cell) for cell in cells]
    cells = [None if hole else cell for cell, hole in zip(cells, holes, strict=True)]
    return pd.Series(cells, dtype=kinds.get(name, "float64"), name=name)


def _polars_series(name, cells, holes):
    kinds = {
        "text": pl.String,
        "note": pl.String,
        "town": pl.Categorical,
        "grade": pl.Enum(["low", "mid", "high"]),
        "flag": pl.Boolean,
        "when": pl.Datetime("us"),
        "rooms": pl.Int64,
    }
    if name == "rooms":
        cells = [int(cell) for cell in cells]
    cells = [None if hole else cell for cell, hole in zip(cells, holes, strict=True)]
    return pl.Series(name, cells, dtype=kinds.get(name, pl.Float64))


# The models


def estimator_of(case):
    """The model that a case asks for, not yet fitted."""
    likelihood = case.likelihood
    if likelihood == "by column":
        likelihood = {case.names[j]: family for j, family in _by_column(case).items()}
    chosen = [case.names[0]] if case.categorical_features == "first" else case.categorical_features
    return InfoVAETransformer(
        2,
        divergence=case.divergence,
        neighbor_weight=case.neighbor_weight,
        likelihood=likelihood,
        categorical_features=chosen,
        hidden_layer_sizes=(4,),
        max_epochs=2,
        n_importance_samples=8,
        warm_start=case.way == "warm_start",
        random_state=0,
    )


def train(case, X):
    """Fit in the case's way; a search is returned as one."""
    vae = estimator_of(case)
    if case.way == "search":
        rows = np.arange(case.n_rows)
        return InfoVAEGridSearchCV(
            vae,
            {"alpha": [0.2, 0.5]},
            scoring=metrics.neg_reconstruction_error,
            cv=[(rows, rows)],
            error_score="raise",
        ).fit(X)
    train_once = vae.partial_fit if case.way == "partial_fit" else vae.fit
    train_once(X)
    if case.way in ("partial_fit", "warm_start"):
        train_once(X)
    return vae


# The cases


def exists(case):
    """Whether there is such a table, and no other of the same cells."""
    names = COLUMNS[case.columns]
    if not case.is_frame and case.columns not in ("one", "many"):
        return False
    if case.columns == "notes" and case.rows == "2":
        return False
    varies = case.columns in ("one", "many", "mixed", "notes") or case.values == VALUES[0]
    has_numbers = any(kind_of(name) == "number" for name in names)
    return varies and (has_numbers or case.rows != "one far")


def cases(strength, refused):
    """Cases that between them hold every pair (or triple) of values of the factors."""
    factors = list(FACTORS.values())
    if refused:  # before training
        factors[-3:] = [options[:1] for options in factors[-3:]]
    places = [range(len(options)) for options in factors]
    found, rows = [], []
    for place in product(*places[:-3]):
        case = Case(*(options[k] for options, k in zip(factors, (*place, 0, 0, 0), strict=True)))
        if exists(case) and bool(refusals(case)) == refused:
            for rest in product(*places[-3:]):
                rows.append((*place, *rest))
                found.append(case)
    of_training = list(FACTORS)[-3:]
    return [
        found[k]._replace(
            **{
                name: factor[place]
                for name, factor, place in zip(of_training, factors[-3:], rows[k][-3:], strict=True)
            }
        )
        for k in covering(rows, strength)
    ]
