"""Small pieces of arithmetic that several families share."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHAPE_LIMIT = 20.0
"""Parameters of shape lie between e^-20 and e^20 (times or plus a constant)."""

VALUE_LIMIT = 80.0
"""A rate or an expected value is at most e^80; float32 ends near e^88."""

SHIFT = 8
LARGEST_COUNT = 2.0**53 - 1


def bounded_exp(log: Tensor, limit: float) -> Tensor:
    """``exp(log)``, within e^-limit and e^limit; the gradient is 0 beyond."""
    return log.clamp(-limit, limit).exp()


def check_floor(owner: object, floor: float) -> None:
    """Refuse a floor that would not keep a constant column finite."""
    if not 0 < floor < math.inf:
        raise ValueError(
            f"{type(owner).__name__} needs a positive and finite floor, got floor={floor!r}. It "
            "is a variance; 1e-4 is the default."
        )


def floored_log(rho: Tensor, floor: float) -> Tensor:
    """``log(floor + exp(rho))``, in one stable step."""
    return torch.logaddexp(rho, rho.new_full((), math.log(floor)))


def fill_missing(x: Tensor, mask: Tensor | None, value: float) -> Tensor:
    """x with an allowed value in the cells that are missing; no gradient reaches them."""
    return x if mask is None else torch.where(mask > 0, x, value)


def observed_sum(cells: Tensor, mask: Tensor | None) -> Tensor:
    """Sum over the columns, of the observed cells."""
    return (cells if mask is None else cells * mask).sum(-1)


def weighted_sum(cells: Tensor, weights: Tensor) -> Tensor:
    """Sum over the columns with weights ``(n_columns,)``, of K models ``(K, 1, n_columns)``."""
    return cells @ weights if weights.ndim == 1 else (cells @ weights.mT)[..., 0]


def look_up(codes: Tensor, *tables: Tensor) -> list[Tensor]:
    """``table[columns, codes]`` of tables ``(n_columns, n_levels)``.

    K models' tables are ``(K, 1, n_columns, n_levels)``, codes then ``(..., K, n, n_columns)``. A
    gather would copy a column's row for each of its codes, in the backward pass at least.
    """
    shape = tables[0].shape[:-1]
    rows = torch.arange(shape.numel(), device=codes.device).view(shape)
    return [table.flatten(0, -2)[rows, codes] for table in tables]


def column_moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Number, mean and variance of every column's observed cells; 0 where there are none."""
    seen = torch.ones_like(x) if mask is None else mask
    n = seen.sum(0)
    mean = (x * seen).sum(0) / n.clamp(min=1)
    variance = ((x - mean).square() * seen).sum(0) / n.clamp(min=1)
    return n, mean, variance


def where_positive(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, r: Tensor) -> Tensor:
    """``function(x, r)`` for counts x, where it is 0 for x = 0: computed for the others only.

    Most cells of a wide table of counts are 0. Where no place may depend on a value, as under
    ``torch.func.vmap`` and in an exported graph, it is computed everywhere.
    """
    x, r = torch.broadcast_tensors(x, r)
    try:
        at = None if torch.compiler.is_compiling() else x.nonzero(as_tuple=True)
    except RuntimeError:
        at = None
    if at is None:
        return function(x, r)
    values = function(x[at], r[at])
    return values.new_zeros(x.shape).index_put(at, values)


def log_gamma_ratio(x: Tensor, r: Tensor) -> Tensor:
    r"""How far a rising factorial is from a power: log Gamma(r + x) - log Gamma(r) - x log r.

    The two log-gammas may be huge and their difference small, so neither is computed. Eight steps
    of Gamma(r + 1) = r Gamma(r) lead to a = r + 8, where Stirling's series is exact to 1e-11:

    .. math::

        \log \frac{\Gamma(r + x)}{\Gamma(r) r^x} = \left(a + x - \tfrac12\right)
        \log\left(1 + \frac{x}{a}\right) - x + s(a + x) - s(a)
        + x \log\left(1 + \frac{8}{r}\right) - \sum_{i=0}^{7} \log\left(1 + \frac{x}{r + i}\right)

    It goes smoothly to 0 as r grows.

    Parameters
    ----------
    x : Tensor
        At least 0.
    r : Tensor
        Greater than 0.
    """
    a = r + SHIFT
    stirling = (a + x - 0.5) * torch.log1p(x / a) - x + _series(a + x) - _series(a)
    steps = torch.zeros_like(a)
    for i in range(SHIFT):
        steps = steps + torch.log1p(x / (r + i))
    return stirling + x * torch.log1p(SHIFT / r) - steps


def _series(a: Tensor) -> Tensor:
    """What Stirling's formula for log Gamma(a) lacks, for a of at least 8."""
    inverse = 1 / a
    square = inverse * inverse
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))


def by_scipy(function: Callable[..., NDArray], outputs: Tensor, *arguments: Tensor) -> Tensor:
    """``function(*arguments)`` in NumPy and float64, on the device and in the type of outputs."""
    arrays = [argument.detach().cpu().double().numpy() for argument in arguments]
    return torch.from_numpy(np.asarray(function(*arrays))).to(outputs)


def count_quantile(
    distribution: Callable[[NDArray], NDArray], uniform: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The least count k with ``distribution(k) >= uniform``, at most 2^53 - 1.

    By doubling and bisection: SciPy's own quantiles give NaN for a large mean, or never end.
    """
    low, high = np.full(uniform.shape, -1.0), np.zeros(uniform.shape)
    while (short := (distribution(high) < uniform) & (high < LARGEST_COUNT)).any():
        low = np.where(short, high, low)
        high = np.where(short, 2 * high + 1, high)
    while (high - low > 1).any():
        middle = (low + high + 1) // 2  # never -1, which is no count
        enough = distribution(middle) >= uniform
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    return high
