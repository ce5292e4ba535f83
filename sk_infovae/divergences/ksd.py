"""Kernelised Stein discrepancy from the prior."""

from torch import Tensor

from sk_infovae.divergences.base import Codes, Divergence, no_estimate
from sk_infovae.divergences.kernels import (
    InverseMultiquadric,
    Kernel,
    check_bandwidth,
    kernel_class,
    squared_distances,
)


class KSD(Divergence):
    r"""Squared kernelised Stein discrepancy from N(0, I) (Liu, Lee and Jordan, ICML 2016).

    The prior enters only by its score :math:`s(z) = -z`, and D is the mean of

    .. math::

        u(x, y) &= s(x)^\top s(y)\, k + s(x)^\top \nabla_y k + s(y)^\top \nabla_x k
        + \mathrm{tr} \nabla_x \nabla_y k \\
        &= x^\top y\, \phi + 2 r^2 \phi' - 2 d \phi' - 4 r^2 \phi''

    over pairs i != j for a radial kernel :math:`k = \phi(r^2)`, :math:`r = |x - y|`: a U-statistic,
    unbiased, which may be below 0.

    Parameters
    ----------
    kernel : {"imq", "gaussian"}, default="imq"
        "imq" is :math:`(1 + r^2 / C)^{-1/2}`, which can tell when codes escape (Gorham and Mackey,
        ICML 2017); under "gaussian", :math:`\exp(-r^2 / (2 s^2))`, far codes go unseen.
    bandwidth : float, default=None
        C or :math:`s^2`, in latent units squared. None means ``n_components / 4`` for "imq" and
        ``n_components`` for "gaussian": with a wider C, codes of half the prior's variance look
        like the prior's in 64 dimensions.
    """

    stackable = frozenset({"bandwidth"})

    def __init__(self, kernel: str = "imq", bandwidth: float | None = None):
        self.kernel = kernel
        self.bandwidth = bandwidth

    def __call__(self, codes: Codes) -> Tensor:
        """Unbiased estimate of the squared discrepancy, see `Divergence`."""
        z = codes.z
        n, d = z.shape[-2:]
        kernel = self._kernel(d)
        if n < 2:
            return no_estimate(z)
        r2 = squared_distances(z)
        phi, first = kernel.value_and_slope(r2)
        second = kernel.curvature(r2)
        stein = (z @ z.mT) * phi + 2 * (r2 - d) * first - 4 * r2 * second
        pairs = stein.sum((-2, -1)) - stein.diagonal(dim1=-2, dim2=-1).sum(-1)
        return pairs / (n * (n - 1))

    def _kernel(self, d: int) -> Kernel:
        make = kernel_class(self.kernel)
        if make is InverseMultiquadric:
            return InverseMultiquadric(self._bandwidth(d / 4), power=0.5)
        return make(self._bandwidth(make.default_scale * d))

    def _bandwidth(self, default: float) -> float | Tensor:
        return default if self.bandwidth is None else check_bandwidth(self.bandwidth)
