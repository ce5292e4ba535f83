"""Squared maximum mean discrepancy to the prior."""

from typing import Any

import torch
from torch import Tensor

from sk_infovae.divergences.base import Divergence
from sk_infovae.posterior import Posterior


class MMD(Divergence):
    r"""Squared maximum mean discrepancy with a Gaussian kernel (Gretton et al., JMLR 2012).

    With :math:`k(x, y) = \exp(-|x - y|^2 / (2 s^2))` and :math:`p = N(0, I_d)`

    .. math::

        D = E_{qq} k - 2 E_{qp} k + E_{pp} k, \qquad
        E_{pp} k = \left(\frac{s^2}{s^2 + 2}\right)^{d/2}, \qquad
        E_p k(\cdot, y) = \left(\frac{s^2}{s^2 + 1}\right)^{d/2}
        \exp\left(-\frac{|y|^2}{2 (s^2 + 1)}\right).

    The expectations over the prior are exact, no prior sample is drawn. The q-q term is the
    U-statistic over pairs i != j, so the estimate is unbiased and may be below 0.

    Parameters
    ----------
    bandwidth : float, default=None
        :math:`s^2`, the squared length scale in latent units. None means ``n_components``: the
        squared distance of two prior draws grows with the dimension, and a kernel that does not
        grow with it (or grows as its square) goes blind.
    """

    def __init__(self, bandwidth: float | None = None):
        self.bandwidth = bandwidth

    def __call__(self, z: Tensor, posterior: Posterior) -> Tensor:
        """Unbiased estimate of the squared MMD, see `Divergence`."""
        n, d = z.shape[-2:]
        if n < 2:
            return z.sum((-2, -1)) * 0.0
        s2 = self._bandwidth(d)
        pair_sum, _ = GaussianPairSum.apply(z, s2)
        qq = pair_sum / (n * (n - 1))
        qp = (s2 / (s2 + 1)) ** (d / 2) * torch.exp(z.square().sum(-1) * (-0.5 / (s2 + 1))).mean(-1)
        pp = (s2 / (s2 + 2)) ** (d / 2)
        return qq - 2 * qp + pp

    def _bandwidth(self, d: int) -> float:
        s2 = float(d) if self.bandwidth is None else float(self.bandwidth)
        if not 0 < s2 < float("inf"):
            raise ValueError(
                f"MMD needs a positive and finite bandwidth (squared length scale), got "
                f"bandwidth={self.bandwidth!r}. Leave it None for n_components."
            )
        return s2


class GaussianPairSum(torch.autograd.Function):
    """Sum over i != j of K_ij = exp(-|z_i - z_j|^2 / (2 s2)) for z ``(..., n, d)``.

    Its gradient, d/dz_i = 2 / s2 [ (K z)_i - (K 1)_i z_i ], is one matrix product with the kernel
    matrix of the forward pass; autograd would walk back through every step that made it, at twice
    the time. Second derivatives are not provided.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, s2: float) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the sum ``(...)`` and K ``(..., n, n)``, which the backward pass needs."""
        # Distances don't change under a shift, but float32 loses digits of large norms.
        z = (z - z.mean(-2, keepdim=True)) * s2**-0.5
        half_norms = -0.5 * z.square().sum(-1, keepdim=True)
        kernel = (z @ z.mT + half_norms + half_norms.mT).exp()
        return kernel.sum((-2, -1)) - z.shape[-2], kernel

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep z and K; no gradient flows into K itself."""
        z, ctx.s2 = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(z, output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """The formula of the class docstring, shifted as in the forward pass."""
        z, kernel = ctx.saved_tensors
        z = z - z.mean(-2, keepdim=True)
        pull = kernel @ z - kernel.sum(-1, keepdim=True) * z
        return (2 / ctx.s2) * grad[..., None, None] * pull, None
