"""Shared by all tests: the folder itself is on the path, for ``oracles``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
