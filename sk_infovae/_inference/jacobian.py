"""The decoder's outputs and Jacobian at many codes.

Perceptrons of the house are pushed through layer by layer, which takes matrix products alone: with
a layer's weights W and the slopes s of its activation, tangents T (one row for each latent
dimension) become (T W') diag(s). All other decoders go through torch.func.
"""

import threading

import torch
from torch import Tensor, nn

from sk_infovae._model.networks import ACTIVATIONS, Linear, SkipPerceptron

FORWARD_MODE = threading.Lock()
"""torch keeps one level of forward-mode derivatives for all threads."""

LINEAR = (nn.Linear, Linear)
ELEMENTWISE = tuple(ACTIVATIONS.values())


def outputs_and_jacobian(decoder: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs ``(n, n_outputs)`` at each row of z ``(n, d)``, Jacobians ``(n, n_outputs, d)``."""
    if not is_perceptron(decoder):
        return decoder(z), torch_jacobian(decoder, z)
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)[None]
    outputs, tangents = push(decoder, z, identity)
    return outputs, tangents.expand(len(z), -1, -1).mT


def is_perceptron(module: nn.Module) -> bool:
    """Whether `push` knows every layer; a subclass may do anything, so types must be equal."""
    if type(module) is nn.Sequential:
        return all(map(is_perceptron, module))
    if type(module) is SkipPerceptron:
        return is_perceptron(module.body) and is_perceptron(module.skip)
    return type(module) in LINEAR or type(module) in ELEMENTWISE


def push(module: nn.Module, value: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
    """A perceptron's value ``(n, width)`` and its tangents ``(n or 1, d, width)``."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            value, tangents = push(layer, value, tangents)
        return value, tangents
    if isinstance(module, SkipPerceptron):
        curved, bent = push(module.body, value, tangents)
        straight, flat = push(module.skip, value, tangents)
        return curved + straight, bent + flat
    if isinstance(module, nn.Linear):
        return module(value), tangents @ module.weight.mT
    with torch.enable_grad():
        inputs = value.detach().requires_grad_()
        # A copy, because an activation may work in place.
        activated = module(inputs.clone())
        slope = torch.autograd.grad(activated.sum(), inputs)[0]
    return activated.detach(), tangents * slope[:, None, :]


def torch_jacobian(decoder: nn.Module, z: Tensor) -> Tensor:
    """Jacobian of any decoder at each row of z ``(n, d)``, as ``(n, n_outputs, d)``.

    One tangent for each latent dimension, all of them in one batched pass.
    """
    n, d = z.shape

    def along(direction: Tensor) -> Tensor:
        return torch.func.jvp(decoder, (z,), (direction.expand(n, d),))[1]

    with FORWARD_MODE:
        columns = torch.func.vmap(along)(torch.eye(d, dtype=z.dtype, device=z.device))
    return columns.permute(1, 2, 0)
