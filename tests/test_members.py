"""The named members of the family train, and its two weights move what theory says they move."""

import copy
import math
import pickle
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV

from sk_infovae import InfoVAETransformer
from sk_infovae._training.hooks import optimizer_state
from sk_infovae.divergences import DIVERGENCES, MMD, Adversarial

TERMS = ("loss", "reconstruction", "kl", "divergence")
TABLES = {"digits": load_digits, "breast cancer": load_breast_cancer}
MEMBERS = {
    "VAE": {"alpha": 0, "lambd": 1},
    "beta-VAE": {"alpha": -3, "lambd": 4},
    "MMD-VAE": {"alpha": 1, "lambd": 100},
    "adversarial autoencoder": {"alpha": 1, "lambd": 1, "divergence": "adversarial"},
    "heavy adversary": {"alpha": 1, "lambd": 100, "divergence": "adversarial"},
} | {f"InfoVAE {name}": {"divergence": name} for name in DIVERGENCES}


def small(n_components=2, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 4,
        "lr": 1e-2,
        "batch_size": 64,
        "n_importance_samples": 4,
        "random_state": 0,
    }
    return InfoVAETransformer(n_components, **(defaults | params))


@cache
def rows(name, n=300):
    return TABLES[name]().data[:n]


def critic(vae):
    """What the divergence has learned."""
    weights = vae.net_.weights()
    return {key: value.clone() for key, value in weights.items() if key.startswith("criterion")}


def networks(vae):
    """What training moves: the correction of noise is calibrated when it has ended."""
    state = vae.module_.state_dict()
    return {k: value.clone() for k, value in state.items() if not k.endswith("correction")}


def same(one, other, **tolerances):
    return one.keys() == other.keys() and all(
        torch.allclose(one[key], other[key], **({"rtol": 0, "atol": 0} | tolerances)) for key in one
    )


# Training


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("params", MEMBERS.values(), ids=MEMBERS.keys())
def test_every_member_trains(params, table):
    """Finite terms in every epoch, a better objective, a code that tells rows better."""
    X = rows(table)
    vae = small(max_epochs=12, **params).fit(X)
    assert len(vae.history_) == 12
    for epoch in vae.history_:
        for term in TERMS:
            assert math.isfinite(epoch[term])
            assert math.isfinite(epoch[f"valid_{term}"])
    assert vae.history_[-1]["loss"] < vae.history_[0]["loss"] - 0.1
    if params.get("alpha", 0.5) >= 0:  # a heavy KL makes the code tell less than PCA's start does
        assert vae.history_[-1]["reconstruction"] > vae.history_[0]["reconstruction"] + 1
    assert math.isfinite(vae.score(X))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_loss_is_the_weighted_sum_of_its_terms(name):
    """Also where the divergence learns: what it minimises itself adds to the gradient only."""
    vae = small(alpha=0.3, lambd=5, divergence=name, early_stopping=False).fit(rows("digits"))
    for epoch in vae.history_:
        expected = -epoch["reconstruction"] + 0.7 * epoch["kl"] + 4.3 * epoch["divergence"]
        assert epoch["loss"] == pytest.approx(expected, rel=1e-5)


def test_members_without_a_weight_on_D_agree():
    """A VAE is a VAE with any D; only the further draws of some D move the noise on."""
    X = rows("digits")
    networks_of = {
        name: networks(small(alpha=0, lambd=1, divergence=name, early_stopping=False).fit(X))
        for name in DIVERGENCES
    }
    assert same(networks_of["mmd"], networks_of["ksd"])
    assert same(networks_of["mmd"], networks_of["kl"])


# The weights


SEEDS = (0, 1, 2)


@cache
def measured(divergence, alpha, lambd, seed):
    """Two components for 569 rows, so that what they can know stays below log n."""
    X = rows("breast cancer", 569)
    vae = small(
        alpha=alpha,
        lambd=lambd,
        divergence=divergence,
        max_epochs=25,
        batch_size=128,
        hidden_layer_sizes=(32,),
        early_stopping=False,
        random_state=seed,
    )
    return vae.fit(X).information(X)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_alpha_raises_the_mutual_information(divergence, seed):
    """By far more than its error, and away from the cap, where nothing could be seen."""
    low, high = (measured(divergence, alpha, 10, seed) for alpha in (0, 0.9))
    gain = high.mutual_information - low.mutual_information
    error = math.hypot(low.mutual_information_error, high.mutual_information_error)
    print(f"\n{divergence}: {low.mutual_information:.2f} -> {high.mutual_information:.2f}")
    assert gain > max(0.4, 5 * error)
    assert high.mutual_information < high.mutual_information_cap - 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_lambd_brings_the_codes_to_the_prior(divergence, seed):
    """D itself, the MMD whatever D is, and the KL from q(z) to the prior."""
    light, heavy = (measured(divergence, 1, lambd, seed) for lambd in (1, 100))
    print(f"\n{divergence}: D {light.divergence:.4f} -> {heavy.divergence:.4f}")
    assert heavy.divergence < light.divergence / 3
    assert light.standardised_mmd > 10
    assert heavy.standardised_mmd < light.standardised_mmd / 3
    assert heavy.marginal_kl < light.marginal_kl - 0.2


# What the divergence has learned


def adversarial(**params):
    defaults = {"divergence": "adversarial", "alpha": 1, "warm_start": True, "max_epochs": 2}
    return small(**(defaults | params))


def test_the_critic_learns():
    X = rows("digits")
    one, two = (critic(adversarial(max_epochs=n, early_stopping=False).fit(X)) for n in (1, 3))
    assert len(one) == 6
    assert all((one[key] != two[key]).any() for key in one)


@pytest.mark.parametrize("through_pickle", [False, True])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_going_on_keeps_the_critic(method, through_pickle):
    """With a step of no length all stays; a critic begun anew would be far off."""
    X = rows("digits")
    vae = adversarial().fit(X)
    before, model, steps = critic(vae), networks(vae), optimizer_steps(vae)
    vae = pickle.loads(pickle.dumps(vae)) if through_pickle else vae
    getattr(vae.set_params(lr=1e-12), method)(X)
    assert same(critic(vae), before, atol=1e-8)
    assert same(networks(vae), model, atol=1e-8)
    assert len(steps) == len(optimizer_steps(vae)) == n_learned(vae) + 6
    assert all(now > then for now, then in zip(optimizer_steps(vae), steps, strict=True))
    assert any((value != 0).any() for key, value in before.items() if key.endswith("head"))


def n_learned(vae):
    return sum(parameter.requires_grad for parameter in vae.module_.parameters())


def optimizer_steps(vae):
    return [int(moments["step"]) for moments in optimizer_state(vae.net_).values()]


def test_going_on_in_pieces_is_going_on_from_pickles():
    X = rows("digits")
    one, two = adversarial().fit(X), adversarial().fit(X)
    for method in ("fit", "partial_fit", "fit"):
        getattr(one, method)(X)
        two = pickle.loads(pickle.dumps(two))
        getattr(two, method)(X)
    assert same(critic(one), critic(two))
    np.testing.assert_array_equal(one.transform(X), two.transform(X))


def test_the_divergence_may_change_between_warm_starts():
    """The networks and their moments go on; a critic of other widths begins anew."""
    X = rows("digits")
    vae = small(warm_start=True, early_stopping=False).fit(X)
    changes = [
        ("adversarial", 6),
        (Adversarial((8,)), 4),
        (Adversarial((8, 8, 8)), 8),
        ("mmd", 0),
        ("sliced_wasserstein", 0),
        (Adversarial((8,)), 4),
        ("kl", 0),
    ]
    n_networks = n_learned(vae)
    for epochs, (divergence, n_parameters) in enumerate(changes, start=2):
        before, steps = networks(vae), optimizer_steps(vae)[:n_networks]
        still = copy.deepcopy(vae).set_params(divergence=divergence, lr=1e-12).fit(X)
        assert same(networks(still), before, atol=1e-8)
        vae.set_params(divergence=divergence).fit(X)
        assert len(critic(vae)) == n_parameters
        assert not same(networks(vae), before)
        assert vae.n_iter_ == 4 * epochs
        assert optimizer_steps(vae)[:n_networks] == [step + 20 for step in steps]
        assert all(math.isfinite(epoch[term]) for epoch in vae.history_ for term in TERMS)
        assert math.isfinite(vae.information(X).divergence)


def test_a_failed_change_leaves_the_critic_alone():
    X = rows("digits")
    vae = adversarial().fit(X)
    before = critic(vae)
    with pytest.raises(ValueError, match="gradient_penalty=-1"):
        vae.set_params(divergence=Adversarial(gradient_penalty=-1)).fit(X)
    assert same(critic(vae), before)


# Seeds and searches


@pytest.mark.parametrize("name", DIVERGENCES)
def test_same_seed_same_bits(name):
    X = rows("digits")
    one, two, other = (small(divergence=name, random_state=seed).fit(X) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.transform(X), two.transform(X))
    assert one.history_ == two.history_
    assert same(critic(one), critic(two))
    assert not np.array_equal(one.transform(X), other.transform(X))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_global_generators_neither_move_nor_matter(name):
    X = rows("digits", 100)
    codes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1:]  # noqa: NPY002
        codes.append(small(divergence=name, max_epochs=1).fit_transform(X))
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_equal(np.random.get_state()[1:], before[1])  # noqa: NPY002
    np.testing.assert_array_equal(*codes)


def test_a_search_over_divergences():
    X = rows("digits", 120)
    search = GridSearchCV(small(max_epochs=2), {"divergence": list(DIVERGENCES)}, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(set(scores)) == len(DIVERGENCES)


def test_a_search_within_a_divergence():
    X = rows("digits", 120)
    grid = {"divergence__bandwidth": [0.5, None, 20.0], "divergence__kernel": ["gaussian", "imq"]}
    vae = small(max_epochs=2, lambd=1000, divergence=MMD())
    search = GridSearchCV(vae, grid, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 6
    best = search.best_estimator_.divergence
    assert best.bandwidth == search.best_params_["divergence__bandwidth"]
    assert search.best_estimator_.net_.criterion_.divergence == best
    assert vae.divergence == MMD()


def test_a_parameter_set_after_fit_changes_no_fitted_model():
    X = rows("digits")
    vae = small(divergence=MMD()).fit(X)
    before = vae.information(X).divergence
    assert vae.set_params(divergence__bandwidth=0.01).information(X).divergence == before
