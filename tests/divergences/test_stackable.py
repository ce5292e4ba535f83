"""Parameters that a divergence declares stackable take a scalar tensor for each of many models."""

import math

import pytest
import torch
from gaussian_codes import normals
from torch.func import grad, vmap

from sk_infovae._base.gaussian import Posterior
from sk_infovae.divergences import DIVERGENCES, KSD, MMD, Adversarial, Codes, Divergence

DECLARING = [
    MMD(),
    MMD("imq"),
    MMD(estimator="mixture"),
    MMD("imq", estimator="mixture"),
    KSD(),
    KSD("gaussian"),
    Adversarial((4,)),
]
VALUES = [0.3, 1.0, 7.7]


def test_every_declaration_is_tested():
    tested = {type(one) for one in DECLARING}
    assert tested == {one for one in DIVERGENCES.values() if one.stackable}
    assert all(one.stackable <= one.get_params().keys() for one in DECLARING)
    assert Divergence.stackable == frozenset()


@pytest.mark.parametrize("divergence", DECLARING, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vmap_over_tensors_gives_what_numbers_give(divergence, dtype):
    """Value, gradient and critic's loss; leading dimensions of the codes besides."""
    (name,) = divergence.stackable
    means, log_variances, noise = (0.6 * normals(3, 3, 8, 4)).to(dtype)
    further = normals(3, divergence.noise_rows(8), 4, seed=1).to(dtype)
    start = divergence.init_parameters(4, torch.Generator().manual_seed(0))
    learned = {key: value.to(dtype) + 0.1 for key, value in start.items()}

    def value(own, means, log_variances, noise, further):
        posterior, one = Posterior(means, log_variances), divergence.replaced({name: own})
        codes = Codes(posterior.rsample(noise), posterior, further, 100, learned)
        return one(codes) + (one.critic_loss(codes) if learned else 0.0)

    inputs = means, log_variances, noise, further
    gradient = grad(value, argnums=(1, 2))
    mapped = vmap(value)(torch.tensor(VALUES, dtype=dtype), *inputs)
    mapped_gradient = vmap(gradient)(torch.tensor(VALUES, dtype=dtype), *inputs)
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == torch.float32 else {}
    for k, number in enumerate(VALUES):
        model = number, *(one[k] for one in inputs)
        torch.testing.assert_close(mapped[k], value(*model), **tolerance)
        found = tuple(one[k] for one in mapped_gradient)
        torch.testing.assert_close(found, gradient(*model), **tolerance)
    assert mapped.dtype == dtype
    assert len(mapped.unique()) == 3


@pytest.mark.parametrize(
    ("bandwidth", "expected"),
    [
        (2, {"bandwidth": 2.0}),
        (0.5, {"bandwidth": 0.5}),
        *((one, {}) for one in [None, 0.0, -1.0, math.nan, math.inf, (1.0, 2.0), "wide"]),
    ],
)
def test_only_positive_numbers_are_stacked(bandwidth, expected):
    assert MMD(bandwidth=bandwidth).stackable_values() == expected


def test_a_replaced_copy_leaves_the_original_alone():
    one = MMD(bandwidth=2.0)
    assert one.replaced({"bandwidth": 3.0}) == MMD(bandwidth=3.0)
    assert one == MMD(bandwidth=2.0)
