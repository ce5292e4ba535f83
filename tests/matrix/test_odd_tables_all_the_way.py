"""Odd tables and any parameters: all the way, or refused by name."""

import pytest
from odd_tables import outcome


@pytest.mark.parametrize("seed", range(100_000, 100_120))
def test_all_the_way_or_refused(seed):
    assert outcome(seed) in ("all the way", "refused")
