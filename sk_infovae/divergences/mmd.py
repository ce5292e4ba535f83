"""Squared maximum mean discrepancy to the prior."""

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
        qq = kernel_pair_sum(z, s2) / (n * (n - 1))
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


def kernel_pair_sum(z: Tensor, s2: float) -> Tensor:
    """Sum over i != j of exp(-|z_i - z_j|^2 / (2 s2)) for z ``(..., n, d)``.

    The exponent is one inner product of widened vectors,
    ``[z_i, -|z_i|^2 / 2, 1] . [z_j, 1, -|z_j|^2 / 2]``: the only n by n arrays are this product,
    its exponential, and one gradient, which autograd turns back into two matrix products.
    """
    # Distances don't change under a shift, but float32 loses digits of large norms.
    z = z - z.mean(-2, keepdim=True)
    half_norms = 0.5 * z.square().sum(-1, keepdim=True)
    ones = torch.ones_like(half_norms)
    left = torch.cat([z, -half_norms, ones], -1) / s2
    right = torch.cat([z, ones, -half_norms], -1)
    return torch.exp(left @ right.mT).sum((-2, -1)) - z.shape[-2]
