"""Files that nobody wrote, to `InfoVAETransformer.load`.

    python benchmarks/fuzz_files.py                    # 90,000 damaged and 10,000 forged ones
    python benchmarks/fuzz_files.py --damaged 900 --forged 100

Damaged: bytes of a saved model flipped, cut, swapped, repeated, put in, headers of other lengths.
Forged: parts of its description or its arrays replaced by strange ones, and the checksum made right
again (`tests/files/mutations.py`). Counted are files that were refused with a named error and
those that gave a model; anything else is printed and makes the command fail. Seconds are of the
slowest file; megabytes are what Python and numpy took at their peak, on every hundredth, and by how
much the process grew over all of them.
"""

import argparse
import io
import resource
import sys
import time
import tracemalloc
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "files"))
import mutations

from sk_infovae import InfoVAETransformer
from sk_infovae.exceptions import ModelFileError


def outcome(data):
    """What became of a file."""
    try:
        InfoVAETransformer.load(io.BytesIO(data))
    except ModelFileError:
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "a model"


def resident():
    """Megabytes that the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main():
    """Print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damaged", type=int, default=90_000)
    parser.add_argument("--forged", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    data = mutations.written(mutations.model()[0])
    modules, failed, at_first = set(sys.modules), False, resident()
    for kind in ("damaged", "forged"):
        rng, found = np.random.default_rng(arguments.seed), Counter()
        slowest, peak = 0.0, 0.0
        for k in range(getattr(arguments, kind)):
            changed = getattr(mutations, kind)(data, rng)
            if changed == data:
                continue
            if k % 100 == 0:
                tracemalloc.start()
            start = time.perf_counter()
            found[outcome(changed)] += 1
            if tracemalloc.is_tracing():
                peak = max(peak, tracemalloc.get_traced_memory()[1] / 1e6)
                tracemalloc.stop()
            else:
                slowest = max(slowest, time.perf_counter() - start)
        failed |= bool(set(found) - {"refused", "a model"})
        print(f"{kind}: {dict(found)}, slowest {slowest:.2f} s, at most {peak:.1f} MB")
    new = {name.partition(".")[0] for name in set(sys.modules) - modules}
    print(f"modules imported meanwhile: {sorted(new)}; grown by {resident() - at_first:.0f} MB")
    sys.exit(failed)


if __name__ == "__main__":
    main()
