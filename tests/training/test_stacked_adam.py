"""StackedAdam against torch's Adam on each member alone."""

import pytest
import torch

from sk_infovae._training.adam import StackedAdam

SHAPES = [(3, 4), (4,), ()]


def stack(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, *shape, generator=generator).requires_grad_() for shape in SHAPES]


def alone(stacked, rates):
    """Each member's own copy, and torch's Adam on it."""
    members = [[p.detach()[k].clone().requires_grad_() for p in stacked] for k in range(len(rates))]
    pairs = zip(members, rates, strict=True)
    return members, [torch.optim.Adam(own, lr=rate, fused=True) for own, rate in pairs]


def steps(optimizer, parameters, members, optimizers, n, generator):
    """The same gradients, of sizes from 1e-9 (below Adam's epsilon) to 1e3, for both sides."""
    for _ in range(n):
        for j, parameter in enumerate(parameters):
            size = 10 ** torch.empty(parameter.shape).uniform_(-9, 3, generator=generator)
            parameter.grad = size * torch.randn(parameter.shape, generator=generator)
            for k, own in enumerate(members):
                own[j].grad = parameter.grad[k].clone()
        optimizer.step()
        for one in optimizers:
            one.step()


def assert_same(parameters, members, **tolerance):
    for k, own in enumerate(members):
        for stacked, expected in zip(parameters, own, strict=True):
            torch.testing.assert_close(stacked[k], expected, **tolerance)


@pytest.mark.parametrize("rates", [[1e-4, 1e-2, 3e-3, 1.0], [5e-3] * 4], ids=["own", "one"])
def test_each_member_moves_as_it_would_alone(rates):
    """Under a schedule, and when members leave in between; bit for bit where all rates are one."""
    generator = torch.Generator().manual_seed(1)
    parameters = stack(4)
    optimizer = StackedAdam(parameters, rates)
    members, optimizers = alone(parameters, rates)
    exact = {"rtol": 0.0, "atol": 0.0} if len(set(rates)) == 1 else {"rtol": 1e-5, "atol": 1e-6}
    for part, chosen in [(1.0, [0, 1, 2, 3]), (0.7, [0, 2, 3]), (0.2, [0, 2]), (1.0, [1])]:
        if len(chosen) < len(members):
            parameters = [p.detach()[chosen].clone().requires_grad_() for p in parameters]
            optimizer = optimizer.keep(parameters, chosen)
            members, optimizers = ([one[k] for k in chosen] for one in (members, optimizers))
            rates = [rates[k] for k in chosen]
        if part < 1:  # the rates themselves need no schedule, also after others have left
            optimizer.follow(part)
        for one, rate in zip(optimizers, rates, strict=True):
            one.param_groups[0]["lr"] = part * rate
        steps(optimizer, parameters, members, optimizers, 5, generator)
        assert_same(parameters, members, **exact)


def test_no_gradient_no_step():
    """Also after one with a gradient, whose direction must not be taken twice."""
    parameters = stack(2)
    optimizer = StackedAdam(parameters, [1e-2, 1e-1])
    parameters[0].grad = torch.ones_like(parameters[0])
    optimizer.step()
    before = [p.detach().clone() for p in parameters]
    optimizer.zero_grad()
    assert all(p.grad is None for p in parameters)
    optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(parameters, before, strict=True))
