"""Tables that nobody made, and what an estimator with any parameters does with them.

`outcome` is the law, of one seed; `benchmarks/fuzz_tables.py` runs it for 100,000.
"""

import warnings

import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sk_infovae import InfoVAETransformer
from sk_infovae.exceptions import PosteriorCollapseWarning, SchemaError, TrainingDivergedError

PARAMETERS = {
    "n_components": [1, 2, 3],
    "alpha": [0.0, 0.5, 1.0],
    "lambd": [1.0, 10.0, 1e4],
    "divergence": ["mmd", "mmd", "mmd", "kl", "sliced_wasserstein", "ksd", "adversarial"],
    "neighbor_weight": [0.0, 0.0, 0.0, 5.0],
    "hidden_layer_sizes": [(), (4,), (4, 4)],
    "batch_size": [3, 128],
    "lr": [1e-3, 5e-3, 5e-2],
    "early_stopping": [True, False],
    "likelihood": ["auto"] * 6 + ["gaussian", "student_t"],
}
NUMBERS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "huge": lambda rng, n: rng.normal(size=n) * 1e30,
    "largest": lambda rng, n: rng.choice([-1.7e308, 0.0, 1.7e308], n),
    "denormal": lambda rng, n: rng.normal(size=n) * 1e-310,
    "tiny spread": lambda rng, n: 1e9 + 1e-7 * rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 30, n),
    "constant": lambda rng, n: np.full(n, rng.normal()),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.normal(size=n)),
    "one far": lambda rng, n: np.where(np.arange(n) == rng.integers(n), 1e300, rng.normal(size=n)),
    "counts": lambda rng, n: rng.poisson(3, n).astype(float),
    "two values": lambda rng, n: rng.choice([0.0, 1.0], n),
    "large integers": lambda rng, n: rng.integers(-(2**62), 2**62, n),
    "unsigned": lambda rng, n: rng.integers(2**63, 2**64 - 1, n, dtype=np.uint64),
    "small integers": lambda rng, n: rng.integers(0, 3, n).astype(np.int8),
    "half": lambda rng, n: (rng.normal(size=n) * 6e4).clip(-6.5e4, 6.5e4).astype(np.float16),
    "boolean": lambda rng, n: rng.random(n) < 0.3,
}
STRINGS = ["", " ", "a", "A", "\u00e9", "e\u0301", "\U0001f600", "nan", "None", "0", "long " * 99]


def levels(rng, n):
    """Cells of few strings, odd ones among them."""
    some = rng.choice(STRINGS, rng.integers(1, len(STRINGS)), replace=False)
    return rng.choice(some, n)


def times(rng, n):
    """Days, some of them far away."""
    days = np.datetime64("1970-01-01", "D") + rng.integers(-40_000, 40_000, n)
    return days.astype("datetime64[s]")


OTHERS = {
    "levels": levels,
    "category": lambda rng, n: pd.Categorical(levels(rng, n), categories=STRINGS),
    "times": times,
    "spans": lambda rng, n: rng.integers(-(10**9), 10**9, n).astype("timedelta64[s]"),
    "names": lambda rng, n: np.array([f"name {k} {rng.integers(99)}" for k in range(n)]),
}


def with_holes(rng, column):
    """The column, some or all of its cells missing, as a pandas Series."""
    column = pd.Series(column)
    share = rng.choice([0.0, 0.0, 0.3, 1.0], p=[0.5, 0.2, 0.28, 0.02])
    return column.mask(rng.random(len(column)) < share) if share else column


def make_table(rng):
    """A table in some container."""
    n_rows, n_columns = int(rng.integers(1, 41)), int(rng.integers(1, 7))
    as_what = rng.choice(["array", "csr", "pandas", "polars"], p=[0.4, 0.1, 0.3, 0.2])
    kinds = NUMBERS if as_what in ("array", "csr") else NUMBERS | OTHERS
    names = rng.choice(list(kinds), n_columns)
    columns = [with_holes(rng, kinds[name](rng, n_rows)) for name in names]
    if rng.random() < 0.2:  # one that repeats another, but for a last digit
        other = pd.to_numeric(columns[0], errors="coerce").astype(float)
        columns.append(other * (1 + rng.choice([0.0, 1e-15, 1e-8])))
    frame = pd.concat(columns, axis=1)
    frame.columns = [f"{k} {name}" for k, name in enumerate([*names, "twin"][: len(columns)])]
    if as_what == "pandas":
        return frame
    if as_what == "polars":
        return pl.from_pandas(frame)
    X = frame.astype(float).to_numpy()
    X = X.astype(rng.choice(["f4", "f8"])) if np.nanmax(np.abs(X), initial=0) < 1e38 else X
    return sparse.csr_matrix(X) if as_what == "csr" else X


def make_estimator(rng):
    """An estimator with parameters of all kinds, trained for two epochs."""
    chosen = {name: some[rng.integers(len(some))] for name, some in PARAMETERS.items()}
    return InfoVAETransformer(max_epochs=2, n_importance_samples=4, random_state=0, **chosen)


def check(vae, X):
    """Every answer is finite, and of the table's shape."""
    n_rows, n_columns = X.shape
    Z = vae.transform(X)
    assert Z.shape == (n_rows, vae.n_components)
    assert np.isfinite(Z).all(), "codes"
    for name, table in {
        "inverse_transform": vae.inverse_transform(Z),
        "sample": vae.sample(3, random_state=0),
        "impute": vae.impute(X),
    }.items():
        assert table.shape[1] == n_columns, name
        if isinstance(table, np.ndarray):
            assert np.isfinite(table).all(), name
    assert np.isfinite(vae.score_samples(X)).all(), "scores"
    if isinstance(X, np.ndarray):
        far = X.astype(float)
        far[0, -1] = 1e300
        assert np.isfinite(vae.transform(far)).all(), "codes of a cell far out"
        assert np.isfinite(vae.score_samples(far)).all(), "scores of a cell far out"


def outcome(seed):
    """What became of a table: a word, or what went wrong."""
    rng = np.random.default_rng(seed)
    X, vae = make_table(rng), make_estimator(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Column.*free text", UserWarning)
        try:
            vae.fit(X)
        except TrainingDivergedError:
            return "diverged"
        except SchemaError:
            return "refused"
        except ValueError as error:
            return "refused" if type(error) is ValueError else f"fit: {type(error)}: {error}"
        check(vae, X)
    return "all the way"
