"""Tables with a target, on which embeddings are compared. Not a script.

`load` gives any of `TABLES`: scikit-learn's own, and those of the folder that SK_INFOVAE_DATA
names. At most `MOST_ROWS` rows, drawn once; the target is no column of the table.
"""

import gzip
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets
from tables import adult, data_folder

MOST_ROWS = 3000


class Table(NamedTuple):
    """Columns X, target y, and whether y is a class."""

    X: object
    y: np.ndarray
    is_class: bool


def bundled(name, is_class=True):
    """One of scikit-learn's tables, as an array."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Table(X, y, is_class)


def from_csv(path, target, drop=(), is_class=False, **reading):
    """A table of the data folder, as a DataFrame."""
    frame = pd.read_csv(data_folder() / path, **reading)
    frame = frame[frame[target].notna()].reset_index(drop=True)
    y = frame.pop(target).to_numpy()
    return Table(frame.drop(columns=list(drop)), y, is_class)


def wine_quality(colour):
    """UCI wine quality: eleven measurements, and the grade."""
    X = np.loadtxt(data_folder() / "wine" / f"winequality-{colour}.csv", delimiter=",")
    return Table(X[:, :11], X[:, 11], False)


def letter():
    """UCI Letter: sixteen integers, and the letter."""
    table = pd.read_csv(data_folder() / "letter" / "LetterRecognition.csv")
    return Table(table.iloc[:, 1:].to_numpy(float), table.iloc[:, 0].to_numpy(), True)


def breast_original():
    """UCI breast cancer (original): nine integers with holes."""
    path = data_folder() / "breast" / "breast-cancer-wisconsin.data"
    X = pd.read_csv(path, header=None, na_values="?").to_numpy(float)
    return Table(X[:, 1:10], X[:, 10], True)


def mnist(n_rows=MOST_ROWS):
    """The first digits of MNIST, pixels that vary."""
    folder = data_folder() / "mnist"
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as images:
        X = np.frombuffer(images.read(16 + n_rows * 784), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as labels:
        y = np.frombuffer(labels.read(8 + n_rows), np.uint8, offset=8)
    return Table(X[:, X.std(0) > 0].astype(np.float32), y, True)


def penguins():
    """Palmer penguins: the species by island, sex and four measurements."""
    return from_csv("penguins/penguins.csv", "species", ["rownames"], is_class=True)


def titanic():
    """Who survived; without name, ticket and cabin."""
    drop = ["PassengerId", "Name", "Ticket", "Cabin"]
    return from_csv("titanic/train.csv", "Survived", drop, is_class=True)


def taxis():
    """The tip of a ride; without the total, which holds it, and the zones."""
    drop = ["total", "pickup_zone", "dropoff_zone"]
    return from_csv("taxis/taxis.csv", "tip", drop, parse_dates=["pickup", "dropoff"])


def digits():
    """Pixels that vary, spread evenly between their grey values: a density needs room."""
    X, y = datasets.load_digits(return_X_y=True)
    X = X[:, X.std(0) > 0.3]
    return Table(X + np.random.default_rng(0).uniform(size=X.shape), y, True)


TABLES = {
    "iris": lambda: bundled("iris"),
    "wine": lambda: bundled("wine"),
    "breast": lambda: bundled("breast_cancer"),
    "digits": digits,
    "diabetes": lambda: bundled("diabetes", is_class=False),
    "breast original": breast_original,
    "red wine": lambda: wine_quality("red"),
    "white wine": lambda: wine_quality("white"),
    "letter": letter,
    "mnist": mnist,
    "california": lambda: from_csv("california/housing.csv", "median_house_value"),
    "penguins": penguins,
    "titanic": titanic,
    "taxis": taxis,
    "adult": lambda: Table(*adult("train", income=False), True),
}


def load(name):
    """One of `TABLES`, at most `MOST_ROWS` rows of it."""
    X, y, is_class = TABLES[name]()
    if len(y) > MOST_ROWS:
        chosen = np.random.default_rng(0).permutation(len(y))[:MOST_ROWS]
        X = X.iloc[chosen].reset_index(drop=True) if isinstance(X, pd.DataFrame) else X[chosen]
        y = y[chosen]
    return Table(X, np.unique(y, return_inverse=True)[1] if is_class else y, is_class)


def is_numeric(X):
    """Whether the table is an array without holes, on which densities compare."""
    return isinstance(X, np.ndarray) and not np.isnan(X).any()
