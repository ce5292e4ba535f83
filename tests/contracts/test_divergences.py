"""Laws of a divergence, run over every class in the registry.

The batches are of q(z) = N(mean, covariance) in the form that a divergence sees: each row has its
own q(z|x) = N(m_i, e I) and one draw z_i of it, with m_i ~ N(mean, covariance - e I).
"""

import pickle

import pytest
import torch
from sklearn.base import clone
from torch.func import grad, vmap

from sk_infovae.divergences import DIVERGENCES, MMD
from sk_infovae.posterior import Posterior

INSTANCES = [pytest.param(cls(), id=name) for name, cls in DIVERGENCES.items()]
INSTANCES.append(pytest.param(MMD(bandwidth=0.7), id="mmd-0.7"))
over_divergences = pytest.mark.parametrize("divergence", INSTANCES)

N_BATCHES, SMALL = 20_000, 4


def correlation(rho, d):
    """The matrix with 1 on the diagonal and rho elsewhere."""
    return torch.full((d, d), rho).fill_diagonal_(1.0).double()


def encoder_noise(leading, d, seed=0, dtype=torch.float64):
    """Standard normal noise for the means and for the draws, ``(2, *leading, d)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((2, *leading, d), generator=generator, dtype=dtype)


def batch_of(noise, mean, covariance):
    """Rows of q(z) = N(mean, covariance): draws and the q(z|x) that they come from."""
    d = covariance.shape[-1]
    own = 0.5 * torch.linalg.eigvalsh(covariance).min()
    factor = torch.linalg.cholesky(covariance - own * torch.eye(d, dtype=covariance.dtype))
    posterior = Posterior(mean + noise[0] @ factor.mT, own.log().expand_as(noise[0]))
    return posterior.draw(noise[1]), posterior


def evaluate(divergence, means, log_variances, noise):
    """D as a function of what the encoder returns."""
    posterior = Posterior(means, log_variances)
    return divergence(posterior.draw(noise), posterior)


def encoder_outputs(*leading, d=3, seed=0, dtype=torch.float64):
    """Means, log-variances and noise of some batches that are not of the prior."""
    first, second, noise = torch.randn(
        (3, *leading, d), generator=torch.Generator().manual_seed(seed), dtype=dtype
    )
    return 0.5 + 0.8 * first, -1 + 0.3 * second, noise


def mean_and_error(values):
    """Mean of independent values and its standard error."""
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


# The value of D


@over_divergences
@pytest.mark.parametrize("d", [1, 3])
def test_is_zero_on_average_for_the_prior(divergence, d):
    noise = encoder_noise((N_BATCHES, SMALL), d)
    values = divergence(*batch_of(noise, torch.zeros(d).double(), torch.eye(d).double()))
    mean, error = mean_and_error(values)
    assert abs(mean) < 4 * error


@over_divergences
def test_expectation_does_not_depend_on_the_batch_size(divergence):
    """Unbiased: the mean over batches of 3 is that over batches of 24, within 4 errors."""
    q = torch.tensor([0.5, 0.0, -0.5]).double(), 0.6 * correlation(0.4, 3)
    small, small_error = mean_and_error(divergence(*batch_of(encoder_noise((40_000, 3), 3), *q)))
    large, large_error = mean_and_error(divergence(*batch_of(encoder_noise((4000, 24), 3, 1), *q)))
    assert abs(small - large) < 4 * (small_error**2 + large_error**2) ** 0.5


def exact_mmd(divergence, mean, covariance):
    """E k(a, b) for a - b ~ N(m, S) is |I + S/s2|^(-1/2) exp(-m' (s2 I + S)^-1 m / 2)."""
    d = len(mean)
    identity = torch.eye(d, dtype=mean.dtype)
    s2 = d if divergence.bandwidth is None else divergence.bandwidth

    def kernel_mean(m, S):
        quadratic = m @ torch.linalg.solve(s2 * identity + S, m)
        return torch.linalg.det(identity + S / s2) ** -0.5 * torch.exp(-0.5 * quadratic)

    zero = torch.zeros_like(mean)
    qq, pp = kernel_mean(zero, 2 * covariance), kernel_mean(zero, 2 * identity)
    return (qq - 2 * kernel_mean(mean, covariance + identity) + pp).item()


EXACT = {MMD: exact_mmd}
"""D(N(mean, covariance), N(0, I)) where it is known in closed form."""


@pytest.mark.parametrize(
    "divergence", [case for case in INSTANCES if type(case.values[0]) in EXACT]
)
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
    mean, error = mean_and_error(divergence(*batch_of(encoder_noise((N_BATCHES, SMALL), 2), *q)))
    assert abs(mean - EXACT[type(divergence)](divergence, *q)) < 4 * error


@over_divergences
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
    noise = encoder_noise((600,), 2)
    values = [
        divergence(*batch_of(noise, torch.full((2,), mean).double(), covariance.double())).item()
        for mean, covariance in zip(means, covariances, strict=True)
    ]
    assert values == sorted(values), error
    assert len(set(values)) == len(values)
    assert values[1] > 0


@over_divergences
def test_order_of_the_rows_does_not_matter(divergence):
    z, posterior = batch_of(encoder_noise((40,), 3), torch.ones(3).double(), correlation(0.5, 3))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shuffled = Posterior(posterior.mean[order], posterior.log_variance[order])
    torch.testing.assert_close(
        divergence(z[order], shuffled), divergence(z, posterior), rtol=1e-12, atol=1e-13
    )


@over_divergences
def test_leading_dimensions_are_batches_of_their_own(divergence):
    means, log_variances, noise = encoder_outputs(2, 3, 6)
    stacked = evaluate(divergence, means, log_variances, noise)
    assert stacked.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            alone = evaluate(divergence, means[i, j], log_variances[i, j], noise[i, j])
            torch.testing.assert_close(stacked[i, j], alone, rtol=1e-12, atol=1e-13)


@over_divergences
@pytest.mark.parametrize("leading", [(), (3,)])
def test_a_batch_of_one_row_gives_zero_and_a_zero_gradient(divergence, leading):
    """One row says nothing about q(z): D = 0, and the gradient is 0, neither None nor NaN."""
    means, log_variances, noise = encoder_outputs(*leading, 1)
    means, log_variances = (50 * means).requires_grad_(), log_variances.requires_grad_()
    value = evaluate(divergence, means, log_variances, noise)
    assert value.shape == leading
    assert torch.equal(value, torch.zeros_like(value))
    for gradient in torch.autograd.grad(value.sum(), (means, log_variances)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


# Its gradient


@over_divergences
def test_gradient_is_that_of_the_value(divergence):
    means, log_variances, noise = encoder_outputs(5, d=2)
    means, log_variances = means.requires_grad_(), log_variances.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m, v: evaluate(divergence, m, v, noise), (means, log_variances)
    )


@over_divergences
def test_float32_agrees_with_float64(divergence):
    """To some hundred roundings, in value and gradient, at 8 dimensions and 64 rows."""
    outputs = encoder_outputs(64, d=8, dtype=torch.float32)
    unit = 100 * torch.finfo(torch.float32).eps
    results = []
    for dtype in (torch.float32, torch.float64):
        means, log_variances, noise = (one.detach().to(dtype) for one in outputs)
        means.requires_grad_()
        value = evaluate(divergence, means, log_variances, noise)
        results.append((value, torch.autograd.grad(value, means)[0]))
    (value, gradient), (exact, exact_gradient) = results
    assert value.dtype == torch.float32
    assert abs(value - exact) < unit * max(1.0, abs(exact))
    assert (gradient - exact_gradient).abs().max() < unit * exact_gradient.abs().max()


@over_divergences
def test_vmap_gives_what_a_loop_gives(divergence):
    """Values, gradients by torch.func and gradients of many models at once."""
    outputs = encoder_outputs(4, 6)

    def value(means, log_variances, noise):
        return evaluate(divergence, means, log_variances, noise)

    gradient = grad(value, argnums=(0, 1))
    models = list(zip(*outputs, strict=True))
    torch.testing.assert_close(
        vmap(value)(*outputs), torch.stack([value(*model) for model in models])
    )
    mapped = vmap(gradient)(*outputs)
    for k, (means, log_variances, noise) in enumerate(models):
        leaves = means.clone().requires_grad_(), log_variances.clone().requires_grad_()
        by_autograd = torch.autograd.grad(value(*leaves, noise), leaves)
        torch.testing.assert_close(gradient(means, log_variances, noise), by_autograd)
        torch.testing.assert_close(tuple(one[k] for one in mapped), by_autograd)


# The object


@over_divergences
def test_draws_nothing_and_keeps_no_state(divergence):
    before, generator_state = pickle.dumps(divergence), torch.get_rng_state()
    first = evaluate(divergence, *encoder_outputs(6))
    assert torch.equal(first, evaluate(divergence, *encoder_outputs(6)))
    assert torch.equal(generator_state, torch.get_rng_state())
    assert pickle.dumps(divergence) == before


@over_divergences
def test_parameters_make_an_equal_object(divergence):
    parameters = divergence.get_params()
    copies = [
        type(divergence)(**parameters),
        type(divergence)().set_params(**parameters),
        clone(divergence),
        pickle.loads(pickle.dumps(divergence)),
    ]
    outputs = encoder_outputs(6)
    for copy in copies:
        assert copy is not divergence
        assert copy == divergence
        assert torch.equal(evaluate(copy, *outputs), evaluate(divergence, *outputs))


@over_divergences
def test_unknown_parameter_is_named(divergence):
    with pytest.raises(ValueError, match="no_such_parameter"):
        divergence.set_params(no_such_parameter=1)
