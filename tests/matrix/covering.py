"""Few rows of a table of cases that hold what any of its rows hold, two (or three) at a time."""

from itertools import combinations

import numpy as np

MOST = 300
"""Rows that are compared to find the next one."""


def covering(rows, strength=2):
    """Positions of rows of a matrix of small whole numbers, greedily; the same at every call.

    Every combination of values that some row has in so many columns stands in a row returned. A
    pair that no row has (as it is not allowed) asks for nothing.
    """
    rows = np.asarray(rows)
    base = int(rows.max()) + 1
    groups = list(combinations(range(rows.shape[1]), strength))
    codes = np.empty((len(rows), len(groups)), dtype=np.int32)
    for k, group in enumerate(groups):
        codes[:, k] = k
        for column in group:
            codes[:, k] = codes[:, k] * base + rows[:, column]
    left = np.zeros(len(groups) * base**strength, dtype=bool)
    left[codes] = True
    chosen = []
    while left.any():
        wanted = int(left.argmax())
        holders = np.flatnonzero(codes[:, wanted // base**strength] == wanted)
        # Spread over all, and shifted from step to step, or all would look alike.
        some = np.roll(holders, 7 * len(chosen))[:: max(1, len(holders) // MOST)]
        best = some[left[codes[some]].sum(axis=1).argmax()]
        chosen.append(int(best))
        left[codes[best]] = False
    return chosen
