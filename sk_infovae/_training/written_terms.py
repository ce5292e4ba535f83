"""The objective's terms with their gradients written out, in memory that every step uses again."""

import math

import torch
from torch import Tensor, nn

from sk_infovae._base.posterior import MOST_LOG_VARIANCE, Posterior
from sk_infovae._training.written_layers import LONE, STACK, Layer
from sk_infovae.divergences import Codes, Divergence
from sk_infovae.likelihoods.gaussian import LOG_2PI


def constants(like: Tensor, *values: float) -> tuple[Tensor, ...]:
    """Numbers as tensors of the same kind: torch would make one of each number in each step."""
    return like.new_tensor(values).unbind()


class Draw:
    r"""z = m + s e with s = exp(l / 2), and the batch's mean KL, on batches of one size.

    l is held at `MOST_LOG_VARIANCE`, beyond which it has no gradient.

    .. math::

        \text{KL} = \frac{1}{2n} \sum_{il} (m_{il}^2 + s_{il}^2 - l_{il} - 1)

    and, with the weight w of KL and the gradient g of all other terms with respect to z,

    .. math::

        \frac{dL}{dm} = g + \frac wn m, \qquad
        \frac{dL}{dl} = \frac12 \left( g\, e\, s + \frac wn (s^2 - 1) \right).

    Parameters
    ----------
    h : Tensor of shape (..., n, 2 d)
        m and l side by side, and then their gradients: where the encoder writes.
    """

    def __init__(self, h: Tensor):
        self.mean, self.log_variance = h.chunk(2, -1)
        self.std, self.variance, self.z, self.part, self.within = (
            torch.empty_like(self.mean, memory_format=torch.contiguous_format) for _ in range(5)
        )
        # Columns one after the other: a product with few columns is slow, its mirror image is not.
        self.gradient = torch.empty_like(self.z.mT, memory_format=torch.contiguous_format).mT
        self.n, self.d = self.z.shape[-2:]
        values = 0.5, 1.0, 1 / self.n, -0.5 * self.d, MOST_LOG_VARIANCE
        self.half, self.one, self.per_row, self.kl_of_0, self.most = constants(self.z, *values)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z and the mean KL ``(...)``."""
        torch.le(self.log_variance, self.most, out=self.within)
        torch.mul(self.log_variance.clamp_(max=MOST_LOG_VARIANCE), self.half, out=self.std).exp_()
        torch.addcmul(self.mean, self.std, noise, out=self.z)
        torch.mul(self.std, self.std, out=self.variance)
        torch.addcmul(self.variance, self.mean, self.mean, out=self.part)
        total = self.part.sub_(self.log_variance).sum((-2, -1))
        return self.z, torch.add(self.kl_of_0, total, alpha=0.5 / self.n)

    def backward(self, noise: Tensor, weight: Tensor) -> None:
        """Gradients in the places of m and l, from g in `gradient`; w is ``(..., 1, 1)``."""
        per_row = weight * self.per_row
        torch.addcmul(self.gradient, self.mean, per_row, out=self.mean)
        torch.mul(self.gradient, noise, out=self.part).mul_(self.std)
        self.part.addcmul_(self.variance.sub_(self.one), per_row)
        torch.mul(self.part, self.half, out=self.log_variance)

    def hold(self) -> None:
        """Take the gradient from each l that was held."""
        self.log_variance.mul_(self.within)


class GaussianNoise:
    r"""The batch's mean log density of Gaussian columns, on batches of one size.

    With r = o - x (0 where a cell is missing), :math:`f_j` the part of the rows in which column j
    was observed and :math:`\log v_j = \log(\text{floor} + e^{\rho_j})`

    .. math::

        E \log p(x|z) = -\frac12 \sum_j \left[ q_j + f_j (\log v_j + \log 2 \pi) \right],
        \qquad q_j = \frac1n \sum_i \frac{r_{ij}^2}{v_j},

    .. math::

        \frac{dL}{do_{ij}} = \frac{r_{ij}}{n v_j}, \qquad
        \frac{dL}{d\rho_j} = \frac12 (f_j - q_j)\, e^{\rho_j} / v_j.

    Parameters
    ----------
    rho, gradient : Tensor of shape (..., 1, n_columns), or (..., 1, 1) where columns share it
    layer : Layer
        The decoder's last one: its h holds r, and then dL/do.
    floor : float
    """

    def __init__(self, rho: Tensor, gradient: Tensor, layer: Layer, floor: float):
        self.rho, self.gradient = rho, gradient
        self.r, self.r_squared = layer.h, torch.empty_like(layer.h)
        *stack, n, c = self.r.shape
        self.log_floor = self.r.new_full((*stack, 1, c), math.log(floor))
        values = 0.0, 0.5, -0.5, LOG_2PI, -math.log(n)
        constant = constants(self.r, *values)
        self.zero, self.half, self.minus_half, self.log_2pi, self.log_per_row = constant
        self.log_variance, self.precision, self.slope, self.squares, self.part, self.observed = (
            torch.ones_like(self.log_floor) for _ in range(6)
        )

    def evaluate(self, mask: Tensor | None) -> Tensor:
        """The mean log density ``(...)``; writes the gradients of its negative."""
        torch.logaddexp(self.rho, self.log_floor, out=self.log_variance)
        torch.sub(self.log_per_row, self.log_variance, out=self.precision).exp_()  # 1 / (n v)
        torch.sub(self.rho, self.log_variance, out=self.slope).exp_()
        if mask is not None:
            self.r.mul_(mask)
            torch.mean(mask, -2, keepdim=True, out=self.observed)
        else:
            self.observed.fill_(1)
        torch.mul(self.r, self.r, out=self.r_squared)
        torch.sum(self.r_squared, -2, keepdim=True, out=self.squares).mul_(self.precision)
        self.r.mul_(self.precision)
        torch.sub(self.observed, self.squares, out=self.part)
        if self.gradient.shape == self.part.shape:
            torch.addcmul(self.zero, self.part, self.slope, value=0.5, out=self.gradient)
        else:
            half = self.part.mul_(self.slope).mul_(self.half)
            torch.sum(half, -1, keepdim=True, out=self.gradient)
        constant = self.log_variance.add_(self.log_2pi)
        torch.addcmul(self.squares, self.observed, constant, out=self.part)
        return self.part.sum((-2, -1)).mul_(self.minus_half)


class GaussianMMD:
    r"""`MMD` with one Gaussian kernel on draws, on batches of one size.

    With :math:`t = 1 / (2 s^2)`, :math:`k_{ij} = \exp(-t |z_i - z_j|^2)`,
    :math:`p_i = \exp(-\frac{t}{1 + 2t} |z_i|^2)` and :math:`A = (1 + 2t)^{-d/2}`

    .. math::

        D = \frac{1}{n (n - 1)} \sum_{i \ne j} k_{ij} - \frac{2 A}{n} \sum_i p_i + (1 + 4t)^{-d/2},

    .. math::

        \frac{dD}{dz_i} = \frac{4t}{n (n - 1)} \left[ \sum_j k_{ij} (z_j - z_i)
        + \frac{(n - 1) A}{1 + 2t} p_i z_i \right].

    With :math:`y_i = \sqrt{t / \log 2}\, (z_i - \bar z)` the exponents of all pairs, of 2, are one
    product, of the rows ``[2 y_i, -|y_i|^2, -1]`` and ``[y_j, 1, |y_j|^2]``; the sums over j are
    another, with ``[y_j, 1]``.

    Parameters
    ----------
    z : Tensor of shape (..., n, d)
        Memory of the draws.
    gradient : Tensor of the same shape
        Memory of the gradient of w D.
    bandwidth : float
        s^2.
    """

    def __init__(self, z: Tensor, gradient: Tensor, bandwidth: float):
        *stack, n, d = z.shape
        self.z, self.gradient, self.n = z, gradient, n
        self.products = STACK if stack else LONE
        self._weigh(0.5 / bandwidth, max(n, 2), d)
        left, right = z.new_empty(*stack, n, d + 2), z.new_ones(*stack, n, d + 2)
        left[..., d + 1 :] = -1
        self.left, self.right_t = left, right.mT
        self.left_y, self.left_norms = left[..., :d], left[..., d : d + 1]
        self.y, self.norms = right[..., :d], right[..., d + 1 :]
        self.summed_t, self.y_t = right[..., : d + 1].mT, self.y.mT
        self.k, sums = z.new_empty(*stack, n, n), z.new_empty(*stack, d + 1, n)
        self.sums, self.sums_y, self.sums_k = sums, sums[..., :d, :], sums[..., d:, :]
        self.sums_y_t = self.sums_y.mT
        self.total, self.squares = z.new_empty(*stack, 1, d), torch.empty_like(z)
        self.p = z.new_empty(*stack, n, 1)

    def _weigh(self, t: float, n: int, d: int) -> None:
        """The factors of the formulas."""
        to_prior = (1 + 2 * t) ** (-d / 2)
        self.per_pair, self.per_row = 1 / (n * (n - 1)), -2 * to_prior / n
        scale = math.sqrt(t / math.log(2))
        self.two, self.scale, self.rate, self.pull, self.slope, self.rest = constants(
            self.z,
            2.0,
            scale,
            -t / (1 + 2 * t),
            scale * (n - 1) * to_prior / (1 + 2 * t),
            4 * t * self.per_pair / scale,
            (1 + 4 * t) ** (-d / 2) - 1 / (n - 1),  # without the pairs i = j
        )

    def evaluate(self, noise: Tensor, n_rows: int | None, weight: Tensor) -> Tensor:
        """D ``(...)``; writes the gradient of w D, ``weight`` being w ``(..., 1, 1)``."""
        if self.n < 2:
            return self.gradient.zero_().sum((-2, -1))
        self._pairs()
        torch.mul(self.z, self.z, out=self.squares)
        torch.sum(self.squares, -1, keepdim=True, out=self.p).mul_(self.rate).exp_()
        value = torch.add(self.rest, self.sums_k.sum((-2, -1)), alpha=self.per_pair)
        value.add_(self.p.sum((-2, -1)), alpha=self.per_row)
        torch.addcmul(self.sums_y_t, self.z, self.p.mul_(self.pull), out=self.gradient)
        self.gradient.mul_(weight * self.slope)
        return value

    def _pairs(self) -> None:
        """k, its sums over j, and those of k_ij (y_j - y_i)."""
        torch.sum(self.z, -2, keepdim=True, out=self.total)
        torch.add(self.z, self.total, alpha=-1 / self.n, out=self.y).mul_(self.scale)
        torch.mul(self.y, self.y, out=self.squares)
        torch.sum(self.squares, -1, keepdim=True, out=self.norms)
        torch.neg(self.norms, out=self.left_norms)
        torch.mul(self.y, self.two, out=self.left_y)
        self.products.mm(self.left, self.right_t, out=self.k).exp2_()  # a third of exp's time
        # k is symmetric, and products with few columns are slow.
        self.products.mm(self.summed_t, self.k, out=self.sums)
        torch.addcmul(self.sums_y, self.y_t, self.sums_k, value=-1, out=self.sums_y)


class NeighborInformation:
    r"""`neighbor_information` on batches of one size, and its gradients.

    With :math:`W_i = \sum_j w_{ij}` and :math:`A_{ij} = w_{ij}^2 / W_i - \delta_{ij} w_{ii}`, and g
    the weight of I,

    .. math::

        \frac{d(-gI)}{dm_i} = \frac{-2 g s^2}{n} \sum_j A_{ij} (m_i - m'_j), \qquad
        \frac{d(-gI)}{dm'_j} = \frac{-2 g s^2}{n} \sum_i A_{ij} (m'_j - m_i),

    .. math::

        \frac{d(-gI)}{d \log s} = \frac{2 g}{n} \sum_{ij} A_{ij}.

    With :math:`y = s (m - \bar m')`, :math:`1 / w_{ij}` is the product of the rows
    ``[-2 y_i, 1 + |y_i|^2, 1]`` and ``[y'_j, 1, |y'_j|^2]``.

    Parameters
    ----------
    mean : Tensor of shape (..., n, d)
        Memory of the means, and then of their gradients.
    near : Tensor of shape (..., n, 2 d)
        The same of the neighbours, beside their log-variances, which have none.
    log_scale : Tensor of shape (...)
    """

    def __init__(self, mean: Tensor, near: Tensor, log_scale: nn.Parameter):
        *stack, n, d = mean.shape
        self.mean, self.near_h, self.near = mean, near, near[..., :d]
        self.log_scale, self.n, self.d = log_scale, n, d
        self.products = STACK if stack else LONE
        self.left, right = mean.new_ones(*stack, n, d + 2), mean.new_ones(*stack, n, d + 2)
        self.right, self.right_t = right, right.mT
        self.w, self.a = mean.new_empty(*stack, n, n), mean.new_empty(*stack, n, n)
        self.own, self.a_own = (x.diagonal(dim1=-2, dim2=-1) for x in (self.w, self.a))

    def evaluate(self, weight: Tensor) -> Tensor:
        """I ``(...)``; keeps the gradients for `add`; ``weight`` is g ``(..., 1, 1)``."""
        scale = self.log_scale.detach().exp()[..., None, None]
        centre = self.near.mean(-2, keepdim=True)
        y, y_near = (self.mean - centre) * scale, (self.near - centre) * scale
        norms, d = y.square().sum(-1, keepdim=True), self.d
        torch.mul(y, -2, out=self.left[..., :d])
        torch.add(norms, 1, out=self.left[..., d : d + 1])
        self.right[..., :d] = y_near
        torch.sum(y_near.square(), -1, keepdim=True, out=self.right[..., d + 1 :])
        w = self.products.mm(self.left, self.right_t, out=self.w).clamp_(min=1).reciprocal_()
        total = w.sum(-1, keepdim=True)
        information = math.log(self.n) + (self.own / total[..., 0]).log_().mean(-1)
        torch.div(w, total, out=self.a).mul_(w)
        self.a_own.sub_(self.own)
        by_row, by_column = self.a.sum(-1, keepdim=True), self.a.sum(-2)[..., None]
        rate = weight * scale * (-2 / self.n)
        self.to_mean = (y * by_row).sub_(self.a @ y_near).mul_(rate)
        self.to_near = (y_near * by_column).sub_(self.a.mT @ y).mul_(rate)
        self.to_scale = by_row.sum((-2, -1)) * (weight[..., 0, 0] * (2 / self.n))
        return information

    def add(self) -> None:
        """Add to the gradient of the means; write those of the neighbours and of log s."""
        self.mean.add_(self.to_mean)
        self.near_h[..., self.d :].zero_()
        self.near.copy_(self.to_near)
        self.log_scale.grad = self.to_scale


class AnyDivergence:
    """A divergence that learns nothing, its gradient by autograd from the codes on.

    Parameters
    ----------
    divergence : Divergence
    draw : Draw
    """

    def __init__(self, divergence: Divergence, draw: Draw):
        self.divergence, self.draw = divergence, draw
        self.extra: list[Tensor | None] = []

    def evaluate(self, noise: Tensor, n_rows: int | None, weight: Tensor) -> Tensor:
        """D ``(...)``; writes the gradient of w D with respect to z."""
        own = self.draw.z, self.draw.mean, self.draw.log_variance
        leaves = [v.detach().requires_grad_() for v in own]
        z, *posterior = leaves
        codes = Codes(z, Posterior(*posterior), noise[..., self.draw.n :, :], n_rows)
        with torch.enable_grad():
            value = self.divergence(codes)
            grads = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        to_z, *self.extra = [None if g is None else g * weight for g in grads]
        self.draw.gradient.zero_() if to_z is None else self.draw.gradient.copy_(to_z)
        return value.detach()

    def add_to_posterior(self) -> None:
        """Add what D asks of q(z|x) itself, once the rest of its gradient is there."""
        places = self.draw.mean, self.draw.log_variance
        for place, gradient in zip(places, self.extra, strict=True):
            if gradient is not None:
                place.add_(gradient)
