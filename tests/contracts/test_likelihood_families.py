"""What holds for one family: SciPy's densities, limits, bounds and messages."""

import math

import numpy as np
import pytest
import torch
from likelihood_blocks import N_COLUMNS, draw, make_block, normal, over_likelihoods, uniform
from scipy import sparse, stats
from torch.func import grad

from sk_infovae._model.domain import check_values
from sk_infovae.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    Likelihood,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)
from sk_infovae.likelihoods.numerics import log_gamma_ratio, where_positive


def one_column(likelihood, values, output, parameters):
    """log p of each value (n,) in one column, with these outputs and parameters by name."""
    x = torch.as_tensor(values, dtype=torch.float64)[:, None]
    outputs = torch.as_tensor(output, dtype=torch.float64).reshape(1, -1).expand(len(x), -1)
    return likelihood.log_prob(x, outputs, only(**parameters), None).numpy()


def only(**parameters):
    """Parameters of one column."""
    return {name: torch.tensor([value]).double() for name, value in parameters.items()}


# SciPy's densities

REALS = np.array([-40.0, -3.0, -0.2, 0.0, 0.7, 5.0, 1e4])
COUNTS = np.array([0.0, 1.0, 2.0, 7.0, 60.0, 1e3, 1e5])


@pytest.mark.parametrize("log_degrees", [-3.0, 0.0, 2.0, 12.0])
@pytest.mark.parametrize("log_v", [-4.0, 0.0, 3.0])
def test_student_t_is_scipys(log_degrees, log_v):
    parameters = {"log_square_scale": log_v, "log_degrees": log_degrees}
    scale = np.sqrt(1e-4 + np.exp(log_v))
    expected = stats.t.logpdf(REALS, 1 + np.exp(log_degrees), 0.3, scale)
    found = one_column(StudentT(), REALS, 0.3, parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("log_variance", [-4.0, 0.0, 3.0])
def test_lognormal_is_scipys(log_variance):
    x = np.array([1e-6, 0.2, 1.0, 3.0, 1e5])
    scale = np.sqrt(1e-4 + np.exp(log_variance))
    expected = stats.lognorm.logpdf(x, scale, scale=np.exp(0.3))
    found = one_column(LogNormal(), x, 0.3, {"log_variance": log_variance})
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("log_rate", [-5.0, 0.0, 3.0, 11.0])
def test_poisson_is_scipys(log_rate):
    expected = stats.poisson.logpmf(COUNTS, np.exp(log_rate))
    found = one_column(Poisson(), COUNTS, log_rate, {})
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("log_mean", [-5.0, 0.0, 3.0, 11.0])
@pytest.mark.parametrize("log_r", [-5.0, 0.0, 4.0, 9.0])
def test_negative_binomial_is_scipys(log_mean, log_r):
    mu, r = np.exp(log_mean), np.exp(log_r)
    expected = stats.nbinom.logpmf(COUNTS, r, r / (r + mu))
    found = one_column(NegativeBinomial(), COUNTS, log_mean, {"log_dispersion": log_r})
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("log_r", [-10.0, -2.0, 0.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("x", [0.0, 0.5, 1.0, 4.0, 1e2, 1e6])
def test_log_gamma_ratio_is_exact(log_r, x):
    """Against arithmetic with 50 digits, in float64 and float32."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        r = mpmath.mpf(float(np.exp(log_r)))
        exact = mpmath.loggamma(r + x) - mpmath.loggamma(r) - x * mpmath.log(r)
        slope = mpmath.digamma(r + x) - mpmath.digamma(r) - x / r
        exact, slope = float(exact), float(slope)
    value = torch.tensor(np.exp(log_r), dtype=torch.float64, requires_grad=True)
    found = log_gamma_ratio(torch.tensor(x).double(), value)
    (gradient,) = torch.autograd.grad(found, value)
    assert found.item() == pytest.approx(exact, rel=1e-9, abs=1e-10)
    assert gradient.item() == pytest.approx(slope, rel=1e-7, abs=1e-11)
    short = log_gamma_ratio(torch.tensor(x), torch.tensor(np.exp(log_r)).float())
    assert short.item() == pytest.approx(exact, rel=3e-6, abs=3e-6 * (1 + x))


# Limits


def test_negative_binomial_tends_to_poisson():
    """Smoothly: the difference in log p falls like 1 / r, down to the end of what r can be."""
    counts = torch.arange(12.0).double()
    poisson = one_column(Poisson(), counts, 1.2, {})
    gaps = [
        np.abs(one_column(NegativeBinomial(), counts, 1.2, {"log_dispersion": s}) - poisson).max()
        for s in (6.0, 9.0, 12.0, 20.0, 40.0)
    ]
    ratios = np.array(gaps[1:3]) / np.array(gaps[:2])
    np.testing.assert_allclose(ratios, np.exp(-3.0), rtol=0.05)
    assert max(gaps[3:]) < 1e-6


def test_student_t_tends_to_normal():
    x = np.linspace(-6, 6, 13)
    parameters = {"log_square_scale": 0.4, "log_degrees": 30.0}
    expected = stats.norm.logpdf(x, 0.5, np.sqrt(1e-4 + np.exp(0.4)))
    np.testing.assert_allclose(one_column(StudentT(), x, 0.5, parameters), expected, atol=1e-6)


def test_float32_agrees_with_float64():
    """Also for large counts and a dispersion that is hardly seen."""
    for likelihood, parameters, size in [
        (NegativeBinomial(), {"log_dispersion": torch.tensor([15.0])}, 300.0),
        (NegativeBinomial(), {"log_dispersion": torch.tensor([-2.0])}, 300.0),
        (Poisson(), {}, 300.0),
        (
            StudentT(),
            {key: torch.tensor([9.0]) for key in ("log_square_scale", "log_degrees")},
            2.0,
        ),
    ]:
        x = torch.tensor([[0.0], [1.0], [size]])
        outputs = torch.full((3, 1), np.log(size))
        short = likelihood.log_prob(x, outputs, parameters, None)
        doubled = {name: value.double() for name, value in parameters.items()}
        exact = likelihood.log_prob(x.double(), outputs.double(), doubled, None)
        torch.testing.assert_close(short.double(), exact, rtol=1e-5, atol=2e-3)


# Student's t


def test_student_t_has_a_mean_always_and_a_variance_above_two_degrees():
    log_degrees = torch.tensor([-100.0, -1.0, 0.0, 1.0, 100.0]).double()
    parameters = {"log_square_scale": torch.zeros(5).double(), "log_degrees": log_degrees}
    degrees = StudentT().degrees(parameters)
    assert (degrees > 1).all()
    variance = StudentT(floor=1e-9).noise_variance(parameters)
    assert variance[:3].isinf().all()
    torch.testing.assert_close(variance[3:], (degrees / (degrees - 2))[3:])


def test_far_values_pull_a_students_t_less():
    parameters = only(log_square_scale=0.0, log_degrees=1.0)
    outputs = torch.zeros(1, 1).double()

    def pull(value):
        x = torch.full_like(outputs, value)
        return grad(lambda o: StudentT().log_prob(x, o, parameters, None).sum())(outputs).item()

    assert 0 < pull(50.0) < pull(2.0) / 5


# What a table does with a column


@over_likelihoods
def test_only_what_takes_every_number_is_measured_in_standard_deviations(likelihood):
    """Positive numbers, counts and levels keep their own units: centred, they would be refused."""
    numbers = torch.tensor([-1e6, -1.5, -1.0, 0.0, 0.3, 1.0, 2.0, 1e6]).double()
    takes_all = likelihood.in_fit_domain(numbers).all() and likelihood.in_support(numbers).all()
    assert takes_all or not likelihood.standardised
    assert not (likelihood.standardised and likelihood.scales_features)


@over_likelihoods
def test_levels_are_codes_from_0_on(likelihood):
    """A family that says it has levels allows as many codes, and has a probability for each."""
    if not likelihood.has_levels:
        assert not likelihood.is_ordered
        return
    codes = torch.arange(-1, likelihood.n_levels + 1).double()
    assert likelihood.in_support(codes).tolist() == [False, *[True] * likelihood.n_levels, False]
    assert len(make_block(likelihood).mean()[0]) == likelihood.n_levels


# Positive numbers and counts


def test_log_outputs_count_as_80_at_most():
    """Rates and means stay finite in float32; beyond 80 a rate has no gradient."""
    outputs = torch.tensor([[79.0, 81.0, 1e3]])
    for likelihood in (Poisson(), NegativeBinomial(), LogNormal(floor=1e-9)):
        parameters = {
            name: value - 30 for name, value in likelihood.init_parameters(N_COLUMNS).items()
        }
        mean = likelihood.mean(outputs, parameters).log()
        torch.testing.assert_close(mean, torch.tensor([[79.0, 80.0, 80.0]]))
    x = torch.ones(1, N_COLUMNS)
    slope = grad(lambda o: Poisson().log_prob(x, o, {}, None).sum())(outputs)
    assert slope[0, 0] < -1e30
    assert (slope[0, 1:] == 0).all()


def test_lognormal_draws_stay_positive_and_finite():
    parameters = {"log_variance": torch.zeros(N_COLUMNS)}
    outputs = torch.tensor([[-1e3, 0.0, 1e3]])
    x = LogNormal().sample(outputs, parameters, torch.full((1, N_COLUMNS), 0.5))
    assert ((x > 0) & x.isfinite()).all()


def test_lognormal_of_a_cell_that_float32_rounds_to_0_is_finite():
    x = torch.zeros(1, N_COLUMNS)
    log_prob = LogNormal().log_prob(x, x, LogNormal().init_parameters(N_COLUMNS), None)
    assert log_prob.isfinite().all()


def test_what_the_encoder_is_shown():
    """Logarithms of positive numbers and counts; finite for whatever fills a missing cell."""
    x = torch.tensor([-2.5, 0.0, 0.3, 1.0, 9.0])
    torch.testing.assert_close(LogNormal().features(x)[2:], x[2:].log())
    for counts in (Poisson(), NegativeBinomial()):
        torch.testing.assert_close(counts.features(x)[1:], (1 + x[1:]).log())
    for likelihood in (LogNormal(), Poisson(), NegativeBinomial()):
        assert likelihood.scales_features
        assert likelihood.features(x).isfinite().all()
    for likelihood in (Gaussian(), StudentT(), Bernoulli(), Ordinal(3), Categorical(3)):
        assert torch.equal(likelihood.features(x), x)


@pytest.mark.parametrize("log_mean", [-20.0, 0.0, 5.0, 14.0, 30.0, 1e3])
def test_draws_of_counts_are_scipys_quantiles_and_finite(log_mean):
    """SciPy's own fail for a large mean; draws end at 2^53 - 1."""
    u = uniform(50, 1)
    outputs = torch.full((50, 1), log_mean).double()
    x = Poisson().sample(outputs, {}, u)[:, 0].numpy()
    y = NegativeBinomial().sample(outputs, only(log_dispersion=0.7), u)[:, 0].numpy()
    assert x.max() <= 2.0**53 - 1
    assert y.max() <= 2.0**53 - 1
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    if log_mean < 20:
        r, mu = np.exp(0.7), np.exp(log_mean)
        np.testing.assert_array_equal(x, stats.poisson.ppf(u[:, 0], mu))
        np.testing.assert_array_equal(y, stats.nbinom.ppf(u[:, 0], r, r / (r + mu)))


@pytest.mark.parametrize("cls", [Gaussian, StudentT, LogNormal])
@pytest.mark.parametrize("floor", [0.0, -1.0, float("inf"), float("nan")])
def test_floor_must_be_positive_and_finite(cls, floor):
    with pytest.raises(ValueError, match=rf"{cls.__name__}.*positive and finite.*{floor!r}.*1e-4"):
        cls(floor=floor).init_parameters(2)


@pytest.mark.parametrize("cls", [Gaussian, StudentT, LogNormal])
def test_noise_does_not_fall_below_the_floor(cls):
    """Squared scales, as the Fisher information has them, at a parameter far below."""
    for floor in (0.5, 1e-3):
        likelihood = cls(floor=floor)
        fixed = {"log_degrees": torch.tensor([30.0])}
        parameters = {
            name: fixed.get(name, value - 40)
            for name, value in likelihood.init_parameters(1).items()
        }
        information = likelihood.fisher(torch.zeros(1, 1), parameters)
        assert information.item() == pytest.approx(1 / floor, rel=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "name"),
    [(NegativeBinomial(), "log_dispersion"), (StudentT(), "log_degrees")],
)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_shape_far_beyond_20_counts_as_20(likelihood, name, sign):
    """Finite in float32, where e^100 is not."""
    x, u = torch.tensor([[0.0, 1.0, 50.0]]), torch.full((1, N_COLUMNS), 0.3)
    near, far = (
        likelihood.init_parameters(N_COLUMNS) | {name: torch.full((N_COLUMNS,), sign * size)}
        for size in (20.0, 100.0)
    )
    for function in (
        lambda parameters: likelihood.log_prob(x, 0.1 * x, parameters, None),
        lambda parameters: likelihood.sample(0.1 * x, parameters, u),
        lambda parameters: likelihood.fisher(0.1 * x, parameters),
    ):
        assert function(far).isfinite().all()
        assert torch.equal(function(far), function(near))


# Levels


@pytest.mark.parametrize("cls", [Categorical, Ordinal])
def test_bind_makes_a_copy_for_so_many_levels(cls):
    one = cls()
    bound = one.bind(3)
    assert one.n_levels is None
    assert type(bound) is cls
    assert bound == cls(3)
    assert bound.has_levels
    assert bound.bind(5) == cls(5)
    assert bound.is_ordered == (cls is Ordinal)


def test_bind_keeps_the_other_parameters():
    assert Categorical(max_outputs=7).bind(30) == Categorical(30, max_outputs=7)
    assert Gaussian(0.5).bind(3) == Gaussian(0.5)


@pytest.mark.parametrize("likelihood", [Categorical(), Ordinal(), Categorical(0), Ordinal(0)])
def test_levels_must_be_known(likelihood):
    with pytest.raises(ValueError, match=r"n_levels must be 1 or more.*bind"):
        likelihood.init_parameters(2)


@pytest.mark.parametrize("max_outputs", [0, -1])
def test_max_outputs_must_be_positive(max_outputs):
    with pytest.raises(ValueError, match=rf"max_outputs of 1 or more, got {max_outputs}"):
        Categorical(3, max_outputs=max_outputs).n_outputs(1)


@pytest.mark.parametrize("cls", [Categorical, Ordinal])
def test_only_codes_of_levels_are_allowed(cls):
    values = torch.tensor([-1.0, 0.0, 0.5, 2.0, 3.0, float("nan")])
    assert cls(3).in_support(values).tolist() == [False, True, False, True, False, False]
    assert cls().in_support(values).tolist() == [False, True, False, True, True, False]
    with pytest.raises(ValueError, match=r"'size'.*less than n_levels.*got 3"):
        check_values(np.array([[0.0, 1.0], [2.0, 3.0]]), [cls(3)] * 2, ["age", "size"])


@pytest.mark.parametrize("scored", [False, True])
def test_0_is_not_positive(scored):
    with pytest.raises(ValueError, match=r"'size'.*be positive; got 0"):
        check_values(np.array([[3.0, 0.0]]), [LogNormal()] * 2, ["age", "size"], scored=scored)


@pytest.mark.parametrize("likelihood", [Poisson(), NegativeBinomial()])
@pytest.mark.parametrize("scored", [False, True])
def test_grey_values_are_no_counts(likelihood, scored):
    for bad in (0.5, -2.0):
        with pytest.raises(ValueError, match=rf"'size'.*whole numbers of at least 0.*got {bad:g}"):
            check_values(np.array([[3.0, bad]]), [likelihood] * 2, ["age", "size"], scored=scored)


def test_a_capped_categorical_has_as_many_outputs_as_it_may():
    assert Categorical(12, max_outputs=4).n_outputs(2) == 8
    assert Categorical(4, max_outputs=4).n_outputs(2) == 8
    assert Categorical(3).n_outputs(2) == 6
    assert Categorical().max_outputs == 256
    shares = Categorical(12, max_outputs=4).init_parameters(2)["log_share"]
    assert shares.shape == (2, 9)
    assert not shares.requires_grad
    assert Categorical(4, max_outputs=4).init_parameters(2) == {}


def test_the_last_output_is_shared_out_among_the_rare_levels():
    """Nine levels at .5 / 9 each: the level decided on is the one with .3."""
    likelihood = Categorical(11, max_outputs=3)
    outputs = torch.tensor([[0.2, 0.3, 0.5]]).log()
    parameters = likelihood.init_parameters(1)
    mean = likelihood.mean(outputs, parameters)
    torch.testing.assert_close(mean, torch.tensor([[0.2, 0.3] + [0.5 / 9] * 9]))
    assert likelihood.mode(mean).tolist() == [[1.0]]
    codes = torch.arange(11.0)[:, None]
    probability = likelihood.log_prob(codes, outputs.expand(11, -1), parameters, None).exp()
    torch.testing.assert_close(probability, mean[0])


def test_one_uniform_draws_exactly_from_many_rare_levels():
    """The share of (0, 1) that a level takes is its probability."""
    likelihood = Categorical(2000, max_outputs=3)
    log_share = normal(1, 1998).log_softmax(-1)
    outputs = torch.tensor([[0.1, 0.2, 0.7]]).double().log()
    u = (torch.arange(100_000).double()[:, None] + 0.5) / 100_000
    x = likelihood.sample(outputs.expand(len(u), -1), {"log_share": log_share}, u)[:, 0]
    counts = torch.bincount(x.long(), minlength=2000)
    expected = 100_000 * likelihood.mean(outputs, {"log_share": log_share})[0]
    assert ((counts - expected).abs() <= 1 + 1e-6).all()
    assert (x.diff() >= 0).all()


def test_two_ordered_levels_are_a_logistic_regression():
    likelihood = Ordinal(2)
    block = make_block(likelihood)
    log_odds = block.outputs - block.parameters["cuts"][:, 0]
    x = draw(block, 20)
    expected = Bernoulli().log_prob(x, log_odds.expand(20, -1), {}, None)
    found = likelihood.log_prob(x, block.rows(20), block.parameters, None)
    torch.testing.assert_close(found, expected)
    fisher = Bernoulli().fisher(log_odds[None], {})
    torch.testing.assert_close(likelihood.fisher(block.outputs[None], block.parameters), fisher)


def test_ordinal_odds_are_proportional():
    """log odds of x <= k fall by as much as the output rises, for every k: P = sigmoid(c - o)."""
    likelihood = Ordinal(5)
    parameters = make_block(likelihood).parameters
    outputs = torch.tensor([[0.0], [0.7], [-2.0]]).double().expand(-1, N_COLUMNS)
    p = likelihood.mean(outputs, parameters).unflatten(-1, (N_COLUMNS, -1))
    log_odds = torch.logit(p.cumsum(-1)[..., :-1])
    torch.testing.assert_close(log_odds - log_odds[0], -outputs[..., None].expand_as(log_odds))
    assert (log_odds.diff(dim=-1) > 0).all()


def test_a_rare_level_between_two_cuts_keeps_its_probability_in_float32():
    """Two cuts that are equal in float32 still have a level between them."""
    parameters = {"cuts": torch.tensor([[2.0, -40.0]])}
    log_prob = Ordinal(3).log_prob(torch.ones(1, 1), torch.zeros(1, 1), parameters, None)
    expected = -40 + np.log(1 / (1 + np.exp(2)) / (1 + np.exp(-2)))
    assert log_prob.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cls", [Categorical, Ordinal])
def test_a_single_level_is_certain(cls):
    block = make_block(cls(1))
    assert (draw(block, 10) == 0).all()
    log_prob = cls(1).log_prob(torch.zeros(4, N_COLUMNS), block.rows(4), block.parameters, None)
    assert (log_prob == 0).all()
    assert (block.mean() == 1).all()


# Users' own families, and grey values


class Laplace(Likelihood):
    """No more than a family must say."""

    standardised = True

    def n_outputs(self, n_columns):
        return 2 * n_columns

    def log_prob(self, x, outputs, parameters, mask):
        centre, log_scale = outputs.unflatten(-1, (-1, 2)).unbind(-1)
        cells = -(x - centre).abs() * torch.exp(-log_scale) - log_scale - np.log(2)
        return (cells if mask is None else cells * mask).sum(-1)

    def mean(self, outputs, parameters):
        return outputs[..., ::2]

    def sample(self, outputs, parameters, uniform):
        centre, log_scale = outputs.unflatten(-1, (-1, 2)).unbind(-1)
        tail = torch.log(2 * torch.minimum(uniform, 1 - uniform))
        return centre + log_scale.exp() * tail * torch.sign(0.5 - uniform)


def test_a_family_without_fisher_has_an_estimate():
    """Two outputs a column: 1 / b^2 for the centre, 1 for the logarithm of the scale b."""
    outputs = normal(5, 2 * N_COLUMNS)
    expected = torch.ones(5, N_COLUMNS, 2).double()
    expected[..., 0] = torch.exp(-2 * outputs[:, 1::2])
    fisher = Laplace().fisher(outputs, {})
    torch.testing.assert_close(fisher, expected.flatten(1), rtol=0.11, atol=0)
    tangents = normal(5, 2 * N_COLUMNS, 3)
    product = Laplace().fisher_product(outputs, {}, tangents)
    torch.testing.assert_close(product, fisher[..., None] * tangents)
    assert Laplace().bind(3) == Laplace()
    assert Laplace().init_from_data(normal(4, N_COLUMNS), None) is None


def test_grey_values_train_under_bernoulli_but_have_no_probability():
    values = torch.tensor([-0.1, 0.0, 0.4, 1.0, 1.1])
    assert Bernoulli().in_fit_domain(values).tolist() == [False, True, True, True, False]
    assert Bernoulli().in_support(values).tolist() == [False, True, False, True, False]


def test_a_mask_may_differ_by_row_and_column():
    """One observed cell of three, another in each row: only its own column's term is left."""
    for likelihood in (Categorical(4), Ordinal(4), Poisson()):
        block = make_block(likelihood)
        x = draw(block, N_COLUMNS)
        eye = torch.eye(N_COLUMNS).double()
        total = likelihood.log_prob(x, block.rows(N_COLUMNS), block.parameters, eye)
        alone = torch.cat([block.log_prob_of(j, x[j : j + 1, j]) for j in range(N_COLUMNS)])
        torch.testing.assert_close(total, alone)


def test_what_is_computed_where_counts_are_positive_is_what_is_computed_everywhere():
    """Values and gradients; also of parameters that have an axis more than the counts."""
    x = torch.tensor([[0.0, 3.0, 0.0], [1.0, 0.0, 70.0]], dtype=torch.float64)
    for shape in [(3,), (2, 1, 3)]:
        r = (1 + torch.arange(1.0, 1 + math.prod(shape), dtype=torch.float64)).view(shape)
        r.requires_grad_()
        everywhere, some = log_gamma_ratio(x, r), where_positive(log_gamma_ratio, x, r)
        assert everywhere.count_nonzero() < everywhere.numel()
        torch.testing.assert_close(some, everywhere)
        weights = normal(*everywhere.shape)
        expected, found = (
            torch.autograd.grad((weights * one).sum(), r)[0] for one in (everywhere, some)
        )
        torch.testing.assert_close(found, expected)


def test_the_first_column_that_breaks_its_rule_is_named_with_its_first_value():
    """Of whichever family it is, in CSR as in an array."""
    X = np.array([[0.0, 1.0, 0.5], [2.0, -1.0, 1.0], [0.0, -3.0, 2.0]])
    likelihoods = [Poisson(), LogNormal(), Poisson()]
    for table in (X, sparse.csr_matrix(X)):
        with pytest.raises(ValueError, match=r"Column 1 has likelihood LogNormal.*got -1\."):
            check_values(table, likelihoods, None)
        with pytest.raises(ValueError, match=r"Column 2 has likelihood Poisson.*got 0\.5\."):
            check_values(table[:1], likelihoods, None)
    zero = sparse.csr_matrix([[1.0, 0.0]])  # not stored, and no positive number
    with pytest.raises(ValueError, match=r"Column 1 .*got 0\."):
        check_values(zero, [LogNormal()] * 2, None)
