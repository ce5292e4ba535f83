"""Time of transform and inverse_transform against their matrix products, 100000 rows.

    python benchmarks/bench_transform.py [--threads 2] [--repeats 7]

Both sides in turn, in one process; the table gives ratios of medians.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from sk_infovae import InfoVAETransformer


def products(rows, shapes):
    """The forward products of the layers of these (inputs, outputs) shapes, and nothing else."""
    work = [(torch.randn(rows, i), torch.randn(i, o)) for i, o in shapes]

    def run():
        for x, w in work:
            torch.mm(x, w)

    return run


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, d, hidden = 100_000, 8, (128, 64)
    print(f"{arguments.threads} threads, medians of {arguments.repeats} interleaved runs")
    print("columns   transform / products   inverse_transform / products")
    for n_columns in (30, 64):
        X = np.random.default_rng(0).normal(size=(rows, n_columns))
        vae = InfoVAETransformer(d, hidden_layer_sizes=hidden, max_epochs=1, device="cpu")
        vae.fit(X[:2000])
        Z = vae.transform(X)
        a, b = hidden
        runs = {
            "transform": lambda vae=vae, X=X: vae.transform(X),
            "its products": products(rows, [(n_columns, a), (a, b), (b, 2 * d)]),
            "inverse": lambda vae=vae, Z=Z: vae.inverse_transform(Z),
            "products of the inverse": products(
                rows, [(d, b), (b, a), (a, n_columns), (d, n_columns)]
            ),
        }
        times = {name: [] for name in runs}
        for _ in range(arguments.repeats + 1):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
        forth, its, back, others = (statistics.median(times[name][1:]) for name in runs)
        print(f"{n_columns:7}   {forth / its:20.2f}   {back / others:28.2f}")


if __name__ == "__main__":
    main()
