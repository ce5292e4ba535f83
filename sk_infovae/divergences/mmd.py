"""Squared maximum mean discrepancy to the prior."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from sk_infovae.divergences.base import Codes, Divergence, no_estimate
from sk_infovae.divergences.kernels import (
    Kernel,
    check_bandwidth,
    kernel_class,
    squared_distances,
)

ESTIMATORS = ("samples", "mixture")


class MMD(Divergence):
    r"""Squared maximum mean discrepancy (Gretton et al., JMLR 2012), the prior in closed form.

    With a kernel k and :math:`p = N(0, I_d)`

    .. math::

        D = E_{qq} k - 2 E_{qp} k + E_{pp} k,

    at most 2. For the Gaussian kernel :math:`k(x, y) = \exp(-|x - y|^2 / (2 s^2))`

    .. math::

        E_{pp} k = \left(\frac{s^2}{s^2 + 2}\right)^{d/2}, \qquad
        E_p k(\cdot, y) = \left(\frac{s^2}{s^2 + 1}\right)^{d/2}
        \exp\left(-\frac{|y|^2}{2 (s^2 + 1)}\right),

    and the inverse multiquadric :math:`k(x, y) = C / (C + |x - y|^2)` (Tolstikhin et al., ICLR
    2018) is a mixture of such terms. No prior sample is drawn. The q-q term is the U-statistic
    over pairs i != j, so the estimate is unbiased and may be below 0.

    Parameters
    ----------
    kernel : {"gaussian", "imq"}, default="gaussian"
        "imq" has heavier tails: codes far from all others are still pulled back.
    bandwidth : float or sequence of float, default=None
        :math:`s^2` or C, in latent units squared; the kernels of a sequence are averaged. None
        means ``n_components`` for "gaussian" and ``2 * n_components`` for "imq": the squared
        distance of two prior draws grows with the dimension, and a kernel that does not grow with
        it (or grows as its square) goes blind.
    estimator : {"samples", "mixture"}, default="samples"
        "samples" takes one draw z of each q(z|x). "mixture" takes the Gaussians q(z|x) themselves,
        which leaves no sampling noise but that of the rows, at n_components times the cost (and
        41 times that for "imq").
    """

    stackable = frozenset({"bandwidth"})

    def __init__(
        self,
        kernel: str = "gaussian",
        bandwidth: float | Sequence[float] | None = None,
        estimator: str = "samples",
    ):
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.estimator = estimator

    def __call__(self, codes: Codes) -> Tensor:
        """Unbiased estimate of the squared MMD, see `Divergence`."""
        *leading, n, d = codes.z.shape
        kernels = self._kernels(d)
        if n < 2:
            return no_estimate(codes.z)
        if self.estimator == "samples":
            qq, qp = _from_samples(codes.z, kernels)
        else:
            qq, qp = _from_mixture(*codes.posterior, kernels)
        origin = codes.z.new_zeros(leading)
        pp = sum(kernel.isotropic_mean(origin, 2.0, d) for kernel in kernels)
        return (qq / (n * (n - 1)) - 2 * qp.mean(-1) + pp) / len(kernels)

    def _kernels(self, d: int) -> tuple[Kernel, ...]:
        make = kernel_class(self.kernel)
        if self.estimator not in ESTIMATORS:
            raise ValueError(
                f"MMD's estimator must be one of {list(ESTIMATORS)}, got "
                f"estimator={self.estimator!r}."
            )
        if self.bandwidth is None:
            return (make(make.default_scale * d),)
        given: Any = self.bandwidth
        several = isinstance(given, Iterable) and not isinstance(given, Tensor)
        bandwidths = list(given) if several else [given]
        if not bandwidths:
            raise ValueError(
                "MMD needs at least one bandwidth, got an empty sequence. Leave it None to let it "
                "grow with n_components."
            )
        return tuple(make(check_bandwidth(bandwidth)) for bandwidth in bandwidths)


def _from_samples(z: Tensor, kernels: Sequence[Kernel]) -> tuple[Tensor, Tensor]:
    """Sum over i != j of k(z_i, z_j), and E_p k(., z_i) ``(..., n)``, summed over kernels."""
    n, d = z.shape[-2:]
    pair_sum, _ = PairSum.apply(z, type(kernels[0]), *(kernel.bandwidth for kernel in kernels))
    norms = z.square().sum(-1)
    to_prior = [kernel.isotropic_mean(norms, 1.0, d) for kernel in kernels]
    return pair_sum - n * len(kernels), sum(to_prior[1:], to_prior[0])


def _from_mixture(
    mean: Tensor, log_variance: Tensor, kernels: Sequence[Kernel]
) -> tuple[Tensor, Tensor]:
    """The same with every k replaced by its mean over z_i ~ N(m_i, diag v_i)."""
    variance = log_variance.exp()
    squares = (mean[..., :, None, :] - mean[..., None, :, :]).square()
    variances = variance[..., :, None, :] + variance[..., None, :, :]
    pairs = sum(kernel.diagonal_mean(squares, variances) for kernel in kernels)
    assert isinstance(pairs, Tensor)
    qq = pairs.sum((-2, -1)) - pairs.diagonal(dim1=-2, dim2=-1).sum(-1)
    qp = sum(kernel.diagonal_mean(mean.square(), variance + 1) for kernel in kernels)
    assert isinstance(qp, Tensor)
    return qq, qp


class PairSum(torch.autograd.Function):
    """Sum over all i, j of phi(|z_i - z_j|^2) for z ``(..., n, d)``, summed over bandwidths.

    Its gradient, d/dz_i = 4 sum_j phi'_ij (z_i - z_j), is one matrix product with the slopes of
    the forward pass; autograd would walk back through every step that made them, at twice the
    time. Second derivatives are not provided.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(  # type: ignore[override]
        z: Tensor, make: type[Kernel], *bandwidths: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum ``(...)`` and the slopes ``(..., n, n)`` that the backward pass needs."""
        r2, kernels = squared_distances(z), [make(bandwidth) for bandwidth in bandwidths]
        value, slope = kernels[0].value_and_slope(r2)
        for kernel in kernels[1:]:
            more, more_slope = kernel.value_and_slope(r2)
            value, slope = value + more, slope + more_slope
        return value.sum((-2, -1)), slope

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep z and the slopes; no gradient flows into these, nor into the bandwidths."""
        ctx.n_inputs = len(inputs)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """The formula of the class docstring, shifted as in the forward pass."""
        z, slope = ctx.saved_tensors
        z = z - z.mean(-2, keepdim=True)
        # slope is symmetric, and products with few columns are slow.
        pull = slope.sum(-1, keepdim=True) * z - (z.mT @ slope).mT
        return 4 * grad[..., None, None] * pull, *[None] * (ctx.n_inputs - 1)
