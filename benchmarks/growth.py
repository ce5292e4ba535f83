"""How cost grows: seconds an epoch and memory against rows, columns, components, batch and models.

    python benchmarks/growth.py [--picture growth.png] [--largest]

One of them grows at a time, from 10,000 rows of a memmap of float32, 30 columns, 4 components,
batches of 256 and one model. Each point is a process of its own: seconds an epoch are those of a
fit of three epochs less those of one, by two; memory is the largest resident set above what the
process had before the fits. The slope is that of the last two points, both axes logarithmic: 1 is
a cost in proportion. ``--largest`` adds 10^7 rows, 1.2 GB.
"""

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BASE = {"rows": 10_000, "columns": 30, "components": 4, "batch": 256, "models": 1}
GROWS = {
    "rows": [1_000, 10_000, 100_000, 1_000_000],
    "columns": [10, 100, 1_000, 10_000],
    "components": [2, 8, 32, 128],
    "batch": [32, 128, 512, 2_048],
    "models": [1, 4, 16, 64],
}
ROWS_OF_WIDE = 2_000
"""Rows where columns grow: 10,000 columns of them are 80 MB."""


def write(path, n_rows, n_columns):
    """Rows of five components and noise, block by block."""
    table = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(5, n_columns)).astype(np.float32)
    step = max(1, 10**7 // n_columns)
    for start in range(0, n_rows, step):
        rows = min(step, n_rows - start)
        code, noise = (rng.normal(size=(rows, width)) for width in (5, n_columns))
        table[start : start + rows] = code.astype(np.float32) @ plane + 0.5 * noise


def memory():
    """Largest resident set of this process so far, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def fit(X, size, max_epochs):
    """Seconds of the fits of all models together."""
    from sk_infovae import InfoVAETransformer
    from sk_infovae._training.fitting import prepare_fit
    from sk_infovae._training.loop import train_together

    how = {"batch_size": size["batch"], "max_epochs": max_epochs, "early_stopping": False}
    n_models = size["models"]
    vaes = [
        InfoVAETransformer(size["components"], alpha=k / n_models, random_state=0, **how)
        for k in range(n_models)
    ]
    start = time.perf_counter()
    if n_models == 1:
        vaes[0].fit(X)
    else:
        train_together([prepare_fit(vae, X).training for vae in vaes])
    return time.perf_counter() - start


def measure(size, path):
    """Seconds an epoch and MB of one point, printed as JSON."""
    warm = np.random.default_rng(0).normal(size=(600, 10))
    fit(warm, {**BASE, "models": min(2, size["models"])}, 2)
    before, X = memory(), np.load(path, mmap_mode="r")
    once, thrice = (fit(X, size, epochs) for epochs in (1, 3))
    print(json.dumps([(thrice - once) / 2, memory() - before]))


def point(size):
    """The same, by a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        write(path, size["rows"], size["columns"])
        command = [sys.executable, __file__, "--point", json.dumps(size), str(path)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def slope(pairs):
    """Of the last two points."""
    (x0, y0), (x1, y1) = pairs[-2:]
    return math.log(y1 / y0) / math.log(x1 / x0) if min(y0, y1) > 0 else math.nan


def draw(found, path):
    """Two rows of panels: seconds, memory."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(found), figsize=(14, 5.6), sharey="row", layout="constrained"
    )
    for column, (name, points) in zip(axes.T, found.items(), strict=True):
        for panel, which, colour in zip(column, (1, 2), ("#0072B2", "#D55E00"), strict=True):
            pairs = [(one[0], max(one[which], 1e-3)) for one in points]
            panel.loglog(*zip(*pairs, strict=True), "o-", color=colour)
            panel.set_title(f"slope {slope(pairs):.2f}", fontsize="medium")
            panel.grid(alpha=0.3)
        column[1].set_xlabel(name)
    axes[0, 0].set_ylabel("seconds an epoch")
    axes[1, 0].set_ylabel("memory, MB")
    figure.savefig(path, dpi=110)


def main():
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--largest", action="store_true")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        measure(json.loads(arguments.point[0]), arguments.point[1])
        return
    found = {}
    print(f"{'':12}{'':>12}{'seconds':>12}{'MB':>10}")
    for name, values in GROWS.items():
        wide = {"rows": ROWS_OF_WIDE} if name == "columns" else {}
        last = [10_000_000] if name == "rows" and arguments.largest else []
        found[name] = []
        for value in itertools.chain(values, last):
            found[name].append((value, *point({**BASE, **wide, name: value})))
            print(
                f"{name:12}{value:>12,}{found[name][-1][1]:>12.3f}{found[name][-1][2]:>10,.0f}",
                flush=True,
            )
        slopes = [slope([(one[0], one[k]) for one in found[name]]) for k in (1, 2)]
        print(f"{name:12}{'slope':>12}{slopes[0]:>12.2f}{slopes[1]:>10.2f}", flush=True)
    if arguments.picture:
        draw(found, arguments.picture)


if __name__ == "__main__":
    main()
