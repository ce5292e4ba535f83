"""Tables that nobody made, through every method of `InfoVAETransformer`.

    python benchmarks/fuzz_tables.py                      # 100,000 tables
    python benchmarks/fuzz_tables.py --tables 500 --seed 7

Each table has 1 to 40 rows and 1 to 6 columns of odd kinds: magnitudes of 1e30 and 1e-310, heavy
tails, integers beyond 2^53, columns that repeat others but for a last digit, single cells far out,
holes, levels, times, texts; as array, CSR, pandas or polars. Each estimator has parameters drawn
from all that there are. Its fit must give finite codes and answers of the table's shape, or refuse
by a named error; and no warning may come from numpy or torch. Whatever else happens is printed with
its number, to be made again by ``--only``, and makes the command fail.
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "matrix"))
from odd_tables import outcome


def main():
    """Count what became of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first table")
    parser.add_argument("--only", type=int, help="one table, with its traceback")
    arguments = parser.parse_args()
    if arguments.only is not None:
        print(outcome(arguments.only))
        return
    found, wrong, start = Counter(), 0, time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.tables):
        try:
            word = outcome(seed)
        except Exception as error:
            word, wrong = "wrong", wrong + 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rpartition('site-packages/')[2]}:{where.lineno}"
            print(f"{seed}: {type(error).__name__}: {str(error)[:150]} ({place})", flush=True)
        found[word] += 1
    print(f"{dict(found)} in {time.perf_counter() - start:.0f} s")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
