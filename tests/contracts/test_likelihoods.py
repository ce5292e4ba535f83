"""Laws of a likelihood, run over every class in the registry.

A block has three columns. A law about one of them masks the other two, so that it needs to know
nothing about how a family lays out its outputs. What a family's values are (real, positive,
counts) is read off `Likelihood.in_support`.
"""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor
from torch.func import grad, vmap

from sk_infovae.domain import check_values
from sk_infovae.likelihoods import LIKELIHOODS, Bernoulli, Gaussian, Likelihood

INSTANCES = [pytest.param(cls(), id=name) for name, cls in LIKELIHOODS.items()]
VARIANTS = {
    "floor": Gaussian(floor=0.5),
    "optimal": Gaussian("optimal"),
    "fixed": Gaussian(0.5),
    "shared": Gaussian(shared=True),
    "fixed-shared": Gaussian(0.5, shared=True),
    "own-units": Gaussian(standardised=False),
}
INSTANCES += [pytest.param(one, id=f"gaussian-{name}") for name, one in VARIANTS.items()]
over_likelihoods = pytest.mark.parametrize("likelihood", INSTANCES)

N_COLUMNS = 3
over_columns = pytest.mark.parametrize("column", range(N_COLUMNS))


class Block(NamedTuple):
    """A likelihood of three columns with parameters and one row of outputs, in float64."""

    likelihood: Likelihood
    parameters: dict[str, Tensor]
    outputs: Tensor

    def rows(self, n):
        """The same outputs for n rows."""
        return self.outputs.expand(n, -1)

    def log_prob_of(self, column, values, outputs=None):
        """log p of ``values (n,)`` in one column; the other two are missing."""
        mask = one_hot(column)
        x = values[:, None] * mask + (1 - mask)
        outputs = self.rows(len(values)) if outputs is None else outputs
        return self.likelihood.log_prob(x, outputs, self.parameters, mask.expand_as(x))


def one_hot(column):
    return torch.eye(N_COLUMNS, dtype=torch.float64)[column]


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)


def make_block(likelihood, seed=0):
    """Outputs and parameters away from their starting values."""
    parameters = {
        name: value.double() + 0.3 * normal(*value.shape, seed=seed + 1)
        for name, value in likelihood.init_parameters(N_COLUMNS).items()
    }
    return Block(likelihood, parameters, normal(likelihood.n_outputs(N_COLUMNS), seed=seed))


def allows(likelihood, value):
    return bool(likelihood.in_support(torch.tensor([value], dtype=torch.float64)))


def is_continuous(likelihood):
    return allows(likelihood, 0.5)


def support(likelihood):
    """Nodes and weights that integrate over a continuous support, or sum over a discrete one.

    The trapezoidal rule in t, with x = sinh(t) for the reals and x = exp(t) for the positive
    numbers, converges exponentially for smooth densities.
    """
    if not is_continuous(likelihood):
        counts = torch.arange(2000, dtype=torch.float64)
        counts = counts[likelihood.in_support(counts)]
        return counts, torch.ones_like(counts)
    t = torch.linspace(-18, 18, 4001, dtype=torch.float64)
    step = t[1] - t[0]
    real = allows(likelihood, -1.0)
    return (t.sinh(), step * t.cosh()) if real else (t.exp(), step * t.exp())


def distribution_function(block, column, values):
    """P(x <= value): a sum, or the integral over what lies below each value."""
    if not is_continuous(block.likelihood):
        nodes, _ = support(block.likelihood)
        probability = block.log_prob_of(column, nodes).exp()
        return (probability * (nodes <= values[:, None])).sum(-1)
    s = torch.linspace(-40, 20, 3001, dtype=torch.float64)
    if allows(block.likelihood, -1.0):
        below, weight = values[:, None] - s.exp(), s.exp().expand(len(values), -1)
    else:
        below, weight = (
            values[:, None] * s.sigmoid(),
            values[:, None] * s.sigmoid() * (-s).sigmoid(),
        )
    density = block.log_prob_of(column, below.reshape(-1)).exp().reshape(below.shape)
    return (density * weight).sum(-1) * (s[1] - s[0])


def draw(block, n, seed=0):
    return block.likelihood.sample(
        block.rows(n), block.parameters, uniform(n, N_COLUMNS, seed=seed)
    )


def constant_fit(likelihood, x):
    """Outputs and parameters, the same for all rows, that maximise the likelihood of x."""
    n, n_columns = x.shape
    outputs = torch.zeros(likelihood.n_outputs(n_columns), dtype=torch.float64, requires_grad=True)
    parameters = {
        name: value.double().requires_grad_()
        for name, value in likelihood.init_parameters(n_columns).items()
    }
    optimizer = torch.optim.LBFGS(
        [outputs, *parameters.values()],
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss():
        optimizer.zero_grad()
        value = -likelihood.log_prob(x, outputs.expand(n, -1), parameters, None).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return outputs.detach(), {name: value.detach() for name, value in parameters.items()}


# The distribution


@over_likelihoods
@over_columns
def test_density_integrates_to_one(likelihood, column):
    block = make_block(likelihood)
    nodes, weights = support(likelihood)
    total = (weights * block.log_prob_of(column, nodes).exp()).sum()
    assert total.item() == pytest.approx(1, abs=1e-9)


@over_likelihoods
@over_columns
def test_mean_is_that_of_the_density(likelihood, column):
    block = make_block(likelihood)
    nodes, weights = support(likelihood)
    expected = (weights * nodes * block.log_prob_of(column, nodes).exp()).sum()
    mean = likelihood.mean(block.outputs[None], block.parameters)[0, column]
    assert mean.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)


@over_likelihoods
def test_noise_variance_is_that_of_the_density(likelihood):
    """Per column, or one for all, where it does not depend on z; and None where it does."""
    block = make_block(likelihood)
    variance = likelihood.noise_variance(block.parameters)
    assert variance is None or variance.shape in [(N_COLUMNS,), (1,)]
    variance = None if variance is None else variance.expand(N_COLUMNS)
    nodes, weights = support(likelihood)
    for column in range(N_COLUMNS):
        probability = weights * block.log_prob_of(column, nodes).exp()
        mean = (probability * nodes).sum()
        expected = (probability * (nodes - mean) ** 2).sum()
        if variance is not None:
            assert variance[column].item() == pytest.approx(expected.item(), rel=1e-8)


@over_likelihoods
def test_draws_have_the_mean_and_lie_in_the_support(likelihood):
    block, n = make_block(likelihood), 100_000
    x = draw(block, n)
    assert x.shape == (n, N_COLUMNS)
    assert likelihood.in_support(x).all()
    assert likelihood.in_fit_domain(x).all()
    error = x.std(0) / n**0.5
    mean = likelihood.mean(block.outputs[None], block.parameters)[0]
    assert ((x.mean(0) - mean).abs() < 4 * error).all()


@over_likelihoods
@over_columns
def test_sampling_inverts_the_distribution_function(likelihood, column):
    """F(x(u)) = u for a density; for probabilities x(u) is the least x with F(x) >= u."""
    block = make_block(likelihood)
    u = torch.linspace(0.003, 0.997, 101, dtype=torch.float64)
    chosen = torch.where(one_hot(column) > 0, u[:, None], torch.tensor(0.5).double())
    x = likelihood.sample(block.rows(len(u)), block.parameters, chosen)[:, column]
    at_x = distribution_function(block, column, x)
    if is_continuous(likelihood):
        torch.testing.assert_close(at_x, u, rtol=0, atol=1e-8)
    else:
        assert (at_x >= u).all()
        assert (distribution_function(block, column, x - 1) < u).all()


@over_likelihoods
def test_draws_are_finite_at_the_ends_of_float32(likelihood):
    """A float32 generator returns 0 now and then: the least positive number stands for it."""
    limits = torch.finfo(torch.float32)
    ends = torch.tensor([limits.tiny, 1 - limits.eps / 2])[:, None].expand(-1, N_COLUMNS)
    block = make_block(likelihood)
    parameters = {name: value.float() for name, value in block.parameters.items()}
    x = likelihood.sample(block.rows(2).float(), parameters, ends)
    assert x.isfinite().all()
    assert (x[0] <= x[1]).all()


@over_likelihoods
def test_fisher_is_the_expected_curvature(likelihood):
    """F_kk = - E d^2 log p / d output_k^2, by autograd under the density, summed over columns."""
    block = make_block(likelihood)
    nodes, weights = support(likelihood)
    expected = torch.zeros_like(block.outputs)
    for column in range(N_COLUMNS):
        outputs = block.rows(len(nodes)).clone().requires_grad_()
        log_prob = block.log_prob_of(column, nodes, outputs)
        (slope,) = torch.autograd.grad(log_prob.sum(), outputs, create_graph=True)
        probability = weights * log_prob.detach().exp()
        for k in range(len(expected)):
            (second,) = torch.autograd.grad(slope[:, k].sum(), outputs, retain_graph=True)
            expected[k] -= (probability * second[:, k]).sum()
    fisher = likelihood.fisher(block.rows(4), block.parameters)
    torch.testing.assert_close(fisher, expected.expand(4, -1), rtol=1e-8, atol=1e-10)


# The sum over columns


@over_likelihoods
def test_rows_sum_over_their_columns(likelihood):
    block, n = make_block(likelihood), 20
    x = draw(block, n)
    total = likelihood.log_prob(x, block.rows(n), block.parameters, None)
    assert total.shape == (n,)
    parts = sum(block.log_prob_of(column, x[:, column]) for column in range(N_COLUMNS))
    torch.testing.assert_close(total, parts, rtol=1e-12, atol=1e-12)


@over_likelihoods
def test_masks_of_ones_and_of_zeros(likelihood):
    """All cells observed is no mask; no cell observed is exactly 0."""
    block, n = make_block(likelihood), 5
    x = draw(block, n)
    arguments = x, block.rows(n), block.parameters
    torch.testing.assert_close(
        likelihood.log_prob(*arguments, torch.ones_like(x)), likelihood.log_prob(*arguments, None)
    )
    assert torch.equal(
        likelihood.log_prob(*arguments, torch.zeros_like(x)), torch.zeros(n).double()
    )


@over_likelihoods
@pytest.mark.parametrize("fill", [0.0, 0.3, -3.0, 1e6])
def test_missing_cells_contribute_exactly_nothing(likelihood, fill):
    """Value and every gradient are the same bits whatever finite number a missing cell holds."""
    block, n = make_block(likelihood), 12
    x = draw(block, n)
    mask = (uniform(n, N_COLUMNS, seed=7) < 0.6).double()
    mask[0] = 0

    def results(cells):
        cells = cells.clone().requires_grad_()
        outputs = block.rows(n).clone().requires_grad_()
        parameters = {
            name: value.clone().requires_grad_() for name, value in block.parameters.items()
        }
        value = likelihood.log_prob(cells, outputs, parameters, mask)
        leaves = [cells, outputs, *parameters.values()]
        return [value.detach(), *torch.autograd.grad(value.sum(), leaves, materialize_grads=True)]

    filled = results(torch.where(mask > 0, x, torch.full_like(x, fill)))
    for left, right in zip(results(x), filled, strict=True):
        assert torch.equal(left, right)
    by_cells = filled[1]
    assert torch.equal(by_cells[mask == 0], torch.zeros_like(by_cells[mask == 0]))
    assert torch.equal(filled[2][0], torch.zeros_like(block.outputs))


# Numbers


@over_likelihoods
@pytest.mark.parametrize("size", [-1e3, 0.0, 1e3])
@pytest.mark.parametrize("value", [-1e6, -1.0, 0.0, 0.5, 1.0, 3.0, 1e6])
def test_finite_at_extremes_in_float32(likelihood, size, value):
    """Early training meets outputs and cells like these: no NaN, no infinity, in any result."""
    if not allows(likelihood, value):
        assert likelihood.score_rule
        return
    outputs = torch.full((2, likelihood.n_outputs(N_COLUMNS)), size, requires_grad=True)
    parameters = {
        name: start.clone().requires_grad_()
        for name, start in likelihood.init_parameters(N_COLUMNS).items()
    }
    x = torch.full((2, N_COLUMNS), value)
    log_prob = likelihood.log_prob(x, outputs, parameters, None)
    gradients = torch.autograd.grad(log_prob.sum(), [outputs, *parameters.values()])
    mean, fisher = likelihood.mean(outputs, parameters), likelihood.fisher(outputs, parameters)
    for result in (log_prob, *gradients, mean, fisher):
        assert result.isfinite().all()
    assert (fisher >= 0).all()


@over_likelihoods
def test_gradients_are_those_of_the_value(likelihood):
    block, n = make_block(likelihood), 4
    x, mask = draw(block, n), (uniform(n, N_COLUMNS, seed=3) < 0.7).double()
    names = list(block.parameters)

    def log_prob(outputs, *values):
        return likelihood.log_prob(x, outputs, dict(zip(names, values, strict=True)), mask)

    leaves = [block.rows(n).clone(), *(value.clone() for value in block.parameters.values())]
    assert torch.autograd.gradcheck(log_prob, [leaf.requires_grad_() for leaf in leaves])


@over_likelihoods
def test_every_parameter_learns(likelihood):
    block, n = make_block(likelihood), 50
    leaves = {name: value.clone().requires_grad_() for name, value in block.parameters.items()}
    outputs = block.rows(n).clone().requires_grad_()
    value = likelihood.log_prob(draw(block, n), outputs, leaves, None).sum()
    for gradient in torch.autograd.grad(value, [outputs, *leaves.values()]):
        assert (gradient != 0).all()


@over_likelihoods
def test_vmap_gives_what_a_loop_gives(likelihood):
    """Values and gradients of many models at once."""
    n_models, n = 4, 5
    blocks = [make_block(likelihood, seed) for seed in range(n_models)]
    x = torch.stack([draw(block, n, seed=9) for block in blocks])
    mask = (uniform(n_models, n, N_COLUMNS, seed=5) < 0.7).double()
    noise = uniform(n_models, n, N_COLUMNS, seed=6)
    outputs = torch.stack([block.rows(n) + normal(n, 1) for block in blocks])
    parameters = {
        name: torch.stack([block.parameters[name] for block in blocks])
        for name in blocks[0].parameters
    }

    def results(x, outputs, parameters, mask, noise):
        def total(outputs, parameters):
            return likelihood.log_prob(x, outputs, parameters, mask).sum()

        return (
            likelihood.log_prob(x, outputs, parameters, mask),
            likelihood.log_prob(x, outputs, parameters, None),
            likelihood.mean(outputs, parameters),
            likelihood.sample(outputs, parameters, noise),
            likelihood.fisher(outputs, parameters),
            grad(total, argnums=(0, 1))(outputs, parameters),
        )

    mapped = vmap(results)(x, outputs, parameters, mask, noise)
    for k, block in enumerate(blocks):
        alone = results(x[k], outputs[k], block.parameters, mask[k], noise[k])
        one = torch.utils._pytree.tree_map(lambda value, k=k: value[k], mapped)
        torch.testing.assert_close(one, alone, rtol=1e-12, atol=1e-12)


# Values that are allowed


@over_likelihoods
def test_what_can_be_scored_can_be_trained_on(likelihood):
    values = torch.tensor([-1e6, -1.0, -0.5, 0.0, 0.3, 1.0, 2.0, 7.0, 1e6]).double()
    trained, scored = likelihood.in_fit_domain(values), likelihood.in_support(values)
    assert (trained | ~scored).all()
    assert trained.all() or likelihood.fit_rule is not None
    assert scored.all() or likelihood.score_rule is not None


@over_likelihoods
@pytest.mark.parametrize("scored", [False, True])
def test_a_value_outside_is_refused_by_name(likelihood, scored):
    """The message names column, value and rule; a missing cell breaks no rule."""
    rule = likelihood.score_rule if scored else likelihood.fit_rule
    allowed = likelihood.in_support if scored else likelihood.in_fit_domain
    X = np.stack([draw(make_block(likelihood), 6)[:, 0].numpy()] * 2, axis=1)
    X[0] = np.nan
    check_values(X, [likelihood] * 2, ["age", "size"], scored=scored)
    for bad in (-1.5, 0.5):
        X[3, 1] = bad
        if allowed(torch.tensor([bad])):
            check_values(X, [likelihood] * 2, ["age", "size"], scored=scored)
        else:
            with pytest.raises(ValueError, match=rf"'size'.*{rule[:10]}.*got {bad}"):
                check_values(X, [likelihood] * 2, ["age", "size"], scored=scored)


def test_grey_values_train_under_bernoulli_but_have_no_probability():
    values = torch.tensor([-0.1, 0.0, 0.4, 1.0, 1.1])
    assert Bernoulli().in_fit_domain(values).tolist() == [False, True, True, True, False]
    assert Bernoulli().in_support(values).tolist() == [False, True, False, True, False]


# Maximum likelihood of the constant model


def test_gaussian_learns_mean_and_variance():
    x = normal(200, N_COLUMNS) * torch.tensor([0.3, 1.0, 4.0]) + torch.tensor([0.0, -2.0, 5.0])
    outputs, parameters = constant_fit(Gaussian(), x)
    torch.testing.assert_close(outputs, x.mean(0), rtol=1e-6, atol=1e-6)
    variance = Gaussian().noise_variance(parameters)
    torch.testing.assert_close(variance, x.var(0, correction=0), rtol=1e-5, atol=0)


def test_gaussian_floor_keeps_a_constant_column_finite():
    """The noise falls to the floor and not below; the density stays finite."""
    x = torch.full((50, 2), 3.0).double()
    likelihood = Gaussian(floor=0.01)
    outputs, parameters = constant_fit(likelihood, x)
    variance = likelihood.noise_variance(parameters)
    torch.testing.assert_close(outputs, x[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(variance, torch.full((2,), 0.01).double(), rtol=1e-4, atol=0)
    assert (variance >= 0.01).all()
    assert likelihood.log_prob(x, outputs.expand(50, -1), parameters, None).isfinite().all()


def test_bernoulli_learns_the_log_odds_of_the_mean():
    """Also of grey values: the cross-entropy has its optimum at their mean."""
    x = torch.stack([(uniform(100) < 0.2).double(), uniform(100, seed=1) ** 2], 1)
    outputs, _ = constant_fit(Bernoulli(), x)
    torch.testing.assert_close(outputs, torch.logit(x.mean(0)), rtol=1e-6, atol=1e-6)


# The object


@over_likelihoods
def test_keeps_no_state_and_draws_nothing(likelihood):
    block = make_block(likelihood)
    before, generator_state = pickle.dumps(likelihood), torch.get_rng_state()
    x = draw(block, 5)
    assert torch.equal(x, draw(block, 5))
    likelihood.log_prob(x, block.rows(5), block.parameters, None)
    assert torch.equal(generator_state, torch.get_rng_state())
    assert pickle.dumps(likelihood) == before


@over_likelihoods
def test_parameters_make_an_equal_object(likelihood):
    block = make_block(likelihood)
    x = draw(block, 5)
    copies = [
        type(likelihood)(**likelihood.get_params()),
        type(likelihood)().set_params(**likelihood.get_params()),
        clone(likelihood),
        pickle.loads(pickle.dumps(likelihood)),
    ]
    for copy in copies:
        assert copy is not likelihood
        assert copy == likelihood
        assert torch.equal(
            copy.log_prob(x, block.rows(5), block.parameters, None),
            likelihood.log_prob(x, block.rows(5), block.parameters, None),
        )


@over_likelihoods
def test_unknown_parameter_is_named(likelihood):
    with pytest.raises(ValueError, match="no_such_parameter"):
        likelihood.set_params(no_such_parameter=1)


@pytest.mark.parametrize("floor", [0.0, -1.0, float("inf"), float("nan")])
def test_gaussian_floor_must_be_positive_and_finite(floor):
    with pytest.raises(ValueError, match=rf"positive and finite.*floor={floor!r}.*1e-4"):
        Gaussian(floor=floor).init_parameters(2)
