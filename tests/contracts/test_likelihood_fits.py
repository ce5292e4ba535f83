"""Maximum likelihood of the constant model: what it learns, and where training starts.

The known optimum is a closed form, or SciPy's fit of the same distribution.
"""

import numpy as np
import pytest
import torch
from likelihood_blocks import (
    INSTANCES,
    N_COLUMNS,
    draw,
    learned,
    make_block,
    normal,
    over,
    uniform,
)
from scipy import optimize, stats

from sk_infovae.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)
from sk_infovae.likelihoods.poisson import Counts

START = {
    name: one
    for name, one in INSTANCES.items()
    if one.init_from_data(torch.ones(2, N_COLUMNS), None) is not None
}
over_starts = over(START)
# With an offset a column's start depends on the other cells of its rows: see test_row_offsets.py.
over_starts_by_column = over(
    {name: one for name, one in START.items() if getattr(one, "offset", None) is None}
)
over_levels = over({name: one for name, one in INSTANCES.items() if one.has_levels})
N = 500


def constant_fit(likelihood, x):
    """Outputs and parameters, the same for all rows, that maximise the likelihood of x.

    What is not learned is what training would start from.
    """
    n, n_columns = x.shape
    outputs = torch.zeros(likelihood.n_outputs(n_columns), dtype=torch.float64, requires_grad=True)
    parameters = {
        name: value.detach().double()
        for name, value in likelihood.init_parameters(n_columns).items()
    }
    start = likelihood.init_from_data(x, None)
    for name in parameters:
        if name in learned(likelihood):
            parameters[name].requires_grad_()
        elif start is not None:
            parameters[name] = start.parameters[name]
    optimizer = torch.optim.LBFGS(
        [outputs, *(value for value in parameters.values() if value.requires_grad)],
        max_iter=1000,
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


def mean_log_prob(likelihood, x, outputs, parameters, mask=None):
    return likelihood.log_prob(x, outputs.expand(len(x), -1), parameters, mask).mean().item()


def rows_of(likelihood, n=N):
    """Rows of which every column has its own constant model."""
    return draw(make_block(likelihood), n, seed=4)


def frequencies(x, n_levels):
    """Share of every level in each column, by NumPy."""
    counts = [np.bincount(column, minlength=n_levels) for column in x.numpy().astype(int).T]
    return torch.tensor(np.array(counts) / len(x))


# The optimum


def test_gaussian_learns_mean_and_variance():
    x = normal(200, N_COLUMNS) * torch.tensor([0.3, 1.0, 4.0]) + torch.tensor([0.0, -2.0, 5.0])
    learned = Gaussian("learned")
    outputs, parameters = constant_fit(learned, x)
    torch.testing.assert_close(outputs, x.mean(0), rtol=1e-6, atol=1e-6)
    variance = learned.noise_variance(parameters)
    torch.testing.assert_close(variance, x.var(0, correction=0), rtol=1e-5, atol=0)
    _, parameters = constant_fit(Gaussian(), x)  # one for all, until it is calibrated
    variance = Gaussian().noise_variance(parameters)
    torch.testing.assert_close(
        variance, x.var(0, correction=0).mean().expand(N_COLUMNS), rtol=1e-5, atol=0
    )


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


def test_student_t_learns_location_scale_and_degrees():
    likelihood = StudentT(floor=1e-9)
    x = rows_of(likelihood) * torch.tensor([0.3, 1.0, 4.0])
    outputs, parameters = constant_fit(likelihood, x)
    for j in range(N_COLUMNS):
        # From its default guess SciPy stops short of the optimum.
        near = 5, x[:, j].median().item(), x[:, j].std().item()
        degrees, location, scale = stats.t.fit(x[:, j].numpy(), near[0], loc=near[1], scale=near[2])
        v = likelihood.log_square_scale(parameters)[j].exp().item()
        assert likelihood.degrees(parameters)[j].item() == pytest.approx(degrees, rel=1e-2)
        assert outputs[j].item() == pytest.approx(location, abs=1e-3 * scale)
        assert v**0.5 == pytest.approx(scale, rel=2e-3)
        ours = stats.t.logpdf(x[:, j], likelihood.degrees(parameters)[j], outputs[j], v**0.5)
        assert ours.sum() >= stats.t.logpdf(x[:, j], degrees, location, scale).sum() - 1e-9


def test_lognormal_learns_mean_and_variance_of_the_logarithm():
    likelihood = LogNormal(floor=1e-9)
    x = rows_of(likelihood)
    outputs, parameters = constant_fit(likelihood, x)
    for j in range(N_COLUMNS):
        scale, _, median = stats.lognorm.fit(x[:, j].numpy(), floc=0)
        assert outputs[j].item() == pytest.approx(np.log(median), rel=1e-5)
        variance = likelihood.log_variance(parameters)[j].exp().item()
        assert variance == pytest.approx(scale**2, rel=1e-5)


def test_poisson_learns_the_log_of_the_mean():
    x = rows_of(Poisson())
    outputs, _ = constant_fit(Poisson(), x)
    torch.testing.assert_close(outputs, x.mean(0).log(), rtol=1e-7, atol=1e-7)


def test_negative_binomial_learns_mean_and_dispersion():
    x = rows_of(NegativeBinomial())
    outputs, parameters = constant_fit(NegativeBinomial(), x)
    torch.testing.assert_close(outputs, x.mean(0).log(), rtol=1e-6, atol=1e-6)
    for j in range(N_COLUMNS):
        mu, counts = x[:, j].mean().item(), x[:, j].numpy()

        def loss(log_r, mu=mu, counts=counts):
            r = np.exp(log_r)
            return -stats.nbinom.logpmf(counts, r, r / (r + mu)).sum()

        best = optimize.minimize_scalar(loss, bounds=(-4, 6), options={"xatol": 1e-9}).x
        assert parameters["log_dispersion"][j].item() == pytest.approx(best, abs=1e-5)


@over_levels
def test_levels_learn_their_frequencies(likelihood):
    """Every level of these rows came up, and the mean of a saturated model is what was seen."""
    x = rows_of(likelihood, 3000)
    expected = frequencies(x, likelihood.n_levels)
    assert (expected > 0).all()
    outputs, parameters = constant_fit(likelihood, x)
    mean = likelihood.mean(outputs[None], parameters)[0].unflatten(0, (N_COLUMNS, -1))
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-6)


# The start


@over_starts
def test_start_has_the_form_of_what_is_learned(likelihood):
    x = rows_of(likelihood).float()
    start, parameters = likelihood.init_from_data(x, None), likelihood.init_parameters(N_COLUMNS)
    assert start.outputs.shape == (likelihood.n_outputs(N_COLUMNS),)
    assert start.parameters.keys() == parameters.keys()
    for name, value in start.parameters.items():
        assert value.shape == parameters[name].shape
    for value in (start.outputs, *start.parameters.values()):
        assert value.dtype == torch.float32
        assert not value.requires_grad


@over_starts_by_column
def test_start_is_about_the_optimum(likelihood):
    """In nats a row; the moments of a negative binomial say less than its likelihood."""
    x = rows_of(likelihood, 3000)
    best = mean_log_prob(likelihood, x, *constant_fit(likelihood, x))
    lacking = best - mean_log_prob(likelihood, x, *likelihood.init_from_data(x, None))
    exact = isinstance(likelihood, LogNormal | Poisson)
    tolerance = 1e-9 if exact else 0.01 if isinstance(likelihood, NegativeBinomial) else 1e-4
    assert -1e-9 < lacking < tolerance


@over_starts_by_column
def test_start_is_that_of_the_observed_cells(likelihood):
    x = rows_of(likelihood)
    mask = (uniform(N, N_COLUMNS, seed=8) < 0.5).double()
    filled = torch.where(mask > 0, x, torch.tensor(0.3).double())
    start = likelihood.init_from_data(filled, mask)
    for j in range(N_COLUMNS):
        seen = x[mask[:, j] > 0, j : j + 1]
        alone = likelihood.init_from_data(seen, None)
        own = start.outputs.unflatten(0, (N_COLUMNS, -1))[j]
        torch.testing.assert_close(own, alone.outputs, rtol=1e-9, atol=1e-9)
        for name, value in alone.parameters.items():
            torch.testing.assert_close(start.parameters[name][j], value[0], rtol=1e-9, atol=1e-9)


@over_starts
@pytest.mark.parametrize("observed", [0.0, 1.0])
@pytest.mark.parametrize("value", [0.0, 1.0, 3.0, 1e6])
def test_start_is_finite_without_spread_or_without_cells(likelihood, observed, value):
    """Also for levels that did not come up."""
    x = torch.full((3, N_COLUMNS), value)
    if not likelihood.in_support(x).all():
        return
    start = likelihood.init_from_data(x, torch.full_like(x, observed))
    for result in (start.outputs, *start.parameters.values()):
        assert result.isfinite().all()
    other = rows_of(likelihood).float()
    assert np.isfinite(mean_log_prob(likelihood, other, *start))
    assert np.isfinite(mean_log_prob(likelihood, x, *start))


def test_lognormal_starts_at_mean_and_variance_of_the_logarithm():
    likelihood = LogNormal(floor=0.01)
    x = rows_of(likelihood)
    x[:, 2] = 5.0
    start = likelihood.init_from_data(x, None)
    torch.testing.assert_close(start.outputs, x.log().mean(0))
    variance = likelihood.log_variance(start.parameters).exp()
    expected = x.log().var(0, correction=0).clamp(min=0.01)
    torch.testing.assert_close(variance, expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("likelihood", [Poisson(), NegativeBinomial()])
def test_counts_start_at_the_log_of_their_mean(likelihood):
    """Half a count stands for none, spread over the rows."""
    assert isinstance(likelihood, Counts)
    x = torch.tensor([[0.0, 1.0, 0.0], [0.0, 4.0, 1.0], [0.0, 7.0, 0.0], [0.0, 0.0, 0.0]])
    outputs = likelihood.init_from_data(x, None).outputs
    torch.testing.assert_close(outputs.exp(), torch.tensor([0.125, 3.0, 0.25]))


def test_negative_binomial_starts_at_the_moments():
    """Variance mu + mu^2 / r; where it is no more than mu, near Poisson."""
    x = torch.tensor([[0.0, 9.0, 2.0], [4.0, 0.0, 2.0], [20.0, 0.0, 3.0], [0.0, 3.0, 2.0]]).double()
    mean, variance = x.mean(0), x.var(0, correction=0)
    start = NegativeBinomial().init_from_data(x, None)
    r = start.parameters["log_dispersion"].exp()
    torch.testing.assert_close((mean + mean**2 / r)[:2], variance[:2])
    assert r[2].item() == pytest.approx(np.exp(5))


@over_levels
def test_levels_start_with_half_an_observation_added_to_each_output(likelihood):
    """To each level of an ordinal column; a rare level of a capped one counts once at least."""
    x = rows_of(likelihood, 40)
    counts = 40 * frequencies(x, likelihood.n_levels)
    if isinstance(likelihood, Ordinal):
        expected = (counts + 0.5) / (counts + 0.5).sum(-1, keepdim=True)
    else:
        frequent = min(likelihood.n_levels, likelihood.max_outputs) - 1
        rare = counts[:, frequent:]
        outputs = torch.cat([counts[:, :frequent], rare.sum(-1, keepdim=True)], -1) + 0.5
        outputs = outputs / outputs.sum(-1, keepdim=True)
        share = rare.clamp(min=1) / rare.clamp(min=1).sum(-1, keepdim=True)
        share = torch.ones(N_COLUMNS, 1) if rare.shape[1] == 1 else share
        expected = torch.cat([outputs[:, :-1], outputs[:, -1:] * share], -1)
    start = likelihood.init_from_data(x, None)
    mean = likelihood.mean(start.outputs[None], start.parameters)[0].unflatten(0, (N_COLUMNS, -1))
    torch.testing.assert_close(mean, expected, rtol=1e-9, atol=1e-12)


def test_shares_of_rare_levels_are_those_of_the_rows():
    x = torch.tensor([0.0] * 6 + [1.0] * 4 + [2.0] * 3 + [3.0] * 1)[:, None].double()
    start = Categorical(5, max_outputs=2).init_from_data(x, None)
    torch.testing.assert_close(
        start.parameters["log_share"].exp(), torch.tensor([[4.0, 3.0, 1.0, 1.0]]).double() / 9
    )


def test_an_ordinal_start_is_at_output_0():
    """So that the decoder's bias and the cuts do not say the same twice."""
    start = Ordinal(4).init_from_data(rows_of(Ordinal(4)), None)
    assert (start.outputs == 0).all()


def test_before_a_start_all_levels_are_equally_probable():
    """At output 0 those of an ordinal column; the rare ones of a categorical one."""
    for likelihood, n_equal in [(Ordinal(5), 5), (Categorical(12, max_outputs=4), 9)]:
        outputs = torch.zeros(1, likelihood.n_outputs(N_COLUMNS))
        mean = likelihood.mean(outputs, likelihood.init_parameters(N_COLUMNS))
        equal = mean.unflatten(-1, (N_COLUMNS, -1))[..., -n_equal:]
        torch.testing.assert_close(equal, equal[..., :1].expand_as(equal))
