"""One model trained by two processes is the one that a single process trains."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sk_infovae._model.shares import CURRENT, Shares
from sk_infovae.parallel import data_parallel

SCRIPT = Path(__file__).with_name("two_processes.py")


def test_two_processes_are_one(tmp_path):
    """Steps for every divergence, fits, a search, refusals: checked inside, by both."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meeting")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 2, 6, 50])
def test_shares_divide_the_rows(size, n):
    parts = [np.arange(n)[Shares(rank, size).rows(n)] for rank in range(size)]
    assert np.array_equal(np.concatenate(parts), np.arange(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_processes_that_do_not_know_of_each_other_are_refused():
    with (
        pytest.raises(RuntimeError, match="init_process_group first"),
        data_parallel(),
    ):
        pass
    assert CURRENT.get() == Shares()
