"""Fits side by side: scikit-learn's search over our fit by one job and by two, and in two threads.

    python benchmarks/bench_jobs.py

Sixteen fits of digits, 8 components, 10 epochs; ratios of medians to one job, interleaved. Above 1
jobs get in each other's way. Workers are started before the clock.
"""

import argparse
import time
from statistics import median

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sk_infovae import InfoVAETransformer
from sk_infovae.metrics import reconstruction_r2

GRID = {"alpha": [0.0, 0.5, 0.7, 0.9]}
WAYS = {"one job": ("loky", 1), "two processes": ("loky", 2), "two threads": ("threading", 2)}


def seconds(X, backend, n_jobs):
    """Of one search, by a score that costs little."""
    vae = InfoVAETransformer(8, max_epochs=10, early_stopping=False, random_state=0)
    search = GridSearchCV(vae, GRID, cv=4, refit=False, scoring=reconstruction_r2)
    with joblib.parallel_config(backend, n_jobs=n_jobs):
        start = time.perf_counter()
        search.fit(X)
        return time.perf_counter() - start


def main():
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    X = load_digits().data
    found = {way: [] for way in WAYS}
    for k in range(repeats + 1):
        for way, (backend, n_jobs) in WAYS.items():
            took = seconds(X, backend, n_jobs)
            if k:  # the first time also imports and starts
                found[way].append(took)
    alone = median(found["one job"])
    for way, times in found.items():
        print(f"{way:14} {median(times):6.2f} s  {median(times) / alone:5.2f}")


if __name__ == "__main__":
    main()
