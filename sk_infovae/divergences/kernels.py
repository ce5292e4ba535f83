r"""Radial kernels k(x, y) = phi(|x - y|^2), and what they are on average over Gaussians.

Both are scale mixtures of Gaussians, :math:`\phi(r^2) = \int w(t) e^{-t r^2} dt`, and for
:math:`r \sim N(m, diag\, v)`

.. math::

    E\, e^{-t |r|^2} = \prod_l (1 + 2 t v_l)^{-1/2} \exp\left(-\frac{t m_l^2}{1 + 2 t v_l}\right),

so that an expectation over the prior, or over a mixture of Gaussians, needs no sample.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from numbers import Real
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sk_infovae.divergences.base import per_model


class Derivatives(NamedTuple):
    """phi and its first two derivatives at r^2."""

    value: Tensor
    first: Tensor
    second: Tensor


class Kernel(ABC):
    """A radial kernel with phi(0) = 1.

    Parameters
    ----------
    bandwidth : float or Tensor of shape (K,)
        Squared length scale, in latent units squared; a tensor for K models at once, which the
        methods' arguments then have as their first axis.
    """

    default_scale: ClassVar[float]
    """Default bandwidth in units of the number of dimensions."""

    def __init__(self, bandwidth: float | Tensor):
        self.bandwidth = bandwidth

    @abstractmethod
    def value_and_slope(self, r2: Tensor) -> tuple[Tensor, Tensor]:
        """phi and its derivative at r^2."""

    @abstractmethod
    def curvature(self, r2: Tensor) -> Tensor:
        """Second derivative of phi at r^2."""

    @abstractmethod
    def nodes(self) -> Sequence[tuple[float, float]]:
        """Rates t, in units of 1 / bandwidth, and weights: phi(r^2) = sum of weight exp(-t r^2)."""

    def isotropic_mean(self, squared_norm: Tensor, variance: float, d: int) -> Tensor:
        """E phi(|r|^2) for r ~ N(m, variance I) in d dimensions, by |m|^2."""
        device = squared_norm.device
        nodes, weights = torch.tensor(self.nodes(), dtype=torch.float64, device=device).unbind(-1)
        squares = squared_norm[..., None]
        rates = (nodes / per_model(self.bandwidth, squares)).to(squares)
        shrink = 1 + 2 * variance * rates
        tilt = torch.exp(-squares * (rates / shrink))
        shares = weights.to(squares) * shrink ** (-d / 2)
        stacked = isinstance(self.bandwidth, Tensor)
        return (tilt * shares).sum(-1) if stacked else tilt @ shares

    def diagonal_mean(self, squares: Tensor, variances: Tensor) -> Tensor:
        """E phi(|r|^2) for r ~ N(m, diag v), by m_l^2 and v_l ``(..., d)``."""
        total: Tensor | float = 0.0
        bandwidth = per_model(self.bandwidth, squares)
        for node, weight in self.nodes():
            rate = node / bandwidth
            shrink = 1 + 2 * rate * variances
            exponent = (0.5 * shrink.log() + rate * squares / shrink).sum(-1)
            total = total + weight * torch.exp(-exponent)
        assert isinstance(total, Tensor)
        return total


class GaussianKernel(Kernel):
    """exp(-r^2 / (2 s^2)), the bandwidth being s^2."""

    default_scale = 1.0

    def value_and_slope(self, r2: Tensor) -> tuple[Tensor, Tensor]:
        """phi and its derivative at r^2."""
        rate = 0.5 / per_model(self.bandwidth, r2)
        value = torch.exp2((-rate / math.log(2)) * r2)  # a third of exp's time
        return value, -rate * value

    def curvature(self, r2: Tensor) -> Tensor:
        """Second derivative of phi at r^2."""
        rate = 0.5 / per_model(self.bandwidth, r2)
        return rate**2 * torch.exp(-rate * r2)

    def nodes(self) -> Sequence[tuple[float, float]]:
        """One Gaussian."""
        return [(0.5, 1.0)]

    def isotropic_mean(self, squared_norm: Tensor, variance: float, d: int) -> Tensor:
        """The same in one term, without a sum that a small batch spends its time on."""
        rate = 0.5 / per_model(self.bandwidth, squared_norm)
        shrink = 1 + 2 * variance * rate
        return torch.exp((-rate / shrink) * squared_norm) * shrink ** (-d / 2)


class InverseMultiquadric(Kernel):
    r"""(1 + r^2 / C)^(-power), the bandwidth being C.

    Heavier tails than a Gaussian: codes far away are still pulled back.
    """

    default_scale = 2.0

    def __init__(self, bandwidth: float | Tensor, power: float = 1.0):
        super().__init__(bandwidth)
        self.power = power

    def value_and_slope(self, r2: Tensor) -> tuple[Tensor, Tensor]:
        """phi and its derivative at r^2."""
        bandwidth = per_model(self.bandwidth, r2)
        base = 1 + r2 / bandwidth
        value = base.reciprocal() if self.power == 1 else base**-self.power
        return value, (-self.power / bandwidth) * value / base

    def curvature(self, r2: Tensor) -> Tensor:
        """Second derivative of phi at r^2."""
        bandwidth = per_model(self.bandwidth, r2)
        factor = self.power * (self.power + 1) / bandwidth**2
        return factor * (1 + r2 / bandwidth) ** (-self.power - 2)

    def nodes(self) -> Sequence[tuple[float, float]]:
        """t C is Gamma(power): trapezoids in log t, the rest of the weight at t = 0."""
        return gamma_rule(self.power)


@lru_cache
def gamma_rule(shape: float, n_nodes: int = 40) -> tuple[tuple[float, float], ...]:
    """Nodes and weights of E f(t) for t ~ Gamma(shape, 1), f smooth in log t.

    Trapezoids in log t converge geometrically here; what the density has below the first node, in
    which f hardly changes, goes to t = 0. Weights sum to 1.
    """
    low, high = math.log(1e-6), math.log(40.0)
    step = (high - low) / (n_nodes - 1)
    nodes = [math.exp(low + step * k) for k in range(n_nodes)]
    weights = [step * t**shape * math.exp(-t) / math.gamma(shape) for t in nodes]
    return (0.0, 1 - sum(weights)), *zip(nodes, weights, strict=True)


KERNELS: dict[str, type[Kernel]] = {"gaussian": GaussianKernel, "imq": InverseMultiquadric}


def check_bandwidth(bandwidth: object) -> float | Tensor:
    """Return the bandwidth as a float; a tensor, which holds those of K models, as it is.

    Raises
    ------
    ValueError
        When it is not a positive and finite number.
    """
    if isinstance(bandwidth, Tensor):
        return bandwidth
    if not (isinstance(bandwidth, Real) and 0 < float(bandwidth) < math.inf):
        raise ValueError(
            "A kernel needs a positive and finite bandwidth (squared length scale), got "
            f"bandwidth={bandwidth!r}. Leave it None to let it grow with n_components."
        )
    return float(bandwidth)


def kernel_class(name: str) -> type[Kernel]:
    """The kernel of that name.

    Raises
    ------
    ValueError
        When there is none.
    """
    if not isinstance(name, str) or name not in KERNELS:
        raise ValueError(f"kernel must be one of {sorted(KERNELS)}, got kernel={name!r}.")
    return KERNELS[name]


def squared_distances(z: Tensor) -> Tensor:
    """|z_i - z_j|^2 for z ``(..., n, d)``, by one matrix product."""
    # Distances don't change under a shift, but float32 loses digits of large norms.
    z = z - z.mean(-2, keepdim=True)
    norms = z.square().sum(-1, keepdim=True)
    one = torch.ones_like(norms)
    return torch.cat([-2 * z, norms, one], -1) @ torch.cat([z, one, norms], -1).mT
