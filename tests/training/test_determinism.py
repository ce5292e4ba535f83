"""Same seed, same bits; nothing global moves; no row knows of its company."""

import contextlib
import random

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae.divergences import MMD
from sk_infovae.exceptions import TrainingDivergedError


def small(**params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 3,
        "batch_size": 32,
        "n_importance_samples": 32,
        "random_state": 0,
    }
    return InfoVAETransformer(**(defaults | params))


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(100, 5))
    X[::7, 2] = np.nan
    return X


class DropoutEncoder(nn.Module):
    """Draws from torch's global generator, when it is made and in every forward pass."""

    def __init__(self, n_inputs, n_components):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, 16), nn.Dropout(0.5), nn.Linear(16, 2 * n_components)
        )

    def forward(self, x):
        return self.layers(x)


class DrawingMMD(MMD):
    """A divergence of the user's own that draws from torch's global generator."""

    def __call__(self, codes):
        return super().__call__(codes._replace(z=codes.z + 0.1 * torch.randn_like(codes.z)))


def global_state():
    """State of every generator that is not ours, and torch's settings."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "numpy": (kind, tuple(keys), *rest),
        "torch": tuple(torch.get_rng_state().tolist()),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "numpy errors": np.geterr(),
    }


@contextlib.contextmanager
def nothing_global_moves():
    # Somewhere new each time: a seed set twice would otherwise look like nothing.
    np.random.random()  # noqa: NPY002
    torch.rand(1)
    random.random()
    before = global_state()
    yield
    after = global_state()
    assert [name for name in before if before[name] != after[name]] == []


def everything(vae, X):
    """All that a fitted model returns, as arrays."""
    Z = vae.transform(X)
    return [
        Z,
        *vae.posterior(X),
        vae.inverse_transform(Z),
        *vae.score_samples(X, return_ess=True),
        vae.sample(10, random_state=1),
        vae.noise_variance_,
        np.concatenate([list(epoch.values()) for epoch in vae.history_]),
    ]


@pytest.mark.parametrize("encoder", [None, DropoutEncoder])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_same_seed_same_bits(X, method, encoder):
    one, two = (getattr(small(encoder=encoder), method)(X) for _ in range(2))
    for ours, theirs in zip(everything(one, X), everything(two, X), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("encoder", [None, DropoutEncoder])
def test_same_seed_same_bits_whatever_the_global_generators_hold(X, encoder):
    with_seeds = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        with_seeds.append(everything(small(encoder=encoder).fit(X), X))
    for ours, theirs in zip(*with_seeds, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_same_seed_same_bits_when_going_on(X):
    one, two = (
        small(warm_start=True, encoder=DropoutEncoder).fit(X).fit(X[:50]).partial_fit(X)
        for _ in range(2)
    )
    for ours, theirs in zip(everything(one, X), everything(two, X), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_passes_that_follow_each_other_use_other_noise(X):
    # With a step of no length only the noise and the order of the rows can differ.
    vae = small(lr=1e-12, early_stopping=False, max_epochs=2).fit(X)
    vae.partial_fit(X).partial_fit(X)
    assert len({epoch["reconstruction"] for epoch in vae.history_}) == 4


def test_validation_noise_is_the_same_in_every_epoch(X):
    vae = small(lr=1e-12, max_epochs=3).fit(X)
    losses = [epoch["valid_loss"] for epoch in vae.history_]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


def test_other_seeds_other_models(X):
    one, two = (small(random_state=seed).fit(X) for seed in (0, 1))
    assert not np.array_equal(one.transform(X), two.transform(X))


def test_without_a_seed_every_fit_differs(X):
    embeddings = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        embeddings.append(small(random_state=None).fit_transform(X))
    assert not np.array_equal(*embeddings)


def test_random_state_instance(X):
    one, two = (small(random_state=np.random.RandomState(3)).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.transform(X), two.transform(X))
    # It moves on, so that the next fit is another one.
    before = one.transform(X)
    assert not np.array_equal(one.fit(X).transform(X), before)


@pytest.mark.parametrize("random_state", [None, 0])
@pytest.mark.parametrize("encoder", [None, DropoutEncoder])
@pytest.mark.parametrize(
    "call",
    [
        lambda vae, X: vae.fit(X),
        lambda vae, X: vae.partial_fit(X),
        lambda vae, X: vae.set_params(warm_start=True).fit(X),
        lambda vae, X: vae.transform(X),
        lambda vae, X: vae.posterior(X),
        lambda vae, X: vae.inverse_transform(np.zeros((3, 2))),
        lambda vae, X: vae.score(X),
        lambda vae, X: vae.score_samples(X),
        lambda vae, X: vae.sample(5),
        lambda vae, X: vae.sample(5, random_state=0),
        lambda vae, X: vae.__setstate__(vae.__getstate__()),
    ],
    ids=[
        "fit",
        "partial_fit",
        "warm start",
        "transform",
        "posterior",
        "inverse_transform",
        "score",
        "score_samples",
        "sample",
        "seeded sample",
        "unpickling",
    ],
)
def test_nothing_global_moves(X, call, encoder, random_state):
    vae = small(encoder=encoder, random_state=random_state).fit(X)
    with nothing_global_moves():
        call(vae, X)


def test_small_steps_take_one_thread_and_give_the_same_bits_on_any(X):
    counts, weights = [], []

    class Count(Callback):
        def on_batch_end(self, net, **kwargs):
            counts.append(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            vae = InfoVAETransformer(
                max_epochs=2, random_state=0, device="cpu", net_params={"callbacks": [Count()]}
            )
            weights.append(vae.fit(X).net_.weights())
            assert torch.get_num_threads() == n
            with pytest.raises(TrainingDivergedError):
                vae.set_params(lr=1e6, max_epochs=20).fit(X)
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)
    assert set(counts) == {1}
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_number_of_threads_stays(X):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        vae = small(max_epochs=1).fit(X).partial_fit(X)
        vae.inverse_transform(vae.transform(X))
        vae.score(X)
        vae.sample(5)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "params", [{"divergence": DrawingMMD()}, {"activation": nn.RReLU}], ids=["divergence", "layer"]
)
def test_other_parts_that_draw_are_seeded_too(X, params):
    with nothing_global_moves():
        one = small(**params).fit(X)
    np.testing.assert_array_equal(small(**params).fit(X).transform(X), one.transform(X))


@pytest.mark.parametrize("params", [{"lr": 1e6, "max_epochs": 20}, {"alpha": 2}])
def test_nothing_global_moves_when_fit_fails(X, params):
    with nothing_global_moves(), pytest.raises((ArithmeticError, ValueError)):
        small(**params).fit(X)


def test_nothing_happens_in_init():
    state = np.random.RandomState(0)
    kept = state.get_state()[1].copy()
    params = {"random_state": state, "device": "nowhere", "alpha": 99, "hidden_layer_sizes": [3]}
    with nothing_global_moves():
        vae = InfoVAETransformer(**params)
    np.testing.assert_array_equal(state.get_state()[1], kept)
    assert all(getattr(vae, name) is value for name, value in params.items())
    assert set(vars(vae)) == set(vae.get_params(deep=False))


@pytest.mark.parametrize("encoder", [None, DropoutEncoder])
def test_a_fitted_model_repeats_itself(X, encoder):
    vae = small(encoder=encoder).fit(X)
    for first, second in zip(everything(vae, X), everything(vae, X), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("encoder", [None, DropoutEncoder])
def test_embedding_of_a_row_does_not_depend_on_its_company(X, encoder):
    vae = small(encoder=encoder, max_epochs=20).fit(X)
    together = vae.transform(X)
    scale = np.abs(together).max()
    alone = np.vstack([vae.transform(X[[i]]) for i in range(len(X))])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6 * scale)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_allclose(
        vae.transform(X[order]), together[order], rtol=1e-5, atol=1e-6 * scale
    )
    complete = ~np.isnan(X).any(axis=1)  # no hole among the company, so no mask either
    np.testing.assert_allclose(
        vae.transform(X[complete]), together[complete], rtol=1e-5, atol=1e-6 * scale
    )


def test_score_of_a_row_does_not_depend_on_its_company(X):
    vae = small(max_epochs=20).fit(X)
    together = vae.score_samples(X)
    alone = np.concatenate([vae.score_samples(X[[i]]) for i in range(20)])
    np.testing.assert_allclose(alone, together[:20], rtol=1e-7)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_allclose(vae.score_samples(X[order]), together[order], rtol=1e-7)
    complete = ~np.isnan(X).any(axis=1)
    np.testing.assert_allclose(vae.score_samples(X[complete]), together[complete], rtol=1e-7)


def test_reconstruction_of_a_row_does_not_depend_on_its_company(X):
    vae = small(max_epochs=20).fit(X)
    Z = vae.transform(X)
    alone = np.vstack([vae.inverse_transform(Z[[i]]) for i in range(20)])
    np.testing.assert_allclose(alone, vae.inverse_transform(Z)[:20], rtol=1e-5, atol=1e-6)


def test_tiny_numbers_are_zero_while_networks_train_and_only_then(X):
    """They make products two hundred times slower."""
    seen = []

    class Tiny(Callback):
        def on_batch_end(self, net, **kwargs):
            seen.append((torch.tensor(1e-40) * 1.0).item())

    small(max_epochs=1, net_params={"callbacks": [Tiny()]}).fit(X)
    assert seen
    assert set(seen) == {0.0}
    assert (torch.tensor(1e-40) * 1.0).item() > 0
    torch.set_flush_denormal(True)
    try:
        small(max_epochs=1).fit(X)
        assert (torch.tensor(1e-40) * 1.0).item() == 0
    finally:
        torch.set_flush_denormal(False)
