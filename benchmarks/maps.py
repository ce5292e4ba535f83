"""Maps of two dimensions (and more) beside PCA and UMAP: what neighbours of new rows say of them.

    python benchmarks/maps.py                                # eight tables, two components
    python benchmarks/maps.py --tables letter mnist --chosen # settings chosen for each
    python benchmarks/maps.py --clusters                     # groups that aren't there

Each table's own split, or three quarters of the rows (at most 20,000) to fit. Each method learns
a map of the training rows without the target, and places new rows by `transform`; 5-NN on the
standardised codes of the training rows (accuracy or R2 of the target of new rows, 10-NN for MNIST)
says whether neighbours on the map are alike. Seconds are those of fit and of both transforms.

PCA             of standardised numbers and indicators; pixels as grey values from 0 to 1
UMAP            of the same, defaults, `transform` for new rows (needs umap-learn)
InfoVAE         defaults
with neighbors  `RECIPE`, the same for every table; grey values under the bernoulli likelihood

--clusters counts the groups that HDBSCAN (min_cluster_size 60) sees on maps of 600 rows of a
Gaussian blob of ten columns, of a uniform cube of three, and of four blobs.

--chosen takes the settings that were chosen on a table's training rows: the first 12,800 of Letter
and 50,000 of MNIST to fit, the others to compare.
"""

import argparse
import gzip
import time
import warnings

import numpy as np
import pandas as pd
from embedding_tables import TABLES, Table
from sklearn.cluster import HDBSCAN
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import data_folder

from sk_infovae import InfoVAETransformer
from sk_infovae.preprocessing import TabularPreprocessor

MOST_ROWS = 20_000
NAMES = ("digits", "letter", "mnist", "adult", "california", "white wine", "breast", "penguins")
PIXELS = {"digits": 16, "mnist": 255}
"""What white is there."""
RECIPE = {
    "neighbor_weight": 50,
    "n_neighbors": 10,
    "hidden_layer_sizes": (256,) * 4,
    "batch_size": 256,
    "alpha": 0.9,
    "early_stopping": False,
}
MNIST = {**RECIPE, "n_neighbors": 15, "lr": 2e-3, "max_epochs": 15}
CHOSEN = {
    "letter": {
        2: {**RECIPE, "n_neighbors": 7},
        4: {**RECIPE, "neighbor_weight": 20, "alpha": 0.5},
        8: {**RECIPE, "neighbor_weight": 10, "n_neighbors": 3, "batch_size": 512,
            "max_epochs": 60, "hidden_layer_sizes": (256,) * 3},
    },
    "mnist": {2: {**MNIST, "neighbor_weight": 500}, 10: {**MNIST, "neighbor_weight": 20}},
}  # fmt: skip
"""Settings by table and number of components."""


def mnist():
    """All of MNIST's digits, its own split."""
    parts = []
    for name, n_rows in (("train", 60_000), ("t10k", 10_000)):
        folder = data_folder() / "mnist"
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as images:
            X = np.frombuffer(images.read(), np.uint8, offset=16).reshape(n_rows, 784)
        with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as labels:
            y = np.frombuffer(labels.read(), np.uint8, offset=8)
        parts.append((X.astype(np.float32), y))
    (X, y), (X_test, y_test) = parts
    return X, X_test, y, y_test


def split(name):
    """Rows to fit and new rows, their targets, and whether these are classes."""
    if name == "mnist":
        X, X_test, y, y_test = mnist()
        return X / PIXELS[name], X_test / PIXELS[name], y, y_test, True
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        table = Table(X / PIXELS[name], y, True)
    else:
        table = TABLES[name]()
    X, y, is_class = table
    if name == "letter":
        return X[:16_000], X[16_000:], y[:16_000], y[16_000:], True
    if len(y) > MOST_ROWS:
        some = np.random.default_rng(0).permutation(len(y))[:MOST_ROWS]
        y, X = y[some], X.iloc[some] if isinstance(X, pd.DataFrame) else X[some]
    return *train_test_split(X, y, random_state=0), is_class


def rival(model, name):
    """A model of numbers that takes the table: pixels as they are, all else standardised."""
    if name in PIXELS:
        return model
    numbers = make_pipeline(TabularPreprocessor(), SimpleImputer(keep_empty_features=True))
    return make_pipeline(numbers, model)


def umap(k):
    """UMAP with its defaults."""
    from umap import UMAP

    return UMAP(n_components=k, random_state=0, n_jobs=1)


METHODS = {
    "PCA": lambda k, name, chosen: rival(PCA(k, random_state=0), name),
    "UMAP": lambda k, name, chosen: rival(umap(k), name),
    "InfoVAE": lambda k, name, chosen: InfoVAETransformer(k, random_state=0),
    "with neighbors": lambda k, name, chosen: InfoVAETransformer(
        k,
        **(CHOSEN[name][k] if chosen else RECIPE),
        likelihood="bernoulli" if name in PIXELS else "auto",
        random_state=0,
    ),
}


def measure(model, parts, n_neighbors):
    """Score of the neighbours, of a logistic regression on classes, and seconds."""
    X, X_test, y, y_test, is_class = parts
    start = time.perf_counter()
    Z = model.fit(X).transform(X)
    Z_test = model.transform(X_test)
    seconds = time.perf_counter() - start
    scaler = StandardScaler().fit(Z)
    Z, Z_test = scaler.transform(Z), scaler.transform(Z_test)
    nearest = (KNeighborsClassifier if is_class else KNeighborsRegressor)(n_neighbors)
    found = nearest.fit(Z, y).score(Z_test, y_test)
    linear = np.nan
    if is_class:
        linear = LogisticRegression(max_iter=1000).fit(Z, y).score(Z_test, y_test)
    return found, linear, seconds


def print_clusters():
    """How many groups there seem to be, three seeds each."""
    print(f"{'rows':11} {'method':15} groups on three maps")
    for shape in ("blob", "cube", "four blobs"):
        for method, make in METHODS.items():
            found = []
            for seed in range(3):
                rng = np.random.default_rng(seed)
                X = rng.normal(size=(600, 10)) if shape != "cube" else rng.uniform(size=(600, 3))
                if shape == "four blobs":
                    X += 8 * rng.normal(size=(4, 10))[np.arange(600) % 4]
                Z = make(2, shape, False).fit(X).transform(X)
                groups = HDBSCAN(min_cluster_size=60, copy=True).fit_predict(Z)
                found.append(len({*groups} - {-1}))
            print(f"{shape:11} {method:15} {found}", flush=True)


def main():
    """Print a line for every map."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--components", nargs="+", type=int, default=None)
    parser.add_argument("--chosen", action="store_true", help="settings chosen for each table")
    parser.add_argument("--clusters", action="store_true", help="groups that aren't there")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.clusters:
        print_clusters()
        return
    print(f"{'table':11} {'k':>2} {'method':15} {'k-NN':>6} {'linear':>7} {'seconds':>8}")
    for name in arguments.tables:
        parts = split(name)
        for k in arguments.components or (CHOSEN[name] if arguments.chosen else [2]):
            for method in arguments.methods:
                model = METHODS[method](k, name, arguments.chosen)
                found, linear, seconds = measure(model, parts, 10 if name == "mnist" else 5)
                row = f"{name:11} {k:2} {method:15} {found:6.3f} {linear:7.3f} {seconds:8.1f}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
