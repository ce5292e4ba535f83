"""Promises broken on purpose, one at a time, to see that a test turns red.

    python benchmarks/sabotage.py            # all of them, in a copy of the package
    python benchmarks/sabotage.py checksum   # those whose names hold the word

Each breakage is one piece of code put in the place of another. The tests that should notice run
until the first failure. The command fails where they stay green, or where the code to be broken is
no longer there.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent.parent


class Breakage(NamedTuple):
    """In which file, what stands there, what shall, and the tests that should turn red."""

    file: str
    code: str
    broken: str
    tests: str


BREAKAGES = {
    "drop the checksum": Breakage(
        "_files/container.py",
        "if checksum(text, arrays) != stated:",
        "if False:",
        "tests/files/test_hostile_files.py",
    ),
    "trust a name": Breakage(
        "_files/values.py",
        "        if name not in self.named:\n",
        "        if name not in self.named:\n"
        "            module, _, what = name.partition(':')\n"
        "            return getattr(__import__(module, fromlist=[what]), what)\n",
        "tests/files/test_hostile_files.py tests/files/test_save.py",
    ),
    "pickle the net": Breakage(
        "_files/persistence.py",
        'if "net_" not in state:',
        "if True:",
        "tests/files/test_save.py",
    ),
    "write in place": Breakage(
        "_base/files.py",
        'with open(temporary, "xb") as new:',
        'with open(path, "wb") as new:',
        "tests/files/test_save.py",
    ),
    "skip the clamp of far cells": Breakage(
        "_table/standardizer.py",
        "            x = x.clip(-far, far)\n",
        "",
        "tests/matrix/test_odd_tables_all_the_way.py tests/table",
    ),
    "skip the clamp of the log-variance": Breakage(
        "_model/vae.py",
        "log_variance.clamp(max=MOST_LOG_VARIANCE)",
        "log_variance",
        "tests/model tests/training",
    ),
    "seed globally": Breakage(
        "_base/seeds.py",
        "with ONE_AT_A_TIME, torch.random.fork_rng(devices=devices):",
        "with ONE_AT_A_TIME:",
        "tests/training/test_determinism.py",
    ),
    "threads in turns no more": Breakage(
        "_base/seeds.py",
        "with ONE_AT_A_TIME, torch.random",
        "with torch.random",
        "tests/test_concurrency.py",
    ),
    "tell all threads of one's thread count": Breakage(
        "_base/threads.py",
        'with ThreadpoolController().limit(limits=1, user_api="openmp"):\n        yield',
        "n = torch.get_num_threads()\n    torch.set_num_threads(1)\n"
        "    yield\n    torch.set_num_threads(n)",
        "tests/test_concurrency.py",
    ),
    "keep no generator of a killed fit": Breakage(
        "_training/taking_up.py",
        "        generator.set_state(state)\n    vars(member)",
        "        pass\n    vars(member)",
        "tests/training/test_taking_up.py",
    ),
    "go back to the last epoch": Breakage(
        "_training/member.py",
        "        is_best = loss < self.best\n",
        "        is_best = True\n",
        "tests/training/test_diverging.py",
    ),
    "decay nothing": Breakage(
        "_training/flat_adam.py",
        "        if decay:  # of",
        "        if False:  # of",
        "tests/training/test_flat_adam.py",
    ),
    "one rate for weights of any number of inputs": Breakage(
        "_model/networks.py",
        "if n_inputs > most else {}",
        "if False else {}",
        "tests/matrix/test_odd_tables_all_the_way.py",
    ),
    "share a stack whatever the column has": Breakage(
        "_training/training.py",
        "            self.architecture,\n            self.plan.shared,",
        "            self.architecture.n_components,\n            self.plan.shared,",
        "tests/test_known_wrong_results.py tests/model_selection/test_search.py",
    ),
}


def stays_green(name, folder):
    """Whether the tests pass although the code is broken."""
    breakage = BREAKAGES[name]
    file = folder / "sk_infovae" / breakage.file
    whole = file.read_text()
    if whole.count(breakage.code) != 1:
        raise SystemExit(f"{name}: {breakage.code!r} is not (once) in {breakage.file} any more.")
    file.write_text(whole.replace(breakage.code, breakage.broken))
    try:
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *breakage.tests.split()], cwd=folder, capture_output=True, text=True
        )
    finally:
        file.write_text(whole)
    (verdict,) = done.stdout.strip().splitlines()[-1:] or [done.stderr[-80:]]
    print(f"{'GREEN' if done.returncode == 0 else 'red':6}{name}: {verdict}", flush=True)
    return done.returncode == 0


def main():
    """Break one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("word", nargs="?", default="")
    word = parser.parse_args().word
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "copy"
        unwanted = shutil.ignore_patterns(".git", ".venv", "build", "dist", "__pycache__")
        shutil.copytree(HERE, folder, ignore=unwanted)
        green = [name for name in BREAKAGES if word in name and stays_green(name, folder)]
    sys.exit(f"Nobody noticed: {green}" if green else 0)


if __name__ == "__main__":
    main()
