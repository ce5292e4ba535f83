"""Imputation with defaults, beside scikit-learn's imputers and missForest, on tables of numbers.

    python benchmarks/imputation.py RESULTS.jsonl [--methods ...] [--tables ...] [--masks 3]

20 and 50 % of the cells are hidden at random; the table is standardised by what is left; mean
squared error on the hidden cells, so that means cost about 1. Nothing is chosen by hand:
"InfoVAE" has ten components (or one fewer than columns) and defaults otherwise, "InfoVAE, chosen"
takes the number of components of 2, 5, 10 whose held-out score is best. missForest is
`IterativeImputer` over a forest of 100 trees, as scikit-learn's user guide has it. One line of
RESULTS for each table filled; what stands there is not done again.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from embedding_tables import load
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from sk_infovae import InfoVAETransformer
from sk_infovae.model_selection import InfoVAEGridSearchCV

TABLES = ("iris", "wine", "breast", "diabetes", "red wine", "white wine", "letter", "california")
SHARES = (0.2, 0.5)


def chosen(X, seed):
    """The default with the best number of components by its held-out score."""
    sizes = [k for k in (2, 5, 10) if k < X.shape[1]]
    search = InfoVAEGridSearchCV(
        InfoVAETransformer(random_state=seed), {"n_components": sizes}, cv=3
    )
    return search.fit(X).best_estimator_.impute(X)


def with_ten(X, seed):
    """Ten components, or one fewer than columns."""
    k = min(10, X.shape[1] - 1)
    return InfoVAETransformer(k, random_state=seed).fit(X).impute(X)


def forest(seed):
    """missForest."""
    trees = RandomForestRegressor(100, n_jobs=2, random_state=seed)
    return IterativeImputer(trees, max_iter=10, random_state=seed)


METHODS = {
    "mean": lambda X, seed: SimpleImputer().fit_transform(X),
    "KNN": lambda X, seed: KNNImputer().fit_transform(X),
    "IterativeImputer": lambda X, seed: IterativeImputer(random_state=seed).fit_transform(X),
    "missForest": lambda X, seed: forest(seed).fit_transform(X),
    "InfoVAE": with_ten,
    "InfoVAE, chosen": chosen,
}


def numbers(name):
    """The columns of numbers, without the rows that have holes of their own."""
    X = load(name).X
    X = X.select_dtypes("number").to_numpy(float) if isinstance(X, pd.DataFrame) else X
    return X[~np.isnan(X).any(axis=1)]


def measure(method, X, share, seed):
    """Mean squared error of the hidden cells, and seconds."""
    hidden = np.random.default_rng(seed).uniform(size=X.shape) < share
    given = np.where(hidden, np.nan, X)
    centre, scale = np.nanmean(given, axis=0), np.nanstd(given, axis=0)
    given, true = (given - centre) / scale, (X - centre) / scale
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filled = METHODS[method](given, seed)
    error = np.square(filled - true)[hidden].mean()
    return {"mse": error, "seconds": time.perf_counter() - start}


def report(results):
    """Error by table, share and method, the best of each in brackets."""
    table = results.pivot_table(index=["share", "table"], columns="method", values="mse")
    table = table[[name for name in METHODS if name in table]]
    best = table.eq(table.min(axis=1), axis=0)
    text = table.map("{:.3f}".format).where(~best, table.map("[{:.3f}]".format))
    print(text.to_string())
    print("\nseconds\n", results.groupby("method").seconds.mean().round(1).to_string())


def main():
    """Fill in what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES)
    parser.add_argument("--masks", type=int, default=3)
    arguments = parser.parse_args()
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    keys = ("table", "share", "mask", "method")
    done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    with arguments.results.open("a") as file:
        for name in arguments.tables:
            X = numbers(name)
            for share in SHARES:
                for mask in range(arguments.masks):
                    for method in arguments.methods:
                        if (key := (name, share, mask, method)) not in done:
                            figures = measure(method, X, share, mask)
                            line = dict(zip(keys, key, strict=True)) | figures
                            file.write(json.dumps(line, default=float) + "\n")
                            file.flush()
    report(pd.read_json(arguments.results, lines=True))


if __name__ == "__main__":
    main()
