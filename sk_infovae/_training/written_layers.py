"""Layers and activations with their gradients written out, in memory that every step uses again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

aten: Any = torch.ops.aten


class Affine(NamedTuple):
    """A linear layer's parameters and the memory of their gradients; None for what is not learned.

    ``weight`` is ``(..., n_outputs, n_inputs)`` and ``bias`` ``(..., 1, n_outputs)``; the leading
    dimension of a stack is the model.
    """

    weight: Tensor
    bias: Tensor | None
    weight_gradient: Tensor | None
    bias_gradient: Tensor | None


class Activation:
    """h = f(a) and f'(a), for a that stands in the memory of h.

    Parameters
    ----------
    h : Tensor
        Memory of a, then h.
    """

    def __init__(self, h: Tensor):
        self.h, self.slope, self.one = h, torch.empty_like(h), h.new_ones(())

    def forward(self) -> None:
        """Turn a into h."""
        raise NotImplementedError

    def derive(self) -> None:
        """Write f'(a) into `slope`; h is no longer needed then."""
        raise NotImplementedError


class SiLU(Activation):
    """h = a s with s = sigmoid(a), and f' = s + h (1 - s): no exponential on the way back."""

    def forward(self) -> None:
        self.h.mul_(torch.sigmoid(self.h, out=self.slope))

    def derive(self) -> None:
        torch.lerp(self.slope, self.one, self.h, out=self.slope)


class ReLU(Activation):
    """h = max(a, 0), and f' = sign(h)."""

    def forward(self) -> None:
        self.h.relu_()

    def derive(self) -> None:
        torch.sign(self.h, out=self.slope)


class Tanh(Activation):
    """h = tanh(a), and f' = 1 - h^2."""

    def forward(self) -> None:
        self.h.tanh_()

    def derive(self) -> None:
        torch.addcmul(self.one, self.h, self.h, value=-1, out=self.slope)


class ELU(Activation):
    """h = a where a > 0, else exp(a) - 1, and f' = 1 + min(h, 0)."""

    def forward(self) -> None:
        aten.elu_(self.h)

    def derive(self) -> None:
        torch.clamp(self.h, max=0, out=self.slope).add_(self.one)


class GELU(Activation):
    """h = a Phi(a), and f' = Phi(a) + a phi(a)."""

    def forward(self) -> None:
        aten.gelu.out(self.slope.copy_(self.h), out=self.h)

    def derive(self) -> None:
        a, ones = self.slope, self.one.expand_as(self.h)
        aten.gelu_backward.grad_input(ones, a, grad_input=a)


class Softplus(Activation):
    """h = log(1 + exp(a)), and f' = sigmoid(a); the identity beyond 20, as torch has it."""

    def forward(self) -> None:
        aten.softplus.out(self.slope.copy_(self.h), out=self.h)

    def derive(self) -> None:
        a, ones = self.slope, self.one.expand_as(self.h)
        aten.softplus_backward.grad_input(ones, a, 1, 20, grad_input=a)


ACTIVATIONS: Mapping[type[nn.Module], type[Activation]] = {
    nn.SiLU: SiLU,
    nn.ReLU: ReLU,
    nn.Tanh: Tanh,
    nn.ELU: ELU,
    nn.GELU: GELU,
    nn.Softplus: Softplus,
}


class Products(NamedTuple):
    """Matrix products: of one model, or of a stack."""

    mm: Callable[..., Tensor]
    addmm: Callable[..., Tensor]


LONE, STACK = Products(torch.mm, torch.addmm), Products(torch.bmm, torch.baddbmm)


class Layer:
    r"""h = f(x W^T + b) on batches of one size.

    .. math::

        g = f'(a) \frac{dL}{dh}, \qquad
        \frac{dL}{dW} = g^T x, \quad \frac{dL}{db} = \sum_i g_i, \quad \frac{dL}{dx} = g W.

    On the way back g stands in the memory of h: what fits into the processor's cache is what
    a small step's time depends on.

    Parameters
    ----------
    affine : Affine
    n : int
        Batch size.
    activation : type of Activation or None
        f; None for the identity.
    h : Tensor or None
        Memory to use for h.
    """

    def __init__(
        self,
        affine: Affine,
        n: int,
        activation: type[Activation] | None = None,
        h: Tensor | None = None,
    ):
        self.affine = affine
        *stack, width, _ = affine.weight.shape
        self.products = STACK if stack else LONE
        self.h = affine.weight.new_empty(*stack, n, width) if h is None else h
        # A view costs as much as a small product, so none is made in a step.
        self.weight_t, self.h_t = affine.weight.mT, self.h.mT
        self.activation = activation and activation(self.h)

    def forward(self, x: Tensor) -> None:
        """Write h."""
        self.add(self.affine.bias, x)
        if self.activation is not None:
            self.activation.forward()

    def add(self, start: Tensor | None, x: Tensor) -> None:
        """Write ``start + x W^T``."""
        self.products.addmm(start, x, self.weight_t, out=self.h)

    def backward(self, x: Tensor) -> None:
        """Write the gradients of W and b, from g."""
        if self.affine.weight_gradient is not None:
            self.products.mm(self.h_t, x, out=self.affine.weight_gradient)
        if self.affine.bias_gradient is not None:
            torch.sum(self.h, -2, keepdim=True, out=self.affine.bias_gradient)

    def back_to(self, before: "Layer") -> None:
        """Turn g into that of the layer before."""
        assert before.activation is not None
        before.activation.derive()
        self.products.mm(self.h, self.affine.weight, out=before.h)
        before.h.mul_(before.activation.slope)

    def add_input_gradient(self, out: Tensor) -> None:
        """Add dL/dx, from g."""
        self.products.addmm(out, self.h, self.affine.weight, out=out)


class Perceptron:
    """Layers in a row, and perhaps a linear map beside them.

    Parameters
    ----------
    affines : sequence of Affine
    activations : sequence of type
        Those between the layers, one fewer.
    n : int
        Batch size.
    skip : Affine or None
        The linear map.
    """

    def __init__(
        self,
        affines: Sequence[Affine],
        activations: Sequence[type[Activation]],
        n: int,
        skip: Affine | None = None,
    ):
        self.layers = [
            Layer(affine, n, activation)
            for affine, activation in zip(affines, [*activations, None], strict=True)
        ]
        self.last = self.layers[-1]
        self.skip = None if skip is None else Layer(skip, n, h=self.last.h)

    def forward(self, x: Tensor, start: Tensor | None = None) -> None:
        """Write every h; ``start`` takes the place of the last bias."""
        self.inputs = [x, *(layer.h for layer in self.layers[:-1])]
        for layer, before in zip(self.layers[:-1], self.inputs, strict=False):
            layer.forward(before)
        self.last.add(self.last.affine.bias if start is None else start, self.inputs[-1])
        if self.skip is not None:
            self.skip.add(self.last.h, x)

    def backward(self, into: Tensor | None = None) -> None:
        """All gradients, from that in the memory of the last h; adds dL/dx to ``into``."""
        if self.skip is not None:
            self.skip.backward(self.inputs[0])
            if into is not None:
                self.skip.add_input_gradient(into)
        for k in reversed(range(len(self.layers))):
            self.layers[k].backward(self.inputs[k])
            if k:
                self.layers[k].back_to(self.layers[k - 1])
        if into is not None:
            self.layers[0].add_input_gradient(into)
