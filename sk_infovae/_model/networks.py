"""The default encoder and decoder: multilayer perceptrons, of one model or of many."""

import copy
from collections.abc import Callable, Sequence
from typing import TypeGuard, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


SMALL = 0.1
"""Part of its random last layer with which a perceptron begins beside a known linear map."""


WIDE = 1000
"""Inputs of an encoder up to which its first layer learns at the whole rate."""


class Linear(nn.Linear):
    """``x W' + b`` for one model, or for K of them at once.

    A stack has W ``(K, n_outputs, n_inputs)`` and b ``(K, n_outputs)``, and maps x ``(K, n,
    n_inputs)`` in one batched product.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs ``(..., n_inputs)`` to outputs ``(..., n_outputs)``."""
        if self.weight.ndim == 2:
            return super().forward(x)
        if self.bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(self.bias[:, None, :], x, self.weight.mT)


def mlp(
    n_inputs: int, hidden: Sequence[int], n_outputs: int, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    """Linear layers of the given widths with an activation between them."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [Linear(n_inputs, width), activation()]
        n_inputs = width
    return nn.Sequential(*layers, Linear(n_inputs, n_outputs))


class SkipPerceptron(nn.Module):
    """``f(x) + W x``: a perceptron beside a linear map, which is all that PCA has.

    The linear part says most and is there from the start; the perceptron adds the curvature.
    """

    body: nn.Sequential
    skip: Linear

    def __init__(
        self,
        n_inputs: int,
        hidden: Sequence[int],
        n_outputs: int,
        activation: Callable[[], nn.Module],
    ):
        super().__init__()
        self.body = mlp(n_inputs, hidden, n_outputs, activation)
        self.skip = Linear(n_inputs, n_outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs ``(..., n_inputs)`` to outputs ``(..., n_outputs)``."""
        return self.body(x) + self.skip(x)


def perceptron(
    n_inputs: int, hidden: Sequence[int], n_outputs: int, activation: Callable[[], nn.Module]
) -> SkipPerceptron | Linear:
    """A perceptron with a linear skip; a plain linear map without hidden layers."""
    if not hidden:
        return Linear(n_inputs, n_outputs)
    return SkipPerceptron(n_inputs, hidden, n_outputs, activation)


def default_encoder(
    n_inputs: int, n_components: int, hidden: Sequence[int], activation: Callable[[], nn.Module]
) -> nn.Module:
    """To the mean and log-variance of q(z|x), ``2 * n_components`` outputs.

    The linear map beside it is measured (`begin_linear`), never learned, and 0 until then: of many
    inputs a step of Adam would move it far.
    """
    network = perceptron(n_inputs, hidden, 2 * n_components, activation)
    if isinstance(network, SkipPerceptron):
        nn.init.zeros_(network.skip.weight)
        network.skip.weight.requires_grad_(False)
    return network


def default_decoder(
    n_components: int, n_outputs: int, hidden: Sequence[int], activation: Callable[[], nn.Module]
) -> nn.Module:
    """Mirror image of the encoder."""
    return perceptron(n_components, tuple(reversed(hidden)), n_outputs, activation)


def is_default(network: nn.Module) -> TypeGuard[SkipPerceptron | Linear]:
    """Whether `perceptron` made it."""
    return type(network) in (SkipPerceptron, Linear)


def output_bias(network: nn.Module) -> Tensor | None:
    """Bias of the last layer of what `perceptron` made; None for a network of the user's own."""
    last = network.body[-1] if isinstance(network, SkipPerceptron) else network
    return last.bias if isinstance(last, nn.Linear) else None


def share_of_rate(encoder: nn.Module) -> dict[Tensor, float]:
    """Weights of a default encoder that take a part of the learning rate: those of many inputs.

    A step of Adam moves every weight by about the rate, and so a layer's output by the rate times
    its inputs: its share is `WIDE` over these (Yang et al., arXiv 2203.03466, table 3). What a
    linear encoder moves is the code itself, of which a perceptron begins as a small part.
    """
    if not is_default(encoder):
        return {}
    deep = isinstance(encoder, SkipPerceptron)
    first, most = (encoder.body[0], WIDE) if deep else (encoder, SMALL * WIDE)
    assert isinstance(first, Linear)
    n_inputs = first.weight.shape[-1]
    return {first.weight: most / n_inputs} if n_inputs > most else {}


@torch.no_grad()
def begin_linear(network: SkipPerceptron | Linear, slopes: Tensor, offset: Tensor) -> None:
    """Make it ``slopes x + offset``, up to a small part of what its random layers say."""
    if isinstance(network, SkipPerceptron):
        last = network.body[-1]
        assert isinstance(last, Linear)
        last.weight.mul_(SMALL)
        network.skip.weight.copy_(slopes)
        last.bias.copy_(offset)
    else:
        network.weight.copy_(slopes)
        network.bias.copy_(offset)


def check_shapes(
    encoder: nn.Module, decoder: nn.Module, n_inputs: int, n_components: int, n_outputs: int
) -> None:
    """Run both networks on two rows and compare the widths of what comes out.

    Raises
    ------
    ValueError
        When a network's output is not of the shape that the model needs.
    """
    codes, inputs = "(n_components, n_outputs)", "(n_inputs, n_components)"
    for name, network, width_in, width_out, arguments in [
        ("encoder", encoder, n_inputs, 2 * n_components, inputs),
        ("decoder", decoder, n_components, n_outputs, codes),
    ]:
        found = _output_shape(network, width_in)
        if found != (2, width_out):
            raise ValueError(
                f"The {name} must map (batch, {width_in}) to (batch, {width_out}); on a batch of "
                f"2 it returned {found}. An encoder returns means and log-variances side by side, "
                "a decoder the parameters of p(x|z). Size the layers by the arguments that the "
                f"{name} is called with: {arguments}."
            )


def _output_shape(network: nn.Module, width: int) -> tuple[int, ...] | str:
    """Shape of the output on two rows, or what came instead."""
    if not isinstance(network, nn.Module):
        return f"no module: the factory made {network!r}"
    was_training = network.training
    try:
        with torch.no_grad():
            output = network.eval()(torch.zeros(2, width))
    except (RuntimeError, TypeError, ValueError) as error:
        return f"an error ({error})"
    finally:
        network.train(was_training)
    return tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"


def stack_modules(modules: Sequence[M]) -> M:
    """One module for all of these, which have one shape: its parameters are theirs, ``(K, ...)``.

    Buffers are those of the first.
    """
    stacked = copy.deepcopy(modules[0])
    for name, parameter in list(stacked.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        values = torch.stack([module.get_parameter(name).detach() for module in modules])
        parameters = stacked.get_submodule(owner)._parameters
        parameters[leaf] = nn.Parameter(values, requires_grad=parameter.requires_grad)
    return stacked
