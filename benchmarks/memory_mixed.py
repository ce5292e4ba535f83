"""Peak memory of fit, transform, inverse_transform and impute on large mixed tables (Linux).

    python benchmarks/memory_mixed.py [--rows 1000000] [--levels 10000]

Two tables: --rows x 50 (30 floats, one of them with holes, 5 integers, 5 booleans, 10 categories of
20 levels), and a fifth of the rows with a number and a category of --levels levels by Zipf's law.
Prints for each step the most memory that the process held beyond what it held before, in MB, and
seconds: one epoch of batches of 2048 in fit, all rows in transform, 1000 in the others.
"""

import argparse
import multiprocessing
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd

from sk_infovae import InfoVAETransformer


def megabytes(field):
    """A field of this process's memory: VmRSS now, VmHWM at most."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024


def wide(n_rows):
    """50 columns of four kinds."""
    rng = np.random.default_rng(0)
    z, names = rng.normal(size=n_rows), [f"level {k}" for k in range(20)]
    columns = {f"x{j}": z * rng.normal() + rng.normal(size=n_rows) for j in range(30)}
    columns["x0"][::7] = np.nan
    columns |= {f"i{j}": rng.integers(0, 100, n_rows) for j in range(5)}
    columns |= {f"b{j}": rng.random(n_rows) < 0.3 for j in range(5)}
    for j in range(10):
        columns[f"c{j}"] = pd.Categorical.from_codes(rng.integers(0, 20, n_rows), names)
    return pd.DataFrame(columns)


def many_levels(n_rows, n_levels):
    """A number, and a category whose k-th level is found in proportion to 1 / k."""
    rng, shares = np.random.default_rng(0), 1 / np.arange(1, n_levels + 1)
    codes = rng.choice(n_levels, n_rows, p=shares / shares.sum())
    names = [f"code {k:05d}" for k in range(n_levels)]
    return pd.DataFrame(
        {"x": rng.normal(size=n_rows), "code": pd.Categorical.from_codes(codes, names)}
    )


def measure(name, run):
    """Run; print the peak beyond what was held before, and seconds."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before, start = megabytes("VmRSS"), time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    print(f"  {name:20} {megabytes('VmHWM') - before:8.0f} MB {seconds:8.1f} s", flush=True)
    return result


def measure_all(make, *size):
    """Every step on one table."""
    warm_up = many_levels(1000, 10)
    InfoVAETransformer(2, max_epochs=1, random_state=0).fit(warm_up).impute(warm_up.head(10))
    df = make(*size)
    held = df.memory_usage(deep=True).sum() / 2**20
    print(f"{df.shape[0]} x {df.shape[1]}, the frame itself {held:.0f} MB")
    vae = InfoVAETransformer(8, max_epochs=1, batch_size=2048, random_state=0)
    measure("fit", lambda: vae.fit(df))
    Z = measure("transform", lambda: vae.transform(df))
    measure("inverse_transform", lambda: vae.inverse_transform(Z[:1000]))
    holes = df.head(1000).copy()
    holes.loc[::2, holes.columns[-1]] = None
    measure("impute", lambda: vae.impute(holes))


def main():
    """Print both tables, each from a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--levels", type=int, default=10_000)
    arguments = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    for work in [
        (wide, arguments.rows),
        (many_levels, arguments.rows // 5, arguments.levels),
    ]:
        process = fresh.Process(target=measure_all, args=work)
        process.start()
        process.join()


if __name__ == "__main__":
    main()
