"""A table of mixed columns: blocks of equal likelihoods, in whatever order the columns stand."""

import pytest
import torch
from torch.func import functional_call, vmap

from sk_infovae.likelihoods import (
    Bernoulli,
    Categorical,
    ColumnLikelihoods,
    Gaussian,
    Ordinal,
)

ORDERS = {
    "interleaved": [
        Gaussian("learned"),
        Bernoulli(),
        Gaussian("learned", floor=0.1),
        Gaussian("learned"),
        Bernoulli(),
        Gaussian("learned", floor=0.1),
    ],
    "grouped": [Bernoulli(), Bernoulli(), Gaussian("learned")],
    "one block": [Gaussian("learned")] * 3,
    "one column": [Bernoulli()],
}
over_orders = pytest.mark.parametrize("likelihoods", ORDERS.values(), ids=ORDERS)
N = 7


def make_table(likelihoods, seed=0):
    """Columns with parameters of their own, and cells, outputs, mask and uniforms for N rows."""
    generator = torch.Generator().manual_seed(seed)
    table = ColumnLikelihoods(likelihoods).double()
    for parameter in table.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    x, outputs, mask, uniform = torch.rand(
        (4, N, len(likelihoods)), generator=generator, dtype=torch.float64
    )
    x = torch.where(torch.tensor([one == Bernoulli() for one in likelihoods]), x.round(), x)
    return table, x, 3 * outputs - 1.5, (mask < 0.6).double(), uniform


def singles(table):
    """For each column of the table: its likelihood, its output's position, its parameters."""
    found = {}
    for block in table.blocks():
        positions = range(table.n_outputs)[block.outputs]
        for k, (column, position) in enumerate(zip(block.columns.tolist(), positions, strict=True)):
            own = {name: value[k : k + 1].detach() for name, value in block.parameters.items()}
            found[column] = block.likelihood, position, own
    return [found[column] for column in range(len(found))]


def column_by_column(table, method, outputs, *cells):
    """Call a method of each single-column likelihood, and put the results side by side."""
    parts = [
        getattr(likelihood, method)(
            outputs[:, position, None], own, *(cell[:, column, None] for cell in cells)
        )
        for column, (likelihood, position, own) in enumerate(singles(table))
    ]
    return torch.cat(parts, -1)


@over_orders
def test_every_column_has_its_likelihood_and_one_output(likelihoods):
    table, *_ = make_table(likelihoods)
    assert [one for one, _, _ in singles(table)] == likelihoods
    assert sorted(position for _, position, _ in singles(table)) == list(range(table.n_outputs))


def test_equal_likelihoods_share_a_block():
    table = ColumnLikelihoods(ORDERS["interleaved"])
    assert [block.columns.tolist() for block in table.blocks()] == [[0, 3], [1, 4], [2, 5]]


@over_orders
@pytest.mark.parametrize("masked", [False, True])
def test_log_prob_is_the_sum_over_single_columns(likelihoods, masked):
    table, x, outputs, mask, _ = make_table(likelihoods)
    expected = torch.zeros(N).double()
    for column, (likelihood, position, own) in enumerate(singles(table)):
        cell = x[:, column, None], outputs[:, position, None], own
        part = likelihood.log_prob(*cell, None)
        expected += part * mask[:, column] if masked else part
    found = table.log_prob(x, outputs, mask if masked else None)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@over_orders
def test_log_prob_broadcasts_rows_over_draws(likelihoods):
    """As the score needs it: x (n, 1, columns) against outputs (n, draws, outputs)."""
    table, x, outputs, mask, _ = make_table(likelihoods)
    many = torch.stack([outputs, outputs.flip(0), 2 * outputs], 1)
    found = table.log_prob(x[:, None], many, mask[:, None])
    assert found.shape == (N, 3)
    for k in range(3):
        expected = table.log_prob(x, many[:, k], mask)
        torch.testing.assert_close(found[:, k], expected, rtol=1e-12, atol=1e-12)


@over_orders
def test_mean_comes_back_in_the_order_of_the_table(likelihoods):
    table, _, outputs, _, _ = make_table(likelihoods)
    expected = column_by_column(table, "mean", outputs)
    torch.testing.assert_close(table.mode(table.mean(outputs)), expected)


def test_what_a_draw_of_z_takes():
    """Outputs; where means are averaged one by one, those too: of a capped column they are not."""
    capped, ordered = Categorical(1000, max_outputs=7), Ordinal(50)
    assert ColumnLikelihoods([capped, capped, Bernoulli()]).widest == 2 * 7 + 1
    assert ColumnLikelihoods([ordered, ordered, Gaussian()]).widest == 2 * 50 + 1


@over_orders
def test_draws_come_back_in_the_order_of_the_table(likelihoods):
    table, _, outputs, _, uniform = make_table(likelihoods)
    expected = column_by_column(table, "sample", outputs, uniform)
    torch.testing.assert_close(table.sample(outputs, uniform), expected)


@over_orders
def test_noise_variance_stands_at_its_column_and_nan_at_others(likelihoods):
    table, *_ = make_table(likelihoods)
    expected = torch.full((len(likelihoods),), torch.nan, dtype=torch.float64)
    for column, (likelihood, _, own) in enumerate(singles(table)):
        if isinstance(likelihood, Gaussian):
            rho = own["log_variance"][0]
            expected[column] = likelihood.floor + rho.exp()
    found = table.noise_variance()
    torch.testing.assert_close(found, expected, equal_nan=True, check_dtype=False)


@over_orders
@pytest.mark.parametrize("masked", [False, True])
def test_fisher_stands_at_its_output_and_is_zero_where_missing(likelihoods, masked):
    """In the order of the outputs, as J' F J needs it.

    Both families have a curvature about the output that does not depend on x, so that the
    Fisher information is minus the second derivative of log p at any x.
    """
    table, x, outputs, mask, _ = make_table(likelihoods)
    mask = mask if masked else None
    outputs.requires_grad_()
    (slope,) = torch.autograd.grad(
        table.log_prob(x, outputs, mask).sum(), outputs, create_graph=True
    )
    expected = [
        -torch.autograd.grad(slope[:, k].sum(), outputs, retain_graph=True)[0][:, k]
        for k in range(table.n_outputs)
    ]
    outputs = outputs.detach()
    tangents = torch.randn(*outputs.shape, 3, dtype=torch.float64)
    found = table.fisher_product(outputs, tangents, mask)
    expected = torch.stack(expected, -1)[..., None] * tangents
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@over_orders
def test_missing_cells_get_no_gradient(likelihoods):
    table, x, outputs, mask, _ = make_table(likelihoods)
    outputs.requires_grad_()
    (gradient,) = torch.autograd.grad(table.log_prob(x, outputs, mask).sum(), outputs)
    for column, (_, position, _) in enumerate(singles(table)):
        missing = mask[:, column] == 0
        assert torch.equal(gradient[missing, position], torch.zeros(int(missing.sum())).double())
        assert (gradient[~missing, position] != 0).all()


@over_orders
def test_vmap_over_models_gives_what_a_loop_gives(likelihoods):
    """Log-probability, mean and draws of several tables of the same columns at once."""
    tables, xs, outputs, masks, uniforms = zip(
        *(make_table(likelihoods, seed) for seed in range(3)), strict=True
    )
    names = [name for name, _ in tables[0].named_parameters()]
    parameters = {
        name: torch.stack([dict(t.named_parameters())[name] for t in tables]) for name in names
    }
    stacked = [torch.stack(part) for part in (xs, outputs, masks, uniforms)]

    class Results(torch.nn.Module):
        def __init__(self, table):
            super().__init__()
            self.table = table

        def forward(self, x, outputs, mask, uniform):
            table = self.table
            return (
                table.log_prob(x, outputs, mask),
                table.mode(table.mean(outputs)),
                table.sample(outputs, uniform),
                table.fisher_product(outputs, outputs[..., None], mask),
            )

    results = Results(tables[0])

    def call(parameters, *cells):
        own = {f"table.{name}": value for name, value in parameters.items()}
        return functional_call(results, own, cells)

    mapped = vmap(call)(parameters, *stacked)
    for k, table in enumerate(tables):
        alone = Results(table)(xs[k], outputs[k], masks[k], uniforms[k])
        torch.testing.assert_close(tuple(part[k] for part in mapped), alone)
