"""Time of a fit against the loop that an engineer writes by hand, and against its matrix products.

    python benchmarks/bench_fit.py [--threads 1 2] [--repeats 7] [--shapes S M L]

All three run the same number of steps on the same shapes, in turn, in one process, on each number
of threads; each side counts by the number that is best for it. The table gives ratios of medians,
with a mark where a goal is met. "floor" is the matrix products of forward and backward alone.
"""

import argparse
import itertools
import statistics
import time

import numpy as np
import torch
from torch import nn

from sk_infovae import InfoVAETransformer

GOALS = {"S": (3.0, 0.7), "M": (2.5, 0.7), "L": (1.15, 0.9)}
"""Of fit / floor and of fit / hand-written loop, at most."""

SHAPES = {  # rows, columns, hidden, components, batch, epochs
    "S": (1797, 64, (128, 64), 8, 128, 20),
    "M": (20000, 30, (128, 64), 8, 256, 4),
    "L": (20000, 784, (512, 256), 16, 256, 1),
}


def layers(n_columns, hidden, d):
    """Widths of every linear layer of encoder and decoder."""
    encoder = [n_columns, *hidden, 2 * d]
    decoder = [d, *reversed(hidden), n_columns]
    return [*itertools.pairwise(encoder), *itertools.pairwise(decoder)]


def floor(rows, n_columns, hidden, d, batch, epochs):
    """Forward product and both backward products of each layer, and nothing else."""
    work = [
        (torch.randn(batch, i), torch.randn(i, o), torch.randn(batch, o))
        for i, o in [*layers(n_columns, hidden, d), (d, n_columns)]  # the last is the skip
    ]
    for _ in range(epochs * (rows // batch)):
        for x, w, g in work:
            torch.mm(x, w)
            torch.mm(g, w.T)
            torch.mm(x.T, g)


def hand_written(rows, n_columns, hidden, d, batch, epochs, X):
    """A plain torch loop: closed-form MMD, fused Adam, no history."""

    def stack(widths):
        parts = []
        for i, o in itertools.pairwise(widths):
            parts += [nn.Linear(i, o), nn.SiLU()]
        return nn.Sequential(*parts[:-1])

    X = torch.from_numpy((X - X.mean(0)) / X.std(0)).float()
    encoder, decoder = stack([n_columns, *hidden, 2 * d]), stack([d, *hidden[::-1], n_columns])
    skip, log_scale = nn.Linear(d, n_columns, bias=False), nn.Parameter(torch.zeros(n_columns))
    parameters = [*encoder.parameters(), *decoder.parameters(), *skip.parameters(), log_scale]
    optimizer = torch.optim.Adam(parameters, lr=5e-3, fused=True)
    s2 = float(d)
    for _ in range(epochs):
        order = torch.randperm(rows)
        for start in range(0, rows, batch):
            x = X[order[start : start + batch]]
            n = len(x)
            mean, log_var = encoder(x).chunk(2, -1)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            residual = (x - decoder(z) - skip(z)) / log_scale.exp()
            nll = (0.5 * residual**2 + log_scale + 0.919).sum(-1).mean()
            kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(-1).mean()
            norms = (z * z).sum(-1)
            kernel = torch.exp(-(norms[:, None] + norms - 2 * z @ z.T) / (2 * s2))
            cross = (s2 / (s2 + 1)) ** (d / 2) * torch.exp(-norms / (2 * (s2 + 1)))
            mmd = (kernel.sum() - n) / (n * (n - 1)) - 2 * cross.mean()
            loss = nll + 0.5 * kl + 9.5 * mmd
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def fit(rows, n_columns, hidden, d, batch, epochs, X):
    """The estimator, history and all."""
    InfoVAETransformer(
        d,
        hidden_layer_sizes=hidden,
        batch_size=batch,
        max_epochs=epochs,
        early_stopping=False,
        random_state=0,
        device="cpu",
    ).fit(X)


def medians(runs, threads, repeats):
    """Median seconds of every side on every number of threads, interleaved."""
    times = {(key, n): [] for key in runs for n in threads}
    for _ in range(repeats + 1):
        for key, n in times:
            torch.set_num_threads(n)
            start = time.perf_counter()
            runs[key]()
            times[key, n].append(time.perf_counter() - start)
    return {side: statistics.median(seconds[1:]) for side, seconds in times.items()}


def mark(ratio, goal):
    """The ratio, and whether it meets the goal."""
    return f"{ratio:6.2f} (goal {goal:g}: {'met' if ratio <= goal else 'missed'})"


def print_default():
    """Seconds of a fit with nothing set: 20,000 rows of thirty columns that ten factors make."""
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(20_000, 10))) @ rng.normal(size=(10, 30))
    X += 0.3 * rng.normal(size=X.shape)
    start = time.perf_counter()
    vae = InfoVAETransformer(8, random_state=0).fit(X)
    print(f"default fit: {time.perf_counter() - start:.1f} s, {vae.n_iter_} epochs")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--default", action="store_true", help="a default fit of 20,000 x 30")
    arguments = parser.parse_args()
    if arguments.default:
        print_default()
        return
    print(f"medians of {arguments.repeats} interleaved runs; in brackets the threads that count")
    for name in arguments.shapes:
        shape = SHAPES[name]
        X = np.random.default_rng(0).normal(size=shape[:2])
        runs = {
            "floor": lambda shape=shape: floor(*shape),
            "hand": lambda shape=shape, X=X: hand_written(*shape, X),
            "fit": lambda shape=shape, X=X: fit(*shape, X),
        }
        seconds = medians(runs, arguments.threads, arguments.repeats)
        best = {key: min((seconds[key, n], n) for n in arguments.threads) for key in runs}
        sides = ", ".join(f"{key} {s:.3f} s ({n})" for key, (s, n) in best.items())
        base, hand, ours = (best[key][0] for key in runs)
        print(f"{name}  {sides}, hand / floor {hand / base:.2f}")
        print(f"   fit / floor {mark(ours / base, GOALS[name][0])}")
        print(f"   fit / hand  {mark(ours / hand, GOALS[name][1])}")


if __name__ == "__main__":
    main()
