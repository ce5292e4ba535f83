"""Laws of a divergence, run over every class in the registry.

A divergence that learns is, before its training, no measure of anything: the laws of the value
leave it out, and its own file says what it comes to. The laws of form hold for it, too.
"""

import pickle
import random

import numpy as np
import pytest
import torch
from divergence_batches import EVERY, N_ROWS, evaluate, inputs, over, over_all, random_parameters
from gaussian_codes import EXACT, correlation, gaussian_codes, learns, mean_and_error, normals
from sklearn.base import clone
from torch.func import grad, vmap

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import MMD, Codes

LEARNING = [one for one in EVERY if learns(one)]
VALUED = [one for one in EVERY if not learns(one)]
UNBIASED = [one for one in VALUED if one.unbiased]

N_BATCHES, SMALL = 20_000, 4


# The value of D


@over(UNBIASED)
@pytest.mark.parametrize("d", [1, 3])
def test_is_zero_on_average_for_the_prior(divergence, d):
    noise = normals(2, N_BATCHES, SMALL, d)
    values = divergence(gaussian_codes(divergence, noise, torch.zeros(d), correlation(0.0, d)))
    mean, error = mean_and_error(values)
    assert abs(mean) < 4 * error


@over(UNBIASED)
def test_expectation_does_not_depend_on_the_batch_size(divergence):
    """Unbiased: the mean over batches of 3 is that over batches of 24, within 4 errors."""
    q = torch.tensor([0.5, 0.0, -0.5]).double(), 0.6 * correlation(0.4, 3)
    small, large = (
        mean_and_error(divergence(gaussian_codes(divergence, normals(2, *shape, 3), *q)))
        for shape in [(20_000, 3), (1000, 24)]
    )
    assert abs(small[0] - large[0]) < 4 * (small[1] ** 2 + large[1] ** 2) ** 0.5


@over([one for one in UNBIASED if type(one) in EXACT])
@pytest.mark.parametrize(
    ("mean", "covariance"),
    [
        ([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
        ([1.0, -0.5], [[1.0, 0.0], [0.0, 1.0]]),
        ([0.0, 0.0], [[0.3, 0.0], [0.0, 2.5]]),
        ([0.4, 0.2], [[1.2, 0.9], [0.9, 1.0]]),
    ],
)
def test_equals_the_exact_value_on_average(divergence, mean, covariance):
    q = torch.tensor(mean).double(), torch.tensor(covariance).double()
    values = divergence(gaussian_codes(divergence, normals(2, N_BATCHES, SMALL, 2), *q))
    average, error = mean_and_error(values)
    assert abs(average - EXACT[type(divergence)](divergence, *q)) < 4 * error


@over([one for one in VALUED if not one.unbiased])
def test_bias_on_the_prior_fades_with_the_batch(divergence):
    """The batch is the data set. A shift by one standard deviation costs 50 times the bias."""
    prior = torch.zeros(2), correlation(0.0, 2)
    biases = [
        divergence(gaussian_codes(divergence, normals(2, *shape, 2), *prior)).mean().abs().item()
        for shape in [(40, 50), (20, 200), (2, 2000)]
    ]
    assert biases == sorted(biases, reverse=True)
    shifted = gaussian_codes(divergence, normals(2, 2000, 2), torch.ones(2), prior[1])
    assert 50 * biases[-1] < divergence(shifted).item()


@over(VALUED)
@pytest.mark.parametrize(
    ("error", "means", "covariances"),
    [
        ("mean", [0.0, 0.6, 1.2, 2.0], [torch.eye(2)] * 4),
        ("shrunk", [0.0] * 4, [s**2 * torch.eye(2) for s in (1.0, 0.7, 0.4, 0.1)]),
        ("spread", [0.0] * 4, [s**2 * torch.eye(2) for s in (1.0, 1.5, 2.2, 3.5)]),
        ("dependence", [0.0] * 3, [correlation(rho, 2) for rho in (0.0, 0.6, 0.95)]),
    ],
)
def test_grows_with_the_mismatch(divergence, error, means, covariances):
    """Measured on the same noise, so that only the mismatch differs."""
    noise = normals(2, 400, 2)
    values = [
        divergence(gaussian_codes(divergence, noise, torch.full((2,), m), one.double())).item()
        for m, one in zip(means, covariances, strict=True)
    ]
    assert values == sorted(values), error
    assert len(set(values)) == len(values)
    assert values[1] > 0


@over_all
def test_order_of_the_rows_does_not_matter(divergence):
    means, log_variances, noise, further = inputs(divergence, 40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    parameters = random_parameters(divergence)
    shuffled = means[order], log_variances[order], noise[order]
    torch.testing.assert_close(
        evaluate(divergence, *shuffled, further, parameters),
        evaluate(divergence, means, log_variances, noise, further, parameters),
        rtol=1e-12,
        atol=1e-13,
    )


@over_all
def test_leading_dimensions_are_batches_of_their_own(divergence):
    batches, parameters = inputs(divergence, 2, 3, 6), random_parameters(divergence)
    stacked = evaluate(divergence, *batches, parameters)
    assert stacked.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            alone = evaluate(divergence, *(one[i, j] for one in batches), parameters)
            torch.testing.assert_close(stacked[i, j], alone, rtol=1e-12, atol=1e-13)


@over_all
@pytest.mark.parametrize("leading", [(), (3,)])
def test_a_batch_of_one_row_gives_zero_and_a_zero_gradient(divergence, leading):
    """One row says nothing about q(z): D = 0, and the gradient is 0, neither None nor NaN."""
    means, log_variances, noise, further = inputs(divergence, *leading, 1)
    means, log_variances = (50 * means).requires_grad_(), log_variances.requires_grad_()
    parameters = random_parameters(divergence)
    value = evaluate(divergence, means, log_variances, noise, further, parameters)
    assert value.shape == leading
    assert torch.equal(value, torch.zeros_like(value))
    for gradient in torch.autograd.grad(value.sum(), (means, log_variances)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


# Its gradient


# One that learns is left out: what its critic says of the value need not be what the encoder
# follows, as with the non-saturating gradient of `Adversarial`.
@over(VALUED)
def test_gradient_is_that_of_the_value(divergence):
    means, log_variances, *noises = inputs(divergence, 5, d=2)
    means, log_variances = means.requires_grad_(), log_variances.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m, v: evaluate(divergence, m, v, *noises, {}), (means, log_variances)
    )


@over_all
def test_float32_agrees_with_float64(divergence):
    """To some hundred roundings, in value and gradient, at 8 dimensions and 64 rows."""
    batch = inputs(divergence, 64, d=8, dtype=torch.float32)
    unit = 100 * torch.finfo(torch.float32).eps
    results = []
    for dtype in (torch.float32, torch.float64):
        leaves = [one.to(dtype).requires_grad_() for one in batch[:2]]
        noises = [one.to(dtype) for one in batch[2:]]
        parameters = random_parameters(divergence, d=8)
        parameters = {name: one.float().to(dtype) for name, one in parameters.items()}
        value = evaluate(divergence, *leaves, *noises, parameters)
        results.append((value, *torch.autograd.grad(value, leaves)))
    (value, *found), (exact, *expected) = results
    assert value.dtype == torch.float32
    assert abs(value - exact) < unit * max(1.0, abs(exact))
    for gradient, exact_gradient in zip(found, expected, strict=True):
        assert (gradient - exact_gradient).abs().max() < unit * exact_gradient.abs().max()


@over_all
def test_vmap_gives_what_a_loop_gives(divergence):
    """Values, gradients by torch.func and gradients of many models at once."""
    each = [random_parameters(divergence, seed=k) for k in range(4)]
    parameters = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    stacked = *inputs(divergence, 4, 6), parameters
    models = list(zip(*stacked[:-1], each, strict=True))

    def value(*model):
        return evaluate(divergence, *model)

    gradient = grad(value, argnums=(0, 1))
    torch.testing.assert_close(
        vmap(value)(*stacked), torch.stack([value(*model) for model in models])
    )
    mapped = vmap(gradient)(*stacked)
    for k, (means, log_variances, *others) in enumerate(models):
        leaves = means.clone().requires_grad_(), log_variances.clone().requires_grad_()
        by_autograd = torch.autograd.grad(value(*leaves, *others), leaves)
        torch.testing.assert_close(gradient(means, log_variances, *others), by_autograd)
        torch.testing.assert_close(tuple(one[k] for one in mapped), by_autograd)


# What it learns


def test_learning_needs_a_loss():
    """The registry has a divergence that learns; a class that forgot its loss is told so."""
    assert LEARNING
    assert LEARNING
    with pytest.raises(NotImplementedError, match=r"MMD\(.* what they minimise"):
        super(MMD, MMD()).critic_loss(Codes(normals(3, 2), Posterior(*normals(2, 3, 2))))


@over(LEARNING)
def test_starting_values_come_from_the_generator_alone(divergence):
    state = torch.get_rng_state()
    first, again, other = (
        divergence.init_parameters(3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert {one.dtype for one in first.values()} == {torch.float32}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@over(LEARNING)
def test_each_player_moves_only_what_is_its_own(divergence):
    """D moves the codes only, the critic's loss its parameters only, and all of them."""
    means, log_variances, noise, further = inputs(divergence, 6)
    z = Posterior(means, log_variances).rsample(noise).requires_grad_()
    mine = {k: v.requires_grad_() for k, v in random_parameters(divergence).items()}
    codes = Codes(z, Posterior(means, log_variances), further, N_ROWS, mine)
    value, game = divergence(codes), divergence.critic_loss(codes)
    assert game.shape == value.shape == ()
    for loss, moved, still in [(value, [z], mine.values()), (game, mine.values(), [z])]:
        found = torch.autograd.grad(loss, list(still), retain_graph=True, materialize_grads=True)
        assert not any(one.any() for one in found)
        assert all(one.any() for one in torch.autograd.grad(loss, list(moved)))


@over(LEARNING)
def test_vmap_gives_the_critics_of_a_loop(divergence):
    each = [random_parameters(divergence, seed=k) for k in range(4)]
    stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    means, log_variances, noise, further = inputs(divergence, 4, 6)
    z = Posterior(means, log_variances).rsample(noise)

    def game(parameters, z, means, log_variances, further):
        posterior = Posterior(means, log_variances)
        return divergence.critic_loss(Codes(z, posterior, further, N_ROWS, parameters))

    mapped = vmap(grad(game))(stacked, z, means, log_variances, further)
    for k, parameters in enumerate(each):
        mine = {name: one.clone().requires_grad_() for name, one in parameters.items()}
        loss = game(mine, z[k], means[k], log_variances[k], further[k])
        for name, expected in zip(
            mine, torch.autograd.grad(loss, list(mine.values())), strict=True
        ):
            torch.testing.assert_close(mapped[name][k], expected)


# The object


def global_generators():
    legacy = np.random.get_state()  # noqa: NPY002
    return bytes(torch.get_rng_state().tolist()), pickle.dumps(legacy), random.getstate()


@over_all
def test_draws_nothing_and_keeps_no_state(divergence):
    before, parameters = pickle.dumps(divergence), random_parameters(divergence)
    kept = {name: one.clone() for name, one in parameters.items()}
    states = global_generators()
    batch = inputs(divergence, 6)
    first = evaluate(divergence, *batch, parameters)
    assert torch.equal(first, evaluate(divergence, *batch, parameters))
    assert states == global_generators()
    assert pickle.dumps(divergence) == before
    assert all(torch.equal(kept[name], parameters[name]) for name in kept)


@over_all
def test_parameters_make_an_equal_object(divergence):
    parameters = divergence.get_params()
    copies = [
        type(divergence)(**parameters),
        type(divergence)().set_params(**parameters),
        clone(divergence),
        pickle.loads(pickle.dumps(divergence)),
    ]
    batch = *inputs(divergence, 6), random_parameters(divergence)
    for copy in copies:
        assert copy is not divergence
        assert copy == divergence
        assert torch.equal(evaluate(copy, *batch), evaluate(divergence, *batch))


@over_all
def test_unknown_parameter_is_named(divergence):
    with pytest.raises(ValueError, match="no_such_parameter"):
        divergence.set_params(no_such_parameter=1)
