"""Real tables that the benchmarks read, from the folder that SK_INFOVAE_DATA names.

Not a script. `adult` is UCI Adult in its official split; `hivae` one of HI-VAE's tables with its
published missing masks; `miwae` a numeric table of MIWAE's protocol.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

ADULT_COLUMNS = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
).split()
HIVAE_TABLES = ("Adult", "Breast", "letter", "Wine")
MIWAE_TABLES = ("breast cancer", "red wine", "white wine")
WINE_COLUMNS = 12


def data_folder():
    """The folder of data sets, or an end in one line."""
    folder = os.environ.get("SK_INFOVAE_DATA")
    if not folder or not Path(folder).is_dir():
        sys.exit("Set SK_INFOVAE_DATA to the folder that holds adult, hivae and wine.")
    return Path(folder)


def adult(part, n_rows=None, income=True):
    """Rows of Adult's "train" or "test", strings for categories, and whether income is over 50K."""
    path = data_folder() / "adult" / f"adult-{part}.csv"
    table = pd.read_csv(
        path, header=None, names=ADULT_COLUMNS, na_values="?", skipinitialspace=True, nrows=n_rows
    )
    table["income"] = table["income"].str.rstrip(".")
    rich = (table["income"] == ">50K").to_numpy()
    return (table if income else table.drop(columns="income")), rich


def hivae(name):
    """One of HI-VAE's tables.

    Returns
    -------
    X : ndarray of shape (n_rows, n_columns)
        Numbers and codes of levels, NaN where a cell is truly missing.
    types : list of str
        "real", "pos", "count", "cat" or "ordinal", by column.
    n_levels : ndarray
        By column; 1 for numbers.
    """
    folder = data_folder() / "hivae" / name
    X = np.loadtxt(folder / "data.csv", delimiter=",")
    kinds = pd.read_csv(folder / "data_types.csv")
    truly_missing = folder / "MissingTrue.csv.gz"
    if truly_missing.exists():
        X[_positions(truly_missing)] = np.nan
    return X, kinds["type"].tolist(), kinds["nclass"].fillna(1).astype(int).to_numpy()


def hivae_mask(name, shape, percent, number):
    """True for each cell that HI-VAE's published mask hides; ``number`` is 1, 2 or 3."""
    hidden = np.zeros(shape, dtype=bool)
    hidden[_positions(data_folder() / "hivae" / name / f"Missing{percent}_{number}.csv.gz")] = True
    return hidden


def _positions(path):
    """Rows and columns of a file of 1-based pairs."""
    pairs = np.loadtxt(path, delimiter=",", dtype=int, ndmin=2) - 1
    return pairs[:, 0], pairs[:, 1]


def miwae(name):
    """A numeric table, standardised, and the mask that hides half of its cells at random."""
    if name == "breast cancer":
        X = load_breast_cancer().data
    else:
        path = data_folder() / "wine" / f"winequality-{name.split()[0]}.csv"
        X = np.loadtxt(path, delimiter=",")[:, :WINE_COLUMNS]
    X = (X - X.mean(0)) / X.std(0)
    return X, np.random.default_rng(11).uniform(size=X.shape) < 0.5
