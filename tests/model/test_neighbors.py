"""The bound on what the codes of neighbours have in common: closed forms, and an exact value."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_infovae._model.neighbors import neighbor_information


def codes(n=6, d=2, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(2, n, d, generator=generator, dtype=torch.float64)


def log_scale(value=0.0):
    return torch.tensor(value, dtype=torch.float64)


def by_hand(mean, near, scale):
    n, total = len(mean), 0.0
    for i in range(n):
        similar = [1 / (1 + scale**2 * float((mean[i] - near[j]).square().sum())) for j in range(n)]
        total += math.log(similar[i] / sum(similar))
    return math.log(n) + total / n


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 3), (7, 2)])
def test_it_is_the_formula(n, d, scale):
    mean, near = codes(n, d)
    found = neighbor_information(mean, near, log_scale(math.log(scale)))
    assert found.item() == pytest.approx(by_hand(mean, near, scale), abs=1e-10)


def test_equal_codes_say_nothing_and_codes_apart_say_log_n():
    same = torch.ones(5, 2, dtype=torch.float64)
    assert neighbor_information(same, same, log_scale()).item() == pytest.approx(0, abs=1e-12)
    apart = 1e6 * torch.arange(5.0, dtype=torch.float64)[:, None]
    assert neighbor_information(apart, apart, log_scale()).item() == pytest.approx(math.log(5))


@settings(deadline=None, max_examples=50)
@given(
    n=st.integers(1, 9),
    d=st.integers(1, 4),
    factor=st.floats(0.01, 100),
    shift=st.floats(-1e3, 1e3),
    seed=st.integers(0, 10**6),
)
def test_only_distances_in_units_of_the_scale_count(n, d, factor, shift, seed):
    mean, near = codes(n, d, seed)
    turn = torch.linalg.qr(codes(d, d, seed + 1)[0])[0]
    plain = neighbor_information(mean, near, log_scale(0.3))
    assert plain <= math.log(n) + 1e-12
    moved = [(factor * x + shift) @ turn for x in (mean, near)]
    again = neighbor_information(*moved, log_scale(0.3 - math.log(factor)))
    torch.testing.assert_close(again, plain, rtol=1e-6, atol=1e-6)


def test_a_stack_has_what_each_model_has_alone():
    pairs, scales = [codes(seed=k) for k in range(3)], torch.tensor([-1.0, 0.0, 2.0]).double()
    stacked = neighbor_information(*torch.stack(pairs, 1), scales)
    alone = [neighbor_information(*pair, s) for pair, s in zip(pairs, scales, strict=True)]
    torch.testing.assert_close(stacked, torch.stack(alone))


def test_gradients():
    mean, near = (x.requires_grad_() for x in codes(5, 3))
    scale = log_scale(0.2).requires_grad_()
    assert torch.autograd.gradcheck(neighbor_information, (mean, near, scale))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("s", [0.3, 3.0, 30.0])
def test_it_bounds_the_information_of_gaussian_codes(rho, s):
    """I(z; z') = -d/2 log(1 - rho^2) for codes that correlate by rho in each dimension."""
    d, exact = 2, -math.log(1 - rho**2)
    a, b = codes(64 * 400, d).view(2, 400, 64, d)
    found = neighbor_information(
        a, rho * a + math.sqrt(1 - rho**2) * b, torch.full((400,), math.log(s)).double()
    )
    error = found.std().item() / math.sqrt(len(found))
    assert found.mean().item() < exact + 4 * error


def test_the_bound_is_close_where_the_kernel_suits():
    a, b = codes(256 * 50, 2).view(2, 50, 256, 2)
    scales = torch.linspace(-2, 4, 25).double()
    exact = -math.log(1 - 0.95**2)
    near = 0.95 * a + math.sqrt(1 - 0.95**2) * b
    best = max(neighbor_information(a, near, s.expand(50)).mean().item() for s in scales)
    assert exact - 0.5 < best < exact
