"""Defaults as an embedding and as a density, against PCA and others, on fifteen tables.

    python benchmarks/embedding_quality.py RESULTS.jsonl [--fast] [--methods ...] [--tables ...]
        [--components 2 4 8 16] [--splits 5] [--picture PNG]

Each split (three quarters of the rows to fit, its number seeds the fit too) is embedded by each
method; probes on standardised codes: 5-NN, a linear one (logistic or ridge regression) and a
small gradient boosting, by accuracy or R2 on the other quarter; trustworthiness there; held-out
nats on tables of numbers. One line of RESULTS for each embedding: what stands there is not done
again, and the report is of all that stands there. No method sees a target.

The report compares each cell (table, components, probe of 5-NN and linear) with the better of
scaled and unscaled PCA: the mean gain, and cells that are worse by more than two standard errors
of the paired difference over the splits.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from embedding_tables import TABLES, is_numeric, load
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.manifold import trustworthiness
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae.preprocessing import TabularPreprocessor

FAST = ("iris", "wine", "breast", "diabetes", "red wine", "penguins", "titanic")
PROBES = ("knn", "linear")
RIDGES = np.logspace(-3, 3, 13)
BASE = ("PCA", "PCA unscaled")


def as_numbers():
    """Standardised numbers and indicators of a table, holes at the mean."""
    return make_pipeline(TabularPreprocessor(), SimpleImputer(keep_empty_features=True))


METHODS = {
    "PCA": lambda k, seed: make_pipeline(as_numbers(), PCA(k, random_state=seed)),
    "PCA unscaled": lambda k, seed: make_pipeline(SimpleImputer(), PCA(k, random_state=seed)),
    "FactorAnalysis": lambda k, seed: make_pipeline(as_numbers(), FactorAnalysis(k)),
    "raw": lambda k, seed: as_numbers(),
    "UMAP": lambda k, seed: make_pipeline(as_numbers(), umap(k, seed)),
    "plain VAE": lambda k, seed: InfoVAETransformer(k, alpha=0, lambd=1, random_state=seed),
    "InfoVAE": lambda k, seed: InfoVAETransformer(k, random_state=seed),
    "neighbors": lambda k, seed: InfoVAETransformer(k, neighbor_weight=10, random_state=seed),
}


def umap(k, seed):
    """UMAP with its defaults (needs umap-learn)."""
    from umap import UMAP

    return UMAP(n_components=k, random_state=seed, n_jobs=1)


def probes(names, Z, y, Z_test, y_test, is_class):
    """Accuracy (R2) of 5-NN, a linear model and gradient boosting on standardised codes."""
    boosting = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
    models = {
        "knn": KNeighborsClassifier() if is_class else KNeighborsRegressor(),
        "linear": LogisticRegression(max_iter=1000) if is_class else RidgeCV(RIDGES),
        "boosting": boosting(max_iter=50, max_leaf_nodes=8, early_stopping=False),
    }
    scaler = StandardScaler().fit(Z)
    Z, Z_test = scaler.transform(Z), scaler.transform(Z_test)
    return {name: models[name].fit(Z, y).score(Z_test, y_test) for name in names}


def embed(method, k, split, table, names):
    """All figures of one embedding."""
    X, y, is_class = table
    parts = train_test_split(X, y, test_size=0.25, random_state=split)
    train, test, y_train, y_test = parts
    model, start = METHODS[method](k, split), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Z, seconds = model.fit(train).transform(train), time.perf_counter() - start
        Z_test = model.transform(test)
        found = probes(names, Z, y_train, Z_test, y_test, is_class)
        raw = as_numbers().fit(train).transform(test)
        found["trust"] = trustworthiness(raw[:1000], Z_test[:1000], n_neighbors=5)
        if is_numeric(X) and hasattr(model, "score") and method != "PCA unscaled":
            found["nats"] = standardised_score(model, train, test)
    return {"seconds": seconds, **found}


def standardised_score(model, train, test):
    """Held-out nats a row, of columns standardised by the training rows."""
    if isinstance(model, InfoVAETransformer):
        scale = train.std(0)
        return model.score(test) + np.log(scale[scale > 0]).sum()
    return model.score(test)


def todo(arguments, done):
    """Every embedding that RESULTS does not hold."""
    for name in arguments.tables:
        table = load(name)
        width = TabularPreprocessor().fit_transform(table.X).shape[1]
        for k in (k for k in arguments.components if k < width):
            for split in range(arguments.splits):
                for method in arguments.methods:
                    if method == "PCA unscaled" and not isinstance(table.X, np.ndarray):
                        continue
                    if method == "raw" and k != min(arguments.components):
                        continue
                    if (name, k, split, method) not in done:
                        yield name, k, split, method, table


def report(results):
    """Print gains over the better PCA (or the first method) by method, and where they are lost."""
    cells = results.melt(
        ["table", "k", "split", "method"], [*PROBES], var_name="probe", value_name="value"
    ).pivot_table(index=["table", "k", "probe", "split"], columns="method", values="value")
    means = cells.groupby(["table", "k", "probe"]).mean()
    against = [name for name in BASE if name in means] or [results.method[0]]
    base = means[against].idxmax(axis=1)
    better = cells.apply(lambda row: row[base[row.name[:3]]], axis=1)
    print(f"{'method':16} {'gain':>6} {'better':>7} {'worst':>7}  significantly worse cells")
    for method in (name for name in cells if name not in against):
        gain = (cells[method] - better).dropna().groupby(["table", "k", "probe"])
        mean, error = gain.mean(), gain.std() / np.sqrt(gain.count())
        worse = mean[(mean < -2 * error)]
        named = ", ".join(f"{t} {k} {p} {v:+.3f}" for (t, k, p), v in worse.sort_values().items())
        print(f"{method:16} {mean.mean():+.3f} {(mean > 0).mean():7.0%} {mean.min():+.3f}  "
              f"{len(worse)} of {len(mean)}: {named}")  # fmt: skip
    print("\nmean over tables and components")
    columns = [c for c in ("knn", "linear", "boosting", "trust", "seconds") if c in results]
    print(results.groupby("method")[columns].mean().round(3).to_string())
    if "nats" in results:
        print("\nheld-out nats, standardised columns")
        known = results[results.nats.notna()]
        nats = known.pivot_table(index=["table", "k"], columns="method", values="nats")
        print(nats.round(2).to_string())
    return cells, better


def draw(cells, better, path):
    """Each cell's gain over PCA as a dot, a row of dots for each method."""
    import matplotlib.pyplot as plt

    methods = [name for name in cells if name not in BASE]
    figure, axes = plt.subplots(figsize=(7, 1 + 0.5 * len(methods)), layout="constrained")
    for row, method in enumerate(methods):
        gain = (cells[method] - better).groupby(["table", "k", "probe"]).mean()
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(gain))
        axes.scatter(gain, row + jitter, s=9, alpha=0.6, color="#0072B2")
        axes.plot([gain.mean()] * 2, [row - 0.35, row + 0.35], color="#D55E00")
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.set(yticks=range(len(methods)), yticklabels=methods)
    axes.set_xlabel("gain over the better PCA, accuracy or R2 (bar: mean)")
    figure.savefig(path, dpi=150)


def main():
    """Fill in what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--fast", action="store_true", help=f"only {', '.join(FAST)}")
    parser.add_argument("--methods", nargs="*", default=[*BASE, "InfoVAE"], choices=METHODS)
    parser.add_argument("--tables", nargs="+", choices=TABLES)
    parser.add_argument("--components", nargs="+", type=int, default=(2, 4, 8, 16))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--probes", nargs="+", default=(*PROBES, "boosting"))
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    arguments.tables = arguments.tables or (FAST if arguments.fast else list(TABLES))
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    keys = ("table", "k", "split", "method")
    done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    with arguments.results.open("a") as file:
        for *key, table in todo(arguments, done):
            figures = embed(key[3], key[1], key[2], table, arguments.probes)
            line = dict(zip(keys, key, strict=True)) | figures
            file.write(json.dumps(line, default=float) + "\n")
            file.flush()
    cells, better = report(pd.read_json(arguments.results, lines=True))
    if arguments.picture:
        draw(cells, better, arguments.picture)


if __name__ == "__main__":
    main()
