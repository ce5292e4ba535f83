"""The adversarial divergence against the Jensen-Shannon divergence it comes to, and its game."""

import math

import numpy as np
import pytest
import torch
from gaussian_codes import correlation, mean_and_error, normals
from scipy.stats import multivariate_normal
from torch.nn.functional import logsigmoid

from sk_infovae.divergences import Adversarial, Codes
from sk_infovae.divergences.adversarial import SPEED

LOG_2 = math.log(2)


def codes(z, prior, parameters):
    return Codes(z, None, prior, None, parameters)


def random_parameters(divergence, d, seed=0):
    start = divergence.init_parameters(d, torch.Generator().manual_seed(seed))
    return {k: v.double() + 0.1 * normals(*v.shape, seed=seed) for k, v in start.items()}


def log_odds(z, parameters, n_hidden):
    """T as it is described: a perceptron beside a linear map, on z and z^2 made standard."""
    unit = {name: SPEED * one for name, one in parameters.items()}
    features = torch.cat([z, (z**2 - 1) / math.sqrt(2)], -1)
    hidden = features
    for k in range(n_hidden):
        hidden = hidden @ unit[f"weight_{k}"] + unit[f"bias_{k}"]
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
    straight = features @ unit["skip"][:-1] + unit["skip"][-1]
    return hidden @ unit["head"] + straight


def value(of_prior, of_codes):
    """V for log-odds at the prior's draws and at the codes."""
    told = torch.sigmoid(of_prior).log().mean() + (1 - torch.sigmoid(of_codes)).log().mean()
    return LOG_2 + 0.5 * told


# The divergence that it comes to


def jensen_shannon(mean, covariance):
    """JS(N(mean, covariance), N(0, I)) in one or two dimensions, by the rectangle rule."""
    d = len(mean)
    axis = np.linspace(-12, 12, 4001 if d == 1 else 801)
    grid = np.stack(np.meshgrid(*[axis] * d), -1).reshape(-1, d)
    p = multivariate_normal(np.zeros(d), np.eye(d)).logpdf(grid)
    q = multivariate_normal(mean, covariance).logpdf(grid)
    middle = np.logaddexp(p, q) - LOG_2
    density = 0.5 * np.exp(p) * (p - middle) + 0.5 * np.exp(q) * (q - middle)
    return float(density.sum() * (axis[1] - axis[0]) ** d)


PAIRS = {
    "shift": (torch.tensor([1.0]), torch.eye(1)),
    "shrunk": (torch.tensor([0.0]), 0.25 * torch.eye(1)),
    "dependence": (torch.tensor([0.5, 0.0]), correlation(0.8, 2).float()),
}


def draws(pair, n, generator):
    """n codes and n draws of the prior."""
    mean, covariance = PAIRS[pair]
    both = torch.randn((2, n, len(mean)), generator=generator)
    return mean + both[0] @ torch.linalg.cholesky(covariance).mT, both[1]


def trained(divergence, pair, n_steps=500):
    """A critic after some steps of Adam that falls to a stop."""
    generator = torch.Generator().manual_seed(0)
    start = divergence.init_parameters(len(PAIRS[pair][0]), generator)
    parameters = {name: one.requires_grad_() for name, one in start.items()}
    adam = torch.optim.Adam(parameters.values(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, n_steps)
    for _ in range(n_steps):
        adam.zero_grad()
        divergence.critic_loss(codes(*draws(pair, 256, generator), parameters)).backward()
        adam.step()
        schedule.step()
    return {name: one.detach() for name, one in parameters.items()}


@torch.no_grad()
def measured(divergence, pair, parameters):
    """V on 100 000 fresh draws of each law, and its standard error."""
    z, prior = draws(pair, 100_000, torch.Generator().manual_seed(1))
    told = [
        mean_and_error(logsigmoid(sign * divergence.log_odds(points, parameters)))
        for sign, points in [(1, prior), (-1, z)]
    ]
    error = math.hypot(told[0][1], told[1][1]) / 2
    return divergence(codes(z, prior, parameters)).item(), error


@pytest.mark.parametrize("pair", PAIRS)
def test_comes_to_the_jensen_shannon_divergence_without_penalty(pair):
    """Never above it but for sampling, and below by what 500 steps leave to learn.

    With k weights learned from M draws a critic misses about k / (2 M) nats: .018 for all 4500
    weights and the 128 000 draws of each law. It has to be far better than that bound, as the
    odds of two Gaussians need few weights.
    """
    divergence = Adversarial(gradient_penalty=0)
    found, error = measured(divergence, pair, trained(divergence, pair))
    exact = jensen_shannon(*(part.numpy() for part in PAIRS[pair]))
    assert exact > 0.05
    assert exact - 0.003 - 4 * error < found < exact + 4 * error


@pytest.mark.parametrize("pair", PAIRS)
def test_the_penalty_makes_it_a_lower_bound(pair):
    divergence = Adversarial()
    found, error = measured(divergence, pair, trained(divergence, pair, n_steps=100))
    exact = jensen_shannon(*(part.numpy() for part in PAIRS[pair]))
    assert 4 * error < found < exact - 4 * error


@pytest.mark.parametrize("seed", range(3))
def test_no_critic_exceeds_the_divergence(seed):
    divergence = Adversarial()
    parameters = {k: v.float() for k, v in random_parameters(divergence, 1, seed).items()}
    exact = jensen_shannon(*(part.numpy() for part in PAIRS["shift"]))
    found, error = measured(divergence, "shift", parameters)
    assert found < exact + 4 * error


def test_the_true_odds_give_the_divergence_itself():
    """log p/q of N(0, 1) and N(1, 1) is 1/2 - z: the linear map alone holds it."""
    divergence = Adversarial()
    start = divergence.init_parameters(1, torch.Generator().manual_seed(0))
    parameters = {**start, "skip": torch.tensor([-1.0, 0.0, 0.5]) / SPEED}
    found, error = measured(divergence, "shift", parameters)
    exact = jensen_shannon(*(part.numpy() for part in PAIRS["shift"]))
    assert abs(found - exact) < 4 * error


def test_a_critic_that_is_sure_of_everything_reports_log_2():
    parameters = {
        **Adversarial().init_parameters(1, torch.Generator()),
        "skip": torch.tensor([-100.0, 0.0, 0.0]),
    }
    far = codes(torch.full((5, 1), 10.0), torch.full((5, 1), -10.0), parameters)
    assert Adversarial()(far).item() == pytest.approx(LOG_2, rel=1e-6)


# The game

OVER_SHAPES = pytest.mark.parametrize("sizes", [(), (4,), (5, 3)])


@OVER_SHAPES
def test_log_odds_are_as_described(sizes):
    divergence = Adversarial(sizes)
    parameters, z = random_parameters(divergence, 3), normals(2, 7, 3)
    assert divergence.log_odds(z, parameters).shape == (2, 7)
    torch.testing.assert_close(
        divergence.log_odds(z, parameters), log_odds(z, parameters, len(sizes))
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_value_is_that_of_the_critic_and_never_below_zero(sign):
    """The odds the other way round make V negative, which is reported as 0."""
    divergence = Adversarial((4,))
    parameters = {**random_parameters(divergence, 2), "head": torch.zeros(4).double()}
    parameters["skip"] = sign * torch.tensor([-0.2, -0.2, 0, 0, 0.1]).double()
    z, prior = 1 + normals(50, 2), normals(50, 2, seed=1)
    exact = value(log_odds(prior, parameters, 1), log_odds(z, parameters, 1)).item()
    assert exact * sign > 0.05
    assert divergence(codes(z, prior, parameters)).item() == pytest.approx(max(exact, 0.0))


@OVER_SHAPES
@pytest.mark.parametrize("sign", [1, -1])
def test_encoder_follows_the_non_saturating_loss(sizes, sign):
    """Of -1/2 E log sigma(T), whatever the sign of V, and nothing reaches the critic."""
    divergence = Adversarial(sizes)
    parameters = random_parameters(divergence, 2)
    parameters["head"] *= 0.1  # The linear map decides the sign.
    parameters["skip"] = sign * torch.tensor([-0.2, -0.2, 0, 0, 0.1]).double()
    parameters = {name: one.requires_grad_() for name, one in parameters.items()}
    z, prior = (1 + normals(20, 2)).requires_grad_(), normals(20, 2, seed=1)
    odds = [log_odds(points, parameters, len(sizes)) for points in (prior, z)]
    assert sign * value(*odds) > 0
    pull = -0.5 * torch.sigmoid(log_odds(z, parameters, len(sizes))).log().mean()
    (expected,) = torch.autograd.grad(pull, z)
    leaves = [z, *parameters.values()]
    found, *to_critic = torch.autograd.grad(
        divergence(codes(z, prior, parameters)), leaves, materialize_grads=True
    )
    torch.testing.assert_close(found, expected)
    assert not any(one.any() for one in to_critic)


@OVER_SHAPES
@pytest.mark.parametrize("gamma", [0, 0.3, 2.0])
def test_critic_climbs_v_against_the_penalty_on_its_slope(sizes, gamma):
    """Value and gradients of -V + gamma / 2 E |grad T|^2, codes and prior in equal parts."""
    divergence = Adversarial(sizes, gamma)
    parameters = random_parameters(divergence, 2)
    parameters = {name: one.requires_grad_() for name, one in parameters.items()}
    z, prior = (0.5 + normals(20, 2)).requires_grad_(), normals(20, 2, seed=1)

    n_hidden = len(sizes)
    slopes = []
    for points in (z, prior):
        at = points.detach().requires_grad_()
        odds = log_odds(at, parameters, n_hidden).sum()
        slopes.append(torch.autograd.grad(odds, at, create_graph=True)[0])
    penalty = sum((slope**2).sum(1).mean() for slope in slopes) / 2
    of_codes = log_odds(z.detach(), parameters, n_hidden)
    expected = gamma / 2 * penalty - value(log_odds(prior, parameters, n_hidden), of_codes)

    loss = divergence.critic_loss(codes(z, prior, parameters))
    torch.testing.assert_close(loss, expected)
    mine = list(parameters.values())
    found = torch.autograd.grad(loss, [z, *mine], materialize_grads=True)
    assert not found[0].any()
    torch.testing.assert_close(
        list(found[1:]), list(torch.autograd.grad(expected, mine, materialize_grads=True))
    )


@pytest.mark.parametrize("d", [1, 5])
def test_starts_without_an_opinion(d):
    """T = 0: D is 0, the encoder is not pulled, and the critic's first step raises V."""
    divergence = Adversarial()
    parameters = divergence.init_parameters(d, torch.Generator().manual_seed(0))
    z, prior = 2 + normals(30, d, dtype=torch.float32), normals(30, d, dtype=torch.float32)
    z = z.requires_grad_()
    assert not divergence.log_odds(z, parameters).any()
    start = divergence(codes(z, prior, parameters))
    assert start.item() == pytest.approx(0, abs=1e-6)
    assert not torch.autograd.grad(start, z)[0].any()
    mine = {name: one.clone().requires_grad_() for name, one in parameters.items()}
    slopes = torch.autograd.grad(divergence.critic_loss(codes(z, prior, mine)), mine.values())
    moved = {k: v - 1e-3 * s for (k, v), s in zip(parameters.items(), slopes, strict=True)}
    assert divergence(codes(z, prior, moved)).item() > 0


def test_hidden_layers_start_as_those_of_torch():
    """Uniform, at most 1 / sqrt(fan in) in size; variance a third of its square."""
    parameters = Adversarial((400, 300)).init_parameters(8, torch.Generator().manual_seed(0))
    assert parameters["weight_0"].shape == (16, 400)
    assert parameters["bias_1"].shape == (300,)
    for k, fan_in in enumerate([16, 400]):
        both = SPEED * torch.cat([parameters[f"weight_{k}"].ravel(), parameters[f"bias_{k}"]])
        scaled = both * math.sqrt(fan_in)
        assert scaled.abs().max() <= 1 + 1e-6
        assert scaled.abs().max() > 0.99
        average, error = mean_and_error(scaled.double().square())
        assert abs(average - 1 / 3) < 4 * error
        assert abs(mean_and_error(scaled)[0]) < 4 * mean_and_error(scaled)[1]


def test_takes_as_many_draws_of_the_prior_as_there_are_codes():
    assert Adversarial().noise_rows(37) == 37


@pytest.mark.parametrize("gamma", [-0.1, math.inf, math.nan])
def test_bad_penalty_is_refused_by_name(gamma):
    says = rf"gradient_penalty of at least 0, got gradient_penalty={gamma!r}\. 0\.3 is the default"
    with pytest.raises(ValueError, match=says):
        Adversarial(gradient_penalty=gamma).init_parameters(2, torch.Generator())
