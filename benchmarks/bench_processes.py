"""A fit by several processes together, beside the same fit by one.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/bench_processes.py

20,000 x 784 by default, hidden (512, 256), batches of 256: seconds an epoch are those of a fit of
three epochs less those of one, by two. The lone fit takes as many threads as there are processes.
"""

import argparse
import statistics
import time

import numpy as np
import torch
import torch.distributed as dist

from sk_infovae import InfoVAETransformer
from sk_infovae.parallel import data_parallel


def seconds(X, max_epochs):
    """Of one fit."""
    how = {"hidden_layer_sizes": (512, 256), "batch_size": 256, "early_stopping": False}
    vae = InfoVAETransformer(8, max_epochs=max_epochs, random_state=0, **how)
    start = time.perf_counter()
    vae.fit(X)
    return time.perf_counter() - start


def epoch(X):
    """Seconds of one."""
    return (seconds(X, 3) - seconds(X, 1)) / 2


def main():
    """Measure in turn; the first process prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=784)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    dist.init_process_group("gloo")
    rng, n_processes = np.random.default_rng(0), dist.get_world_size()
    plane = rng.normal(size=(5, arguments.columns))
    code = rng.normal(size=(arguments.rows, 5))
    X = (code @ plane + rng.normal(size=(arguments.rows, arguments.columns))).astype(np.float32)
    alone, together = [], []
    for _ in range(arguments.repeats):
        if dist.get_rank() == 0:
            torch.set_num_threads(n_processes)
            alone.append(epoch(X))
            torch.set_num_threads(1)
        dist.barrier()
        with data_parallel():
            together.append(epoch(X))
    if dist.get_rank() == 0:
        one, many = statistics.median(alone), statistics.median(together)
        print(f"an epoch by one {one:.2f} s, by {n_processes} {many:.2f} s: {one / many:.2f}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
