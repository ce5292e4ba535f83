"""Time of a score against its fit, and its error against 65536 draws a row.

    python benchmarks/bench_score.py [--threads 1] [--repeats 5] [--rows 40] [--seeds 4]

Default fits. Times are medians of runs in turn, fit and score in one process. The error is that of
--rows rows under --seeds scrambles of the noise: the largest mean over rows, and the largest of
single rows. The reference takes all of its draws for every row, without the control variate.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits

from sk_infovae import InfoVAETransformer
from sk_infovae._inference import evidence
from sk_infovae._inference.evidence import Sampler, score_rows
from sk_infovae.datasets import make_mixed_table

GOALS = {"score / fit": 1.0, "mean error": 0.05}
"""At most; the error in nats."""

REFERENCE_DRAWS = 65536
N_DRAWS = InfoVAETransformer().n_importance_samples


def tables():
    """Every table and its number of components."""
    digits, cancer = load_digits().data, load_breast_cancer().data
    mixed = make_mixed_table(1000, missing=0.2, random_state=0)
    return {
        "digits, 8": (digits, 8),
        "digits, 16": (digits, 16),
        "breast cancer, 8": (cancer, 8),
        "mixed table, 4": (mixed, 4),
    }


def timed(run):
    """What a run returns, and its seconds."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def cells(vae, X):
    """X as the model's cells."""
    return vae._layout.schema.encode(vae._layout.schema.as_fitted(X), "error")


def reference(vae, X):
    """log p(x) by all of the draws, in parts of 4096: a row's weights stay small in memory."""
    kept = evidence.TOLERANCE, evidence.FEWEST_FOR_CONTROL
    evidence.TOLERANCE, evidence.FEWEST_FOR_CONTROL = 0.0, 10**9
    try:
        n_parts = REFERENCE_DRAWS // 4096
        parts = [scores(vae, X, 4096, 1000 + seed)[0] for seed in range(n_parts)]
    finally:
        evidence.TOLERANCE, evidence.FEWEST_FOR_CONTROL = kept
    return np.logaddexp.reduce(parts, 0) - np.log(n_parts)


def scores(vae, X, n_draws, seed):
    """log p(x) and effective sample size under this scramble of the noise."""
    sampler = Sampler.make(vae.module_, vae._layout.standardizer, n_draws, seed)
    return score_rows(sampler, cells(vae, X))


def mark(name, value):
    """A value, and whether it meets its goal."""
    met = "met" if value <= GOALS[name] else "missed"
    return f"{name} {value:.3f} (goal {GOALS[name]:g}: {met})"


def main():
    """Print a line of time and a line of error for each table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name, (X, n_components) in tables().items():
        seconds, vae = [], InfoVAETransformer(n_components, random_state=0)
        for _ in range(arguments.repeats + 1):
            _, fitting = timed(lambda vae=vae, X=X: vae.fit(X))
            ess, scoring = timed(lambda vae=vae, X=X: vae.score_samples(X, return_ess=True)[1])
            seconds.append((fitting, scoring, scoring / fitting))
        fit, score, ratio = map(statistics.median, zip(*seconds[1:], strict=True))
        print(f"{name}: fit {fit:.2f} s, score {score:.2f} s, {mark('score / fit', ratio)}")
        rows = X[: arguments.rows]
        truth = reference(vae, rows)
        gaps = [scores(vae, rows, N_DRAWS, seed)[0] - truth for seed in range(arguments.seeds)]
        worst = max(abs(gap.mean()) for gap in gaps)
        largest, spread = np.abs(gaps).max(), np.sqrt(np.mean(np.square(gaps)))
        print(
            f"   {mark('mean error', worst)}, rms of a row {spread:.3f}, largest {largest:.3f}, "
            f"effective sample size {ess.mean():.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
