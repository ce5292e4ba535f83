"""What neighbours cost: a step with them beside one without, and the graph by number of rows.

    python benchmarks/bench_neighbors.py                     # steps, and graphs up to 100,000 rows
    python benchmarks/bench_neighbors.py --rows 1000000      # one graph, some minutes

Steps are those of whole fits (`batch_size` 128 at S, 256 at M and L), their epochs timed after the
first; medians of interleaved repeats. Graphs are of 15 neighbours among 30 columns that hold ten
factors: scikit-learn's up to 50,000 rows, pynndescent's above where it is installed (recall by 200
rows).
"""

import argparse
import statistics
import time
import warnings

import numpy as np
from sklearn.neighbors import NearestNeighbors
from skorch.callbacks import EpochTimer

from sk_infovae import InfoVAETransformer
from sk_infovae._model.graph import find_neighbors

SHAPES = {
    "S": (1797, 64, (128, 64), 8, 128),
    "M": (20_000, 30, (128, 64), 8, 256),
    "L": (20_000, 784, (512, 256), 16, 256),
}
GOAL = 1.4


def factors(n_rows, n_columns, seed=0):
    """Columns that ten factors and noise make."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 10)).astype(np.float32)
    X = np.tanh(X) @ rng.normal(size=(10, n_columns)).astype(np.float32)
    return X + 0.3 * rng.normal(size=X.shape).astype(np.float32)


def seconds_per_epoch(X, shape, weight, n_epochs):
    """Median seconds of the epochs after the first."""
    _, _, hidden, k, batch = shape
    timer = EpochTimer()
    vae = InfoVAETransformer(
        k, hidden_layer_sizes=hidden, batch_size=batch, max_epochs=n_epochs, early_stopping=False,
        neighbor_weight=weight, random_state=0, net_params={"callbacks": [timer]},
    )  # fmt: skip
    return statistics.median([epoch["dur"] for epoch in vae.fit(X).net_.history[1:]])


def print_steps(repeats):
    """The ratio for every shape."""
    print(f"{'shape':6} {'without':>9} {'with':>9} {'ratio':>7}   seconds an epoch")
    for name, shape in SHAPES.items():
        X, times = factors(shape[0], shape[1]), {0.0: [], 10.0: []}
        for _ in range(repeats):
            for weight, found in times.items():
                found.append(seconds_per_epoch(X, shape, weight, 4 if name == "L" else 8))
        plain, near = (statistics.median(found) for found in times.values())
        met = "met" if near <= GOAL * plain else "missed"
        print(f"{name:6} {plain:9.3f} {near:9.3f} {near / plain:7.2f}   goal {GOAL}: {met}")


def print_graphs(rows):
    """Seconds and recall by number of rows."""
    print(f"{'rows':>9} {'seconds':>8} {'recall':>7}")
    for n_rows in rows:
        X = factors(n_rows, 30)
        start = time.perf_counter()
        found = find_neighbors(X, 15).numpy()
        seconds = time.perf_counter() - start
        some = np.random.default_rng(0).choice(n_rows, 200, replace=False)
        exact = NearestNeighbors(n_neighbors=16, algorithm="brute").fit(X).kneighbors(X[some])[1]
        shared = [len({*found[i]} & {*near[1:]}) / 15 for i, near in zip(some, exact, strict=True)]
        print(f"{n_rows:9,} {seconds:8.1f} {np.mean(shared):7.3f}", flush=True)


def main():
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", nargs="+", type=int)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.rows is None:
        print_steps(arguments.repeats)
    print_graphs(arguments.rows or (1_000, 10_000, 50_000, 100_000))


if __name__ == "__main__":
    main()
