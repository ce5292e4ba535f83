"""Tables to draw, and small models of them."""

import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse
from small_tables import holes, table


def mixed(n=60):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(table(n, 2), columns=["a", "b"])
    frame["city"] = rng.choice(["Oslo", "Rome", None], n)
    frame["yes"] = rng.random(n) < 0.4
    frame["count"] = rng.poisson(3, n)
    frame["since"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    frame["note"] = [f"note {k}" for k in range(n)]
    frame.loc[::7, "a"] = np.nan
    return frame


TABLES = {
    "numbers": table,
    "holes": lambda: holes(table()),
    "float32": lambda: table().astype(np.float32),
    "sparse": lambda: sparse.csr_matrix(np.where(table() > 0.5, table(), 0.0)),
    "constant column": lambda: np.column_stack([table(), np.ones(60)]),
    "pandas": mixed,
    "polars": lambda: pl.from_pandas(mixed()),
    "levels alone": lambda: mixed()[["city", "yes"]],
}
