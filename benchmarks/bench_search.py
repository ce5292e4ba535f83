"""A grid trained as one batched network against scikit-learn's GridSearchCV over the same fit.

    python benchmarks/bench_search.py [--repeats 3]

12 pairs of alpha and lambd, 5 folds of digits: 60 fits of hidden (128, 64), 8 components, batch
128, 30 epochs. A constant stands for the score, whose time is the same on both sides. "products" is
the time of the matrix products of forward and backward alone, as batched products of 24 and 36
models (two folds have one number of rows, three another). Medians, the sides interleaved.
"""

import argparse
import statistics
import time

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, KFold

from sk_infovae import InfoVAETransformer
from sk_infovae.model_selection import InfoVAEGridSearchCV

GRID = {"alpha": [0.0, 0.25, 0.5, 0.9], "lambd": [1.0, 10.0, 100.0]}
N_EPOCHS, BATCH = 30, 128
LAYERS = [(64, 128), (128, 64), (64, 16), (8, 64), (64, 128), (128, 64), (8, 64)]


def no_score(estimator, X, y=None):
    """Nothing: scoring is timed apart."""
    return 0.0


def search(cls, X, **params):
    """Seconds of a search without refit."""
    vae = InfoVAETransformer(
        8,
        hidden_layer_sizes=(128, 64),
        max_epochs=N_EPOCHS,
        early_stopping=False,
        random_state=0,
    )
    start = time.perf_counter()
    cls(vae, GRID, cv=KFold(5), scoring=no_score, refit=False, **params).fit(X)
    return time.perf_counter() - start


def products(X):
    """Seconds of the products alone: one forward and two backward for each layer."""
    n_steps = N_EPOCHS * round(0.8 * len(X) / BATCH)
    seconds = 0.0
    for n_models in (24, 36):
        pairs = [
            (
                torch.randn(n_models, BATCH, a),
                torch.randn(n_models, a, b),
                torch.randn(n_models, BATCH, b),
            )
            for a, b in LAYERS
        ]
        start = time.perf_counter()
        for _ in range(n_steps):
            for x, w, g in pairs:
                torch.bmm(x, w)
                torch.bmm(x.mT, g)
                torch.bmm(g, w.mT)
        seconds += time.perf_counter() - start
    return seconds


def main():
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    X = load_digits().data
    sides = {
        "together": lambda: search(InfoVAEGridSearchCV, X),
        "GridSearchCV(n_jobs=2)": lambda: search(GridSearchCV, X, n_jobs=2),
        "GridSearchCV(n_jobs=1)": lambda: search(GridSearchCV, X),
        "products": lambda: products(X),
    }
    times = {name: [] for name in sides}
    for _ in range(parser.parse_args().repeats):
        for name, run in sides.items():
            times[name].append(run())
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print("                          seconds   / together   / products")
    for name, seconds in medians.items():
        ratios = (seconds / medians["together"], seconds / medians["products"])
        print(f"{name:24} {seconds:8.1f} {ratios[0]:12.2f} {ratios[1]:12.2f}")


if __name__ == "__main__":
    main()
