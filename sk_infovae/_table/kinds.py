"""Names and constants that the readers of both libraries share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CellTable = NDArray[np.floating] | sparse.csr_matrix | sparse.csr_array
"""The cells of a validated table: floats, NaN where missing."""

KINDS = ("float", "int", "bool", "string", "category", "time", "date")
"""What a column can be; "date" is a column of Python's own dates, which pandas has no dtype for."""

TICKS_PER_DAY = {
    "D": 1,
    "s": 86_400,
    "ms": 86_400 * 10**3,
    "us": 86_400 * 10**6,
    "ns": 86_400 * 10**9,
}
"""How many units of a time's dtype a day has."""

MAX_INT = 2**63 - 1
"""The largest int64; its negative is the smallest that is not pandas' NaT."""

LONGEST = 999_999_999
"""Days of Python's longest duration."""

FIRST_DAY, LAST_DAY = -719_161, 2_932_895
"""Python's first and last date, in days since 1970, less one day for the zones."""


def duration_limits(per_day: int) -> tuple[int, int]:
    """Smallest and largest ticks of a duration that every library can show."""
    most = min(LONGEST * per_day, MAX_INT)
    return -most, most


def datetime_limits(per_day: int) -> tuple[int, int]:
    """Smallest and largest ticks of a datetime that every library can show."""
    most = MAX_INT - per_day if per_day > 1 else MAX_INT
    return max(FIRST_DAY * per_day, -most), min(LAST_DAY * per_day, most)


LARGE = 1e250
"""A scale that float32's largest number takes beyond float64's."""


def largest(dtype: Any) -> float:
    """Largest number of a float dtype."""
    return float(np.finfo(dtype).max)


def scaled(cells: NDArray[Any], centre: Any, scale: Any) -> NDArray[np.float64]:
    """``(cells - centre) / scale``; infinite where the difference is too large for a number."""
    with np.errstate(over="ignore"):
        x = np.subtract(cells, centre, dtype=np.float64)
        x /= scale
    return x


def scaled_by_halves(cells: NDArray[Any], centre: Any, scale: Any) -> NDArray[np.float64]:
    """The same: the halves of two of the largest numbers have a difference."""
    with np.errstate(over="ignore"):
        x = (cells / 2 - centre / 2) / (scale / 2)
    return x.clip(-largest(float), largest(float))


def unscaled(x: NDArray[Any], centre: Any, scale: Any) -> NDArray[np.float64]:
    """``x scale + centre``; by halves where a product may be too large for a number."""
    large = np.max(scale, initial=0.0) > LARGE
    if is_finite(x) and not large:
        return np.asarray(x, dtype=np.float64) * scale + centre
    with np.errstate(over="ignore", invalid="ignore"):
        cells = 2 * (np.asarray(x, dtype=np.float64) * (scale / 2) + centre / 2)
    return cells.clip(-largest(float), largest(float))


def within(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Numbers in another dtype; the largest of it where they are larger."""
    with np.errstate(over="ignore"):
        cast = values.astype(dtype, copy=False)
    if cast is values or is_finite(cast):
        return cast
    return values.clip(-largest(dtype), largest(dtype)).astype(dtype)


def is_finite(x: NDArray[Any]) -> bool:
    """A quick look by the sum, which no NaN and nothing infinite leaves finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(x.sum()))
