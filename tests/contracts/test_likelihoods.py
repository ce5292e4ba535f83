"""Laws of a likelihood, run over every class in the registry and over variants."""

import pickle

import numpy as np
import pytest
import torch
from likelihood_blocks import (
    N_COLUMNS,
    allows,
    distribution_function,
    draw,
    is_continuous,
    learned,
    make_block,
    normal,
    one_hot,
    over_columns,
    over_likelihoods,
    support,
    uniform,
)
from sklearn.base import clone
from torch.func import grad, vmap

from sk_infovae._model.domain import check_values
from sk_infovae.likelihoods import Likelihood

# The distribution


@over_likelihoods
@over_columns
def test_density_integrates_to_one(likelihood, column):
    block = make_block(likelihood)
    nodes, weights = support(block, column)
    total = (weights * block.log_prob_of(column, nodes).exp()).sum()
    assert total.item() == pytest.approx(1, abs=1e-9)


@over_likelihoods
@over_columns
def test_mean_is_that_of_the_density(likelihood, column):
    """With levels the probability of each; what is decided is the most probable one."""
    block = make_block(likelihood)
    nodes, weights = support(block, column)
    probability = weights * block.log_prob_of(column, nodes).exp()
    likely = nodes[probability.argmax()]
    expected = probability if likelihood.has_levels else (probability * nodes).sum()
    mean = likelihood.mean(block.outputs[None], block.parameters)
    torch.testing.assert_close(block.mean()[column], expected, rtol=1e-9, atol=1e-9)
    decided = likelihood.mode(mean)
    assert decided.dtype == mean.dtype
    assert decided.shape == (1, N_COLUMNS)
    assert decided[0, column] == (likely if likelihood.has_levels else mean[0, column])


@over_likelihoods
def test_average_is_that_of_the_means(likelihood):
    """Over draws of z that have shares, for each row its own."""
    block, shares = make_block(likelihood), normal(2, 5, seed=1).softmax(-1)
    outputs = block.outputs + 0.5 * normal(2, 5, len(block.outputs))
    expected = (shares[..., None] * likelihood.mean(outputs, block.parameters)).sum(-2)
    averages = likelihood.average(outputs, block.parameters, shares)
    torch.testing.assert_close(averages, expected, rtol=1e-12, atol=1e-12)


@over_likelihoods
def test_noise_variance_is_that_of_the_density(likelihood):
    """Per column, or one for all, where it does not depend on z; and None where it does."""
    block = make_block(likelihood)
    variance = likelihood.noise_variance(block.parameters)
    assert variance is None or variance.shape in [(N_COLUMNS,), (1,)]
    variance = None if variance is None else variance.expand(N_COLUMNS)
    for column in range(N_COLUMNS):
        nodes, weights = support(block, column)
        probability = weights * block.log_prob_of(column, nodes).exp()
        mean = (probability * nodes).sum()
        expected = (probability * (nodes - mean) ** 2).sum()
        if variance is not None:
            assert variance[column].item() == pytest.approx(expected.item(), rel=1e-8)


@over_likelihoods
def test_draws_have_the_mean_and_lie_in_the_support(likelihood):
    """Within four standard errors; with levels every level has its frequency."""
    block, n = make_block(likelihood), 100_000
    x = draw(block, n)
    assert x.shape == (n, N_COLUMNS)
    assert likelihood.in_support(x).all()
    assert likelihood.in_fit_domain(x).all()
    nodes, _ = support(block, 0)
    x = (x[..., None] == nodes).double() if likelihood.has_levels else x
    error = x.std(0) / n**0.5
    assert ((x.mean(0) - block.mean()).abs() <= 4 * error).all()


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
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    assert (x[0] <= x[1]).all()


def information(block):
    """E s s' with the score s, by autograd under the density; columns are independent."""
    total = torch.zeros(2 * block.outputs.shape, dtype=torch.float64)
    for column in range(N_COLUMNS):
        nodes, weights = support(block, column)
        outputs = block.rows(len(nodes)).clone().requires_grad_()
        log_prob = block.log_prob_of(column, nodes, outputs)
        (score,) = torch.autograd.grad(log_prob.sum(), outputs)
        total += score.mT @ ((weights * log_prob.detach().exp())[:, None] * score)
    return total


@over_likelihoods
def test_fisher_is_the_expected_square_of_the_score(likelihood):
    """Its diagonal, and its product with tangents."""
    block = make_block(likelihood)
    dense, tangents = information(block), normal(2, 4, len(block.outputs), 5)
    outputs = block.rows(4).expand(2, -1, -1)
    fisher = likelihood.fisher(outputs, block.parameters)
    expected = dense.diagonal().expand(2, 4, -1)
    torch.testing.assert_close(fisher, expected, rtol=1e-8, atol=1e-10)
    product = likelihood.fisher_product(outputs, block.parameters, tangents)
    torch.testing.assert_close(product, dense @ tangents, rtol=1e-8, atol=1e-10)


@over_likelihoods
def test_default_fisher_is_about_the_exact_one(likelihood):
    """Of a family that has none of its own; as score asks for it, without gradients."""
    block = make_block(likelihood)
    outputs = block.rows(4).expand(2, -1, -1)
    learned_ones = {name: value.requires_grad_() for name, value in block.parameters.items()}
    with torch.no_grad():
        default = Likelihood.fisher(likelihood, outputs, learned_ones)
        exact = likelihood.fisher(outputs, learned_ones)
    assert not default.requires_grad
    torch.testing.assert_close(default, exact, rtol=0.15, atol=0.01)


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
    by_outputs = filled[2].unflatten(-1, (N_COLUMNS, -1))[mask == 0]
    assert torch.equal(by_outputs, torch.zeros_like(by_outputs))


@over_likelihoods
@pytest.mark.parametrize("masked", [True, False])
def test_a_row_broadcasts_over_its_draws(likelihood, masked):
    """Draws stand between rows and columns, as in the score, or before both, as in information.

    Cells and mask have one axis of 1 there, or none.
    """
    block, n, n_draws = make_block(likelihood), 6, 4
    x, mask = draw(block, n), None
    if masked:
        mask = (uniform(n, N_COLUMNS, seed=3) < 0.7).double()
    draws = block.rows(n) + normal(n_draws, n, len(block.outputs))
    each = [likelihood.log_prob(x, one, block.parameters, mask) for one in draws]
    expected = torch.stack(each)
    before = likelihood.log_prob(x, draws, block.parameters, mask)
    torch.testing.assert_close(before, expected, rtol=1e-12, atol=1e-12)
    among = None if mask is None else mask[:, None]
    between = likelihood.log_prob(x[:, None], draws.movedim(0, 1), block.parameters, among)
    torch.testing.assert_close(between, expected.mT, rtol=1e-12, atol=1e-12)


@over_likelihoods
@pytest.mark.parametrize("masked", [True, False])
def test_one_row_of_outputs_serves_many_rows_of_cells(likelihood, masked):
    """And the cells may have axes that the outputs lack."""
    block, n = make_block(likelihood), 6
    x, mask = draw(block, n), None
    if masked:
        mask = (uniform(n, N_COLUMNS, seed=3) < 0.7).double()
    expected = likelihood.log_prob(x, block.rows(n), block.parameters, mask)
    for outputs in (block.outputs[None], block.outputs):
        found = likelihood.log_prob(x, outputs, block.parameters, mask)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@over_likelihoods
def test_results_of_a_stack_are_those_of_its_parts(likelihood):
    block, n = make_block(likelihood), 5
    outputs = block.rows(n) + normal(3, n, len(block.outputs))
    noise = uniform(3, n, N_COLUMNS)
    of_outputs = [
        lambda k: likelihood.mean(outputs[k], block.parameters),
        lambda k: likelihood.mode(likelihood.mean(outputs[k], block.parameters)),
        lambda k: likelihood.sample(outputs[k], block.parameters, noise[k]),
        lambda k: likelihood.fisher(outputs[k], block.parameters),
    ]
    for function in of_outputs:
        parts = torch.stack([function(k) for k in range(3)])
        torch.testing.assert_close(function(slice(None)), parts, rtol=1e-12, atol=1e-12)


# Numbers


def check_finite(likelihood, x, outputs, parameters):
    leaves = [outputs.requires_grad_(), *parameters.values()]
    log_prob = likelihood.log_prob(x, outputs, parameters, None)
    gradients = torch.autograd.grad(log_prob.sum(), leaves, allow_unused=True)
    gradients = [gradient for gradient in gradients if gradient is not None]
    mean, fisher = likelihood.mean(outputs, parameters), likelihood.fisher(outputs, parameters)
    u = torch.full((len(x), N_COLUMNS), 0.3)
    drawn = likelihood.sample(outputs.detach(), parameters, u)
    for result in (log_prob, *gradients, mean, fisher, drawn):
        assert result.isfinite().all()
    assert (fisher >= 0).all()
    assert likelihood.in_support(drawn).all()


@over_likelihoods
@pytest.mark.parametrize("size", [-1e3, -50.0, 0.0, 50.0, 1e3])
@pytest.mark.parametrize("value", [-1e6, -1.0, 0.0, 1e-30, 0.5, 1.0, 3.0, 11.0, 1e6])
def test_finite_at_extremes_in_float32(likelihood, size, value):
    """Early training meets outputs and cells like these: no NaN, no infinity, in any result."""
    if not allows(likelihood, value):
        assert likelihood.score_rule
        return
    n_outputs = likelihood.n_outputs(N_COLUMNS)
    signs = torch.stack([torch.ones(n_outputs), (-1.0) ** torch.arange(n_outputs)])
    parameters = {
        name: start.detach().clone().requires_grad_()
        for name, start in likelihood.init_parameters(N_COLUMNS).items()
    }
    check_finite(likelihood, torch.full((2, N_COLUMNS), value), size * signs, parameters)


@over_likelihoods
@pytest.mark.parametrize("size", [-30.0, 30.0])
@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 100.0])
def test_finite_at_extremes_of_the_parameters(likelihood, size, value):
    """Wherever the gradient may lead what is learned beside the decoder."""
    if not allows(likelihood, value):
        return
    parameters = {
        name: start.detach().clone() + size * (name in learned(likelihood))
        for name, start in likelihood.init_parameters(N_COLUMNS).items()
    }
    parameters = {name: start.requires_grad_() for name, start in parameters.items()}
    outputs = torch.linspace(-3, 3, 2 * likelihood.n_outputs(N_COLUMNS)).reshape(2, -1)
    check_finite(likelihood, torch.full((2, N_COLUMNS), value), outputs, parameters)


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
    """Unless there is one output for all levels, which then says nothing."""
    block, n = make_block(likelihood), 2000
    leaves = [block.parameters[name].clone().requires_grad_() for name in learned(likelihood)]
    parameters = block.parameters | dict(zip(learned(likelihood), leaves, strict=True))
    outputs = block.rows(n).clone().requires_grad_()
    value = likelihood.log_prob(draw(block, n), outputs, parameters, None).sum()
    says_nothing = (likelihood.fisher(block.rows(1), block.parameters) == 0).all()
    for gradient in torch.autograd.grad(value, [outputs, *leaves]):
        assert ((gradient == 0) if says_nothing else (gradient != 0)).all()


@over_likelihoods
def test_vmap_gives_what_a_loop_gives(likelihood):
    """Values and gradients of many models at once."""
    n_models, n = 4, 5
    blocks = [make_block(likelihood, seed) for seed in range(n_models)]
    x = torch.stack([draw(block, n, seed=9) for block in blocks])
    mask = (uniform(n_models, n, N_COLUMNS, seed=5) < 0.7).double()
    outputs = torch.stack([block.rows(n) + normal(n, 1) for block in blocks])
    parameters = {
        name: torch.stack([block.parameters[name] for block in blocks])
        for name in blocks[0].parameters
    }

    tangents = normal(n_models, n, outputs.shape[-1], 2)

    def results(x, outputs, parameters, mask, tangents):
        def total(outputs, parameters):
            return likelihood.log_prob(x, outputs, parameters, mask).sum()

        return (
            likelihood.log_prob(x, outputs, parameters, mask),
            likelihood.log_prob(x, outputs, parameters, None),
            likelihood.mean(outputs, parameters),
            likelihood.fisher(outputs, parameters),
            likelihood.fisher_product(outputs, parameters, tangents),
            grad(total, argnums=(0, 1))(outputs, parameters),
        )

    mapped = vmap(results)(x, outputs, parameters, mask, tangents)
    for k, block in enumerate(blocks):
        alone = results(x[k], outputs[k], block.parameters, mask[k], tangents[k])
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
