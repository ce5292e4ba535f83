"""Layers and activations with their gradients written out, in memory that every step uses again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

aten: Any = torch.ops.aten


class Affine(NamedTuple):
    """A linear layer's parameters and the memory of their gradients.

    ``weight`` is ``(..., n_outputs, n_inputs)`` and ``bias`` ``(..., 1, n_outputs)``; the leading
    dimension of a stack is the model.
    """

    weight: Tensor
    bias: Tensor | None
    weight_gradient: Tensor
    bias_gradient: Tensor | None


class Activation:
    """h = f(a), computed in place, and dL/da = f'(a) dL/dh, in place too."""

    def __init__(self, h: Tensor):
        self.h = h

    def forward(self) -> None:
        """Turn a into h."""

    def backward(self, gradient: Tensor) -> None:
        """Turn dL/dh into dL/da."""


class SiLU(Activation):
    """h = a s with s = sigmoid(a), and f' = s + h (1 - s): no exponential on the way back."""

    def __init__(self, h: Tensor):
        super().__init__(h)
        self.s, self.one = torch.empty_like(h), h.new_ones(())

    def forward(self) -> None:
        torch.sigmoid(self.h, out=self.s)
        self.h.mul_(self.s)

    def backward(self, gradient: Tensor) -> None:
        torch.lerp(self.s, self.one, self.h, out=self.s)
        gradient.mul_(self.s)


class ReLU(Activation):
    """h = max(a, 0), and f' = 1 where h > 0."""

    def forward(self) -> None:
        self.h.relu_()

    def backward(self, gradient: Tensor) -> None:
        aten.threshold_backward.grad_input(gradient, self.h, 0, grad_input=gradient)


class Tanh(Activation):
    """h = tanh(a), and f' = 1 - h^2."""

    def forward(self) -> None:
        self.h.tanh_()

    def backward(self, gradient: Tensor) -> None:
        aten.tanh_backward.grad_input(gradient, self.h, grad_input=gradient)


class ELU(Activation):
    """h = a where a > 0, else exp(a) - 1, and f' = 1 or h + 1."""

    def forward(self) -> None:
        aten.elu_(self.h)

    def backward(self, gradient: Tensor) -> None:
        aten.elu_backward.grad_input(gradient, 1, 1, 1, True, self.h, grad_input=gradient)


class OfInput(Activation):
    """One whose derivative torch takes from a."""

    def __init__(self, h: Tensor):
        super().__init__(h)
        self.a = torch.empty_like(h)


class GELU(OfInput):
    """h = a Phi(a), and f' = Phi(a) + a phi(a)."""

    def forward(self) -> None:
        aten.gelu.out(self.a.copy_(self.h), out=self.h)

    def backward(self, gradient: Tensor) -> None:
        aten.gelu_backward.grad_input(gradient, self.a, grad_input=gradient)


class Softplus(OfInput):
    """h = log(1 + exp(a)), and f' = sigmoid(a)."""

    def forward(self) -> None:
        aten.softplus.out(self.a.copy_(self.h), out=self.h)

    def backward(self, gradient: Tensor) -> None:
        aten.softplus_backward.grad_input(gradient, self.a, 1, 20, grad_input=gradient)


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

    Parameters
    ----------
    affine : Affine
    n : int
        Batch size.
    activation : type of Activation or None
        f; None for the identity.
    shared : Layer or None
        A layer to whose outputs this one's are added, so that their memory is the same.
    """

    def __init__(
        self,
        affine: Affine,
        n: int,
        activation: type[Activation] | None = None,
        shared: "Layer | None" = None,
    ):
        self.affine = affine
        *stack, width, _ = affine.weight.shape
        self.products = STACK if stack else LONE
        self.h = affine.weight.new_empty(*stack, n, width) if shared is None else shared.h
        self.gradient = torch.empty_like(self.h) if shared is None else shared.gradient
        # A view costs as much as a small product, so none is made in a step.
        self.weight_t, self.gradient_t = affine.weight.mT, self.gradient.mT
        self.activation = activation and activation(self.h)

    def forward(self, x: Tensor) -> Tensor:
        """h, which stands there until the next call."""
        return self.activate(self.add(self.affine.bias, x))

    def add(self, start: Tensor | None, x: Tensor) -> Tensor:
        """``start + x W^T``, in the memory of h."""
        return self.products.addmm(start, x, self.weight_t, out=self.h)

    def activate(self, h: Tensor) -> Tensor:
        """f of it."""
        if self.activation is not None:
            self.activation.forward()
        return h

    def backward(self, x: Tensor) -> None:
        """Gradients of W and b, from dL/dh in `gradient`, where g then stands."""
        if self.activation is not None:
            self.activation.backward(self.gradient)
        self.products.mm(self.gradient_t, x, out=self.affine.weight_gradient)
        if self.affine.bias_gradient is not None:
            torch.sum(self.gradient, -2, keepdim=True, out=self.affine.bias_gradient)

    def input_gradient(self, out: Tensor) -> None:
        """dL/dx, from g."""
        self.products.mm(self.gradient, self.affine.weight, out=out)

    def add_input_gradient(self, out: Tensor) -> None:
        """Add dL/dx."""
        self.products.addmm(out, self.gradient, self.affine.weight, out=out)


class Perceptron:
    """Layers in a row.

    Parameters
    ----------
    affines : sequence of Affine
    activations : sequence of type
        Those between the layers, one fewer.
    n : int
        Batch size.
    """

    def __init__(self, affines: Sequence[Affine], activations: Sequence[type[Activation]], n: int):
        self.layers = [
            Layer(affine, n, activation)
            for affine, activation in zip(affines, [*activations, None], strict=True)
        ]
        self.last = self.layers[-1]

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """The last layer's outputs; ``start`` takes the place of its bias."""
        self.inputs = []
        for layer in self.layers:
            self.inputs.append(x)
            is_last = layer is self.last and start is not None
            x = layer.add(start, x) if is_last else layer.forward(x)
        return x

    def backward(self, into: Tensor | None = None) -> None:
        """All gradients, from that of the outputs in ``last.gradient``; adds dL/dx to ``into``."""
        for k in reversed(range(len(self.layers))):
            layer = self.layers[k]
            layer.backward(self.inputs[k])
            if k:
                layer.input_gradient(self.layers[k - 1].gradient)
            elif into is not None:
                layer.add_input_gradient(into)
