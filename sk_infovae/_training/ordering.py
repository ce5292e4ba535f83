"""Latent dimensions in another order: what learned along them moves with them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sk_infovae._model.networks import SkipPerceptron, is_default
from sk_infovae._training.flat_adam import FlatAdam
from sk_infovae._training.net import InfoVAENet


@torch.no_grad()
def reorder(net: InfoVAENet, order: Tensor) -> bool:
    """Put the dimensions of the code in this order, the optimizer's moments too.

    Returns
    -------
    done : bool
        False for networks and critics of the user's own, which are left as they are.
    """
    places = list(places_of_codes(net))
    if not places:
        return False
    for parameter, axis in places:
        index = along(order, parameter.shape[axis]).to(parameter.device)
        for tensor in [parameter, *moments_of(net, parameter)]:
            tensor.copy_(tensor.index_select(axis, index))
    return True


def places_of_codes(net: InfoVAENet) -> Iterator[tuple[Tensor, int]]:
    """Parameters with an axis that runs over the dimensions, and which; none where unknown."""
    module, critic = net.plain_module, net.criterion_.critic
    encoder, decoder = module.encoder, module.decoder
    known = net.criterion_.divergence.along_codes
    if not (is_default(encoder) and is_default(decoder)) or (len(critic) and not known):
        return
    for network, layer, axis in ((encoder, -1, 0), (decoder, 0, 1)):
        linear: Any = network.body[layer] if isinstance(network, SkipPerceptron) else network
        yield linear.weight, axis
        if axis == 0:
            yield linear.bias, axis
        if isinstance(network, SkipPerceptron):
            yield network.skip.weight, axis
    for name in known:
        if name in critic:
            yield critic[name], 0


def along(order: Tensor, size: int) -> Tensor:
    """An index of an axis that holds the dimensions several times over, and something behind."""
    d = len(order)
    repeats = [order + start for start in range(0, size - d + 1, d)]
    return torch.cat([*repeats, torch.arange(len(repeats) * d, size)])


def moments_of(net: InfoVAENet, parameter: Tensor) -> list[Tensor]:
    """What the optimizer remembers of each number of a parameter."""
    optimizer = net.optimizer_
    if isinstance(optimizer, FlatAdam):
        numbers = [k for k, one in enumerate(optimizer.parameters) if one is parameter]
        state = optimizer.moments().get(numbers[0], {}) if numbers else {}
    else:
        state = optimizer.state.get(parameter, {})
    return [v for v in state.values() if isinstance(v, Tensor) and v.shape == parameter.shape]
