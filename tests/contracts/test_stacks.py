"""A stack of models equals its members, each alone: many models are trained as one by this law.

Data and what is learned have a first axis for the K models; parameters of a likelihood also have
one for rows, behind it. No torch.func.vmap is needed.
"""

import pytest
import torch
from divergence_batches import EVERY, N_ROWS, evaluate, inputs, over, over_all, random_parameters
from gaussian_codes import learns
from likelihood_blocks import (
    INSTANCES,
    N_COLUMNS,
    draw,
    make_block,
    normal,
    over_likelihoods,
    uniform,
)

from sk_infovae._base.posterior import Posterior
from sk_infovae.divergences import Codes
from sk_infovae.likelihoods import Categorical, ColumnLikelihoods, Ordinal

over_sizes = pytest.mark.parametrize("n_models", [1, 3])
N = 40  # as many rows as an optimal noise is measured on, and more


def check_members(stacked, alone, axis=0, tolerance=1e-12):
    """The stack's results, along its axis of models, are those of each model alone."""
    for k, expected in enumerate(alone):
        torch.testing.assert_close(
            stacked.select(axis, k), expected, rtol=tolerance, atol=tolerance
        )
    assert stacked.shape[axis] == len(alone)


# Likelihoods


class Models:
    """Blocks of one likelihood with parameters, cells, outputs and masks of their own."""

    def __init__(self, likelihood, n_models, n=N):
        self.blocks = [make_block(likelihood, seed) for seed in range(n_models)]
        width = likelihood.n_outputs(N_COLUMNS)
        self.x = torch.stack([draw(one, n, seed=k) for k, one in enumerate(self.blocks)])
        self.outputs = torch.stack([one.rows(n) for one in self.blocks]) + normal(n, width)
        self.mask = (uniform(n_models, n, N_COLUMNS, seed=5) < 0.7).double()

    @property
    def parameters(self):
        """Side by side, ``(K, 1, n_columns, ...)``."""
        return {
            name: torch.stack([one.parameters[name] for one in self.blocks])[:, None]
            for name in self.blocks[0].parameters
        }


def log_prob_and_gradients(likelihood, x, outputs, parameters, mask):
    """log p, and the gradients of its sum by outputs and parameters."""
    leaves = [one.clone().requires_grad_() for one in (outputs, *parameters.values())]
    own = dict(zip(parameters, leaves[1:], strict=True))
    value = likelihood.log_prob(x, leaves[0], own, mask)
    return value, *torch.autograd.grad(value.sum(), leaves, materialize_grads=True)


@over_likelihoods
@over_sizes
@pytest.mark.parametrize("masked", [True, False])
def test_log_prob_and_gradients_of_a_stack_are_those_of_its_members(likelihood, n_models, masked):
    models = Models(likelihood, n_models)
    mask = models.mask if masked else None
    stacked = log_prob_and_gradients(likelihood, models.x, models.outputs, models.parameters, mask)
    alone = [
        log_prob_and_gradients(
            likelihood, models.x[k], models.outputs[k], one.parameters, mask[k] if masked else None
        )
        for k, one in enumerate(models.blocks)
    ]
    value, by_outputs, *by_parameters = stacked
    assert value.shape == (n_models, N)
    check_members(value, [one[0] for one in alone])
    check_members(by_outputs, [one[1] for one in alone])
    for i, found in enumerate(by_parameters):
        check_members(found[:, 0], [one[2 + i] for one in alone])


@over_likelihoods
def test_draws_of_a_stack_are_those_of_its_members(likelihood):
    """Draws come before models and rows; the cells have no axis for them."""
    models, n_draws = Models(likelihood, 3, n=5), 2
    outputs = models.outputs + normal(n_draws, *models.outputs.shape, seed=3)
    for mask in (models.mask, None):
        found = likelihood.log_prob(models.x, outputs, models.parameters, mask)
        alone = [
            likelihood.log_prob(
                models.x[k], outputs[:, k], one.parameters, None if mask is None else mask[k]
            )
            for k, one in enumerate(models.blocks)
        ]
        check_members(found, alone, axis=1)


@over_likelihoods
@over_sizes
def test_what_a_stack_says_is_what_its_members_say(likelihood, n_models):
    """Means, draws, information and what is set in closed form."""
    models = Models(likelihood, n_models)
    width = models.outputs.shape[-1]
    noise, tangents = uniform(n_models, N, N_COLUMNS), normal(n_models, N, width, 2)
    draws = models.outputs[..., None, :] + normal(n_models, N, 4, width, seed=2)
    shares = normal(n_models, N, 4, seed=1).softmax(-1)

    def results(parameters, k=slice(None)):
        x, outputs, mask = models.x[k], models.outputs[k], models.mask[k]
        return [
            likelihood.mean(outputs, parameters),
            likelihood.average(draws[k], parameters, shares[k]),
            likelihood.sample(outputs, parameters, noise[k]),
            likelihood.fisher(outputs, parameters),
            likelihood.fisher_product(outputs, parameters, tangents[k]),
            *likelihood.closed_form_update(x, outputs, parameters, mask).values(),
            *likelihood.closed_form_update(x, outputs, parameters, None).values(),
        ]

    stacked = results(models.parameters)
    alone = [results(one.parameters, k) for k, one in enumerate(models.blocks)]
    for found, *expected in zip(stacked, *alone, strict=True):
        one_row = found.ndim > expected[0].ndim + 1  # a parameter has an axis for rows
        check_members(found[:, 0] if one_row else found, expected)


@over_likelihoods
@over_sizes
def test_gradients_of_a_stack_are_those_of_the_value(likelihood, n_models):
    models = Models(likelihood, n_models, n=2)
    names = list(models.parameters)

    def log_prob(outputs, *values):
        own = dict(zip(names, values, strict=True))
        return likelihood.log_prob(models.x, outputs, own, models.mask)

    leaves = [models.outputs, *models.parameters.values()]
    assert torch.autograd.gradcheck(log_prob, [one.clone().requires_grad_() for one in leaves])


@pytest.mark.parametrize("likelihood", [Ordinal(10_000), Categorical(10_000, max_outputs=3)])
def test_many_levels_are_not_copied_for_each_cell(likelihood):
    """Neither of one model nor of a stack, forwards and backwards: that would be 40 tables."""
    models = Models(likelihood, 2)
    stack = models.x, models.outputs, models.parameters, None
    alone = models.x[0], models.outputs[0], models.blocks[0].parameters, None
    for arguments, n_models in [(stack, 2), (alone, 1)]:
        table = 8 * n_models * N_COLUMNS * 9_998
        with torch.profiler.profile(profile_memory=True) as profile:
            log_prob_and_gradients(likelihood, *arguments)
        largest = max(event.cpu_memory_usage for event in profile.events())
        assert table <= largest < 6 * table


# A table of several families


def tables_of(likelihoods, n_models):
    """Tables with parameters of their own, and one that holds all of these."""
    tables = [ColumnLikelihoods(likelihoods).double() for _ in range(n_models + 1)]
    *members, stack = tables
    for k, table in enumerate(members):
        for i, parameter in enumerate(table.parameters()):
            parameter.data += 0.3 * normal(*parameter.shape, seed=10 * k + i)
    for i, own in enumerate(stack.parameter_dicts):
        for name, parameter in list(own.items()):
            values = torch.stack([one.parameter_dicts[i][name].detach() for one in members])
            own[name] = torch.nn.Parameter(values, requires_grad=parameter.requires_grad)
    return members, stack


def cells_of(members, outputs):
    """Draws of x by every table from its own outputs."""
    u = uniform(*outputs.shape[:2], members[0].n_columns)
    parts = zip(members, outputs, u, strict=True)
    return torch.stack([one.sample(given, at).detach() for one, given, at in parts])


@over_sizes
@pytest.mark.parametrize("training", [True, False])
def test_a_table_of_a_stack_is_that_of_its_members(n_models, training):
    """All families side by side, each with an axis for rows put in by the table alone."""
    likelihoods = list(INSTANCES.values()) * 2
    members, stack = tables_of(likelihoods, n_models)
    outputs = normal(n_models, N, stack.n_outputs)
    x, tangents = cells_of(members, outputs), normal(*outputs.shape, 2)
    mask = (uniform(*x.shape, seed=3) < 0.8).double()

    def results(table, k=slice(None)):
        table.train(training)
        log_prob = table.log_prob(x[k], outputs[k], mask[k])
        values = [p for p in table.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(log_prob.sum(), values, materialize_grads=True)
        means = table.mean(outputs[k])
        return [
            log_prob,
            table.log_prob(x[k], outputs[k]),
            table.mode(means),
            table.sample(outputs[k], uniform(*x.shape)[k]),
            table.fisher_product(outputs[k], tangents[k], mask[k]),
            *means,
            *gradients,
        ]

    for found, *alone in zip(
        results(stack), *(results(one, k) for k, one in enumerate(members)), strict=True
    ):
        check_members(found, alone)


@over_sizes
def test_what_a_table_of_a_stack_keeps_is_what_its_members_keep(n_models):
    """The optimal noise of each model, by its own rows; nothing else moves."""
    members, stack = tables_of(list(INSTANCES.values()), n_models)
    outputs = normal(n_models, N, stack.n_outputs)
    x = cells_of(members, outputs)
    before = [one.detach().clone() for one in stack.parameters()]
    stack.closed_form_update(x, outputs)
    for k, one in enumerate(members):
        one.closed_form_update(x[k], outputs[k])
    moved = 0
    for found, old, *alone in zip(
        stack.parameters(), before, *(one.parameters() for one in members), strict=True
    ):
        check_members(found.detach(), [one.detach() for one in alone])
        moved += not torch.equal(found, old)
    assert moved == len([one for one in stack._likelihoods if one.has_closed_form]) > 0


# Divergences

SOME_NUMBERS = [0.3, 1.0, 7.7]


def learned_side_by_side(divergence, n_models, dtype):
    """What each of the models has learned, and the same as the stack has it."""
    each = [random_parameters(divergence, d=4, seed=k) for k in range(n_models)]
    each = [{name: value.to(dtype) for name, value in one.items()} for one in each]
    return each, {name: torch.stack([one[name] for one in each]) for name in each[0]}


def value_and_gradients(divergence, means, log_variances, noise, further, learned):
    """D and its gradients by what the encoder returns; the critic's loss and its gradients."""
    leaves = [means.clone().requires_grad_(), log_variances.clone().requires_grad_()]
    value = evaluate(divergence, *leaves, noise, further, learned)
    found = [value, *torch.autograd.grad(value.sum(), leaves)]
    if learned:
        own = {name: one.clone().requires_grad_() for name, one in learned.items()}
        posterior = Posterior(means, log_variances)
        codes = Codes(posterior.rsample(noise), posterior, further, N_ROWS, own)
        loss = divergence.critic_loss(codes)
        found += [loss, *torch.autograd.grad(loss.sum(), list(own.values()))]
    return found


def check_stack_of_divergences(stack, members, dtype):
    """One divergence with all models' batches against one for each."""
    n_models = len(members)
    batch = [one.to(dtype) for one in inputs(members[0], n_models, 6, d=4)]
    each, learned = learned_side_by_side(members[0], n_models, dtype)
    stacked = value_and_gradients(stack, *batch, learned)
    alone = [
        value_and_gradients(one, *(part[k] for part in batch), each[k])
        for k, one in enumerate(members)
    ]
    assert stacked[0].dtype == dtype
    assert stacked[0].shape == (n_models,)
    for found, *expected in zip(stacked, *alone, strict=True):
        check_members(found, expected, tolerance=1e-4 if dtype == torch.float32 else 1e-11)


over_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@over_all
@over_sizes
@over_types
def test_divergences_of_a_stack_are_those_of_its_members(divergence, n_models, dtype):
    check_stack_of_divergences(divergence, [divergence] * n_models, dtype)


@over([one for one in EVERY if one.stackable])
@over_sizes
@over_types
def test_a_stackable_parameter_may_be_each_models_own(divergence, n_models, dtype):
    """A tensor of K numbers weighs the models as a number weighs each."""
    for name in divergence.stackable:
        numbers = SOME_NUMBERS[:n_models]
        stack = divergence.replaced({name: torch.tensor(numbers, dtype=dtype)})
        members = [divergence.replaced({name: number}) for number in numbers]
        check_stack_of_divergences(stack, members, dtype)


@over([one for one in EVERY if one.stackable and not learns(one)])
def test_numbers_of_models_lie_along_the_first_axis(divergence):
    """Of what lies between it and the rows each model has its own: z ``(K, 2, n, d)``."""
    batch = inputs(divergence, 3, 2, 6)
    for name in divergence.stackable:
        stack = divergence.replaced({name: torch.tensor(SOME_NUMBERS, dtype=torch.float64)})
        alone = [
            evaluate(divergence.replaced({name: one}), *(part[k] for part in batch), {})
            for k, one in enumerate(SOME_NUMBERS)
        ]
        check_members(evaluate(stack, *batch, {}), alone)


@over([one for one in EVERY if one.stackable])
def test_what_is_stackable_is_a_parameter_that_matters(divergence):
    """And of a batch of one row it says as little."""
    assert divergence.stackable <= divergence.get_params().keys()
    batch, one_row = inputs(divergence, 6), inputs(divergence, 3, 1)
    learned = random_parameters(divergence)
    for name in divergence.stackable:
        few, many = (
            value_and_gradients(divergence.replaced({name: one}), *batch, learned)
            for one in (0.3, 7.7)
        )
        assert not all(torch.allclose(one, other) for one, other in zip(few, many, strict=True))
        stack = divergence.replaced({name: torch.tensor(SOME_NUMBERS)})
        assert torch.equal(evaluate(stack, *one_row, learned), torch.zeros(3).double())
