"""A table in a file: seconds and memory of a fit by `numpy.memmap`, beside the same in memory.

    python benchmarks/bench_disk.py                 # 1,000,000 rows x 100, 0.4 GB
    python benchmarks/bench_disk.py --rows 25000000 --no-memory   # 10 GB, in the file alone
    python benchmarks/bench_disk.py --parquet --no-memory         # as Parquet

Float32 rows of five components and noise, written to a temporary file by blocks. Seconds an epoch
are those of a fit of two less those of one. Memory is the largest resident set of the process in a
fit of one epoch, and in `transform`, above what it was before: anonymous pages, and all of them.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from sk_infovae import InfoVAETransformer

BLOCK = 100_000
FIELDS = ("RssAnon", "VmRSS")


def write(path, n_rows, n_columns):
    """The table, block by block."""
    table = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(5, n_columns)).astype(np.float32)
    for start in range(0, n_rows, BLOCK):
        code, noise = (
            rng.normal(size=(len(table[start : start + BLOCK]), width)).astype(np.float32)
            for width in (5, n_columns)
        )
        table[start : start + BLOCK] = code @ plane + 0.5 * noise


def to_parquet(table, path):
    """The table as a file of Parquet, block by block."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    names, writer = [f"x{j}" for j in range(table.shape[1])], None
    for start in range(0, len(table), BLOCK):
        rows = pa.table(dict(zip(names, table[start : start + BLOCK].T.copy(), strict=True)))
        writer = writer or ParquetWriter(path, rows.schema)
        writer.write_table(rows)
    writer.close()


def resident():
    """Megabytes of the process by kind."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return np.array([int(lines[name].split()[0]) / 1024 for name in FIELDS])


class Peak:
    """The most that `resident` was inside, above what it was before."""

    def __enter__(self):
        self.before, self.most, self.ended = resident(), np.zeros(len(FIELDS)), False
        self.watch = threading.Thread(target=self._look)
        self.watch.start()
        return self

    def _look(self):
        while not self.ended:
            self.most = np.maximum(self.most, resident() - self.before)
            time.sleep(0.02)

    def __exit__(self, *_):
        self.ended = True
        self.watch.join()
        self.text = ", ".join(f"{v:,.0f} MB {n}" for n, v in zip(FIELDS, self.most, strict=True))


def seconds_of_an_epoch(X):
    """By fits of one epoch and of two."""
    times = []
    for max_epochs in (1, 2):
        start = time.perf_counter()
        make(max_epochs).fit(X)
        times.append(time.perf_counter() - start)
    return times[1] - times[0]


def make(max_epochs):
    """The same for all."""
    return InfoVAETransformer(5, max_epochs=max_epochs, batch_size=1024, random_state=0)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--no-memory", action="store_true", help="the file alone")
    parser.add_argument("--parquet", action="store_true", help="Parquet in the place of a memmap")
    arguments = parser.parse_args()
    make(1).fit(np.random.default_rng(0).normal(size=(500, arguments.columns)))  # what torch takes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        write(path, arguments.rows, arguments.columns)
        X = np.load(path, mmap_mode="r")
        if arguments.parquet:
            path = path.with_suffix(".parquet")
            to_parquet(X, path)
            X = path
        with Peak() as peak:
            start = time.perf_counter()
            vae = make(1).fit(X)
            seconds = time.perf_counter() - start
        gigabytes = path.stat().st_size / 1e9
        print(f"{gigabytes:.1f} GB, fit of one epoch: {seconds:.0f} s, {peak.text}", flush=True)
        with Peak() as peak:
            vae.transform(X)
        print(f"transform: {peak.text}", flush=True)
        if arguments.no_memory:
            return
        held, pairs = np.load(path.with_suffix(".npy")), []
        for _ in range(3):
            pairs.append([seconds_of_an_epoch(table) for table in (held, X)])
            print(
                "an epoch in memory {:.2f} s, by the file {:.2f} s".format(*pairs[-1]), flush=True
            )
        in_memory, by_file = np.median(pairs, axis=0)
        print(f"throughput: {in_memory / by_file:.2f} of that in memory (goal 0.7)")


if __name__ == "__main__":
    main()
