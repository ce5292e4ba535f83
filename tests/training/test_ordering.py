"""Dimensions in another order: the same model, and the same training from there."""

import copy

import numpy as np
import pytest
import torch
from small_fits import small, table
from torch import nn

from sk_infovae._training.ordering import along, moments_of, places_of_codes, reorder
from sk_infovae.divergences import DIVERGENCES

ORDER = torch.tensor([2, 0, 1])


def fitted(**params):
    return small(n_components=3, **params).fit(table())


def test_an_index_repeats_the_order():
    assert along(ORDER, 3).tolist() == [2, 0, 1]
    assert along(ORDER, 6).tolist() == [2, 0, 1, 5, 3, 4]
    assert along(ORDER, 7).tolist() == [2, 0, 1, 5, 3, 4, 6]


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_model_is_the_same(hidden, divergence):
    vae, X = fitted(hidden_layer_sizes=hidden, divergence=divergence), table()
    other = copy.deepcopy(vae)
    assert reorder(other.net_, ORDER)
    mean, std = vae.posterior(X)
    for found, expected in zip(other.posterior(X), (mean, std), strict=True):
        np.testing.assert_allclose(found, expected[:, ORDER], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        other.inverse_transform(mean[:, ORDER]), vae.inverse_transform(mean), rtol=1e-5, atol=1e-5
    )
    codes = torch.from_numpy(mean)
    if divergence == "adversarial":
        critic = [dict(one.net_.criterion_.critic.items()) for one in (vae, other)]
        odds = vae.net_.criterion_.divergence.log_odds
        torch.testing.assert_close(odds(codes[:, ORDER], critic[1]), odds(codes, critic[0]))


@pytest.mark.parametrize("optimizer", [None, torch.optim.AdamW, torch.optim.RMSprop])
@pytest.mark.parametrize("divergence", ["mmd", "adversarial"])
def test_moments_go_along(optimizer, divergence):
    net_params = {} if optimizer is None else {"optimizer": optimizer}
    vae = fitted(divergence=divergence, net_params=net_params, warm_start=True)
    other = copy.deepcopy(vae)
    reorder(other.net_, ORDER)
    pairs = zip(places_of_codes(vae.net_), places_of_codes(other.net_), strict=True)
    n_moments = 0
    for (before, axis), (after, _) in pairs:
        index = along(ORDER, before.shape[axis])
        assert torch.equal(after, before.index_select(axis, index))
        moments = moments_of(vae.net_, before), moments_of(other.net_, after)
        for one, two in zip(*moments, strict=True):
            assert torch.equal(two, one.index_select(axis, index))
            n_moments += 1
    assert n_moments >= 4


def test_order_and_its_inverse_are_nothing():
    vae, X = fitted(), table()
    before = vae.transform(X)
    reorder(vae.net_, ORDER)
    assert not np.array_equal(vae.transform(X), before)
    reorder(vae.net_, ORDER.argsort())
    np.testing.assert_array_equal(vae.transform(X), before)


def test_networks_of_ones_own_are_left_alone():
    vae = fitted(decoder=lambda d, n: nn.Linear(d, n))
    before = vae.transform(table())
    assert not reorder(vae.net_, ORDER)
    np.testing.assert_array_equal(vae.transform(table()), before)


def test_partial_fit_keeps_the_order():
    """Codes of two calls can be laid one over the other."""
    X = table(400)
    vae = small(n_components=3, lr=1e-3).partial_fit(X)
    before = vae.transform(X)
    after = vae.partial_fit(X).transform(X)
    correlation = np.corrcoef(before.T, after.T)[:3, 3:].diagonal()
    assert correlation.min() > 0.98


def test_a_warm_start_goes_on_from_ordered_dimensions():
    X = table(400)
    vae = small(n_components=3, warm_start=True, early_stopping=False).fit(X)
    first = vae.history_[-1]["loss"]
    vae.fit(X)
    assert vae.history_[5]["loss"] < first + 0.2
    assert (np.diff(vae.explained_variance_ratio_) <= 0).all()
