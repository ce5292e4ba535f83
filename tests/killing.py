"""Processes that are killed by SIGKILL, which nothing can catch, until one gets to its end."""

import signal
import subprocess
import sys
import time

import numpy as np

MOST_RUNS = 100


def printed_by(script, folder):
    """What a script prints that may take all its time, and the seconds it took."""
    start = time.perf_counter()
    with _begin(script, folder) as process:
        printed = process.communicate()[0]
    assert printed.strip()
    return printed, time.perf_counter() - start


def printed_when_killed(script, folder, longest, rng):
    """What the first run prints that lives long enough, and how many were killed before.

    Each run has a random time: a part of ``longest`` seconds.
    """
    for n_killed in range(MOST_RUNS):
        with _begin(script, folder) as process:
            try:
                return process.communicate(timeout=longest * rng.uniform(0.3, 0.9))[0], n_killed
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
    raise AssertionError(f"none of {MOST_RUNS} runs got to its end")


def check_killed(script, folder, n_kills):
    """So many kills at least, and every run that ends prints what an undisturbed one does."""
    whole, seconds = printed_by(script, folder / "whole")
    rng, killed, number = np.random.default_rng(0), 0, 0
    while killed < n_kills:
        found, n = printed_when_killed(script, folder / f"killed {number}", seconds, rng)
        assert found == whole
        killed, number = killed + n, number + 1
        assert number < MOST_RUNS


def _begin(script, folder):
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
