"""Shared by all tests: one thread, and the folder itself on the path, for ``oracles``.

Helpers of one room stand beside its tests (``training/small_fits.py``): pytest puts the folder of a
test on the path. So no two files of the tests have one name.

The tensors of the tests are small; two threads on two cores that also run worker processes wait
for each other far longer than they compute. A shell that starts the tests in the background has
them ignore Ctrl-C, which some of them press: here they listen to it.
"""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, str(Path(__file__).parent))
