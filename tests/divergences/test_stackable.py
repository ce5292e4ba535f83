"""Which numbers of a divergence can be each model's own in a stack.

That a stack then equals its members is a law of every divergence: contracts/test_stacks.py.
"""

import math

import pytest
import torch

from sk_infovae.divergences import KSD, MMD, Divergence
from sk_infovae.divergences.base import per_model


def test_nothing_is_stackable_unless_it_is_declared():
    assert Divergence.stackable == frozenset()


@pytest.mark.parametrize("cls", [MMD, KSD])
@pytest.mark.parametrize(
    ("bandwidth", "expected"),
    [
        (2, {"bandwidth": 2.0}),
        (0.5, {"bandwidth": 0.5}),
        *((one, {}) for one in [None, 0.0, -1.0, math.nan, math.inf, (1.0, 2.0), "wide"]),
    ],
)
def test_only_positive_numbers_are_stacked(cls, bandwidth, expected):
    assert cls(bandwidth=bandwidth).stackable_values() == expected


def test_a_replaced_copy_leaves_the_original_alone():
    one = MMD(bandwidth=2.0)
    assert one.replaced({"bandwidth": 3.0}) == MMD(bandwidth=3.0)
    assert one == MMD(bandwidth=2.0)


def test_numbers_of_models_line_up_with_the_first_axis():
    """A number stays one, and so does a tensor without axes: a model's own under vmap."""
    like, scalar = torch.zeros(2, 5, 4), torch.tensor(3.0)
    assert per_model(0.7, like) == 0.7
    assert per_model(scalar, like) is scalar
    found = per_model(torch.tensor([1.0, 2.0]), like)
    assert found.shape == (2, 1, 1)
    assert found.flatten().tolist() == [1.0, 2.0]
