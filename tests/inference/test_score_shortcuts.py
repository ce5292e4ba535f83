"""What makes the score fast, each held to the plain way: Jacobians, modes, rounds, control."""

import math

import numpy as np
import pytest
import torch
from linear_models import linear
from oracles import exact_linear_score
from plain_score import cells_of, plain_mode, plain_score, sampler_of
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae._inference import evidence, proposal
from sk_infovae._inference.evidence import (
    ROUND,
    Weights,
    draw,
    estimate,
    log_evidence,
    rounds,
    score_rows,
    share_out,
    sobol_normal,
    weighted_draws,
)
from sk_infovae._inference.jacobian import is_perceptron, outputs_and_jacobian, torch_jacobian
from sk_infovae._inference.proposal import (
    PROMISE,
    STEP_LENGTHS,
    climb,
    curvature,
    find_mode,
    log_joint,
    propose,
)
from sk_infovae._model.cells import Cells
from sk_infovae._model.networks import ACTIVATIONS, default_decoder
from sk_infovae.datasets import make_mixed_table
from sk_infovae.likelihoods import Gaussian

SHORT = {"hidden_layer_sizes": (32, 16), "max_epochs": 25, "random_state": 0}


def cancer_with_holes():
    X = load_breast_cancer().data
    return np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.2, np.nan, X)


LEARNED = {"likelihood": Gaussian("learned")}
"""A noise that is still wide, so that most p(z|x) have one mode, which two searches both find."""

KEEN = {"n_components": 8, "alpha": 0.9, "lambd": 10}
FITS = {
    "digits": lambda: (load_digits().data[:600], {"n_components": 8} | LEARNED),
    "alpha": lambda: (load_digits().data[:600], KEEN | LEARNED),
    "holes": lambda: (cancer_with_holes(), {"n_components": 4} | LEARNED),
    "mixed": lambda: (make_mixed_table(500, missing=0.2, random_state=0), {"n_components": 4}),
    "student_t": lambda: (
        load_breast_cancer().data,
        {"n_components": 4, "likelihood": "student_t"},
    ),
    "poisson": lambda: (
        load_digits().data[:600, :30],
        {"n_components": 4, "likelihood": "poisson"},
    ),
    "negative_binomial": lambda: (
        load_digits().data[:400, 10:20],
        {"n_components": 2, "likelihood": "negative_binomial"},
    ),
}


@pytest.fixture(scope="module", params=FITS)
def fitted(request):
    X, params = FITS[request.param]()
    return InfoVAETransformer(**(SHORT | params)).fit(X), X


def encoded_rows(vae, X):
    """The sampler's module, cells and mask."""
    sampler = sampler_of(vae)
    _, x, mask = next(sampler.chunks(cells_of(vae, X)))
    return sampler.module, x, mask


# Jacobians


@pytest.mark.parametrize("activation", ACTIVATIONS.values())
@pytest.mark.parametrize("hidden", [(), (7,), (9, 5)])
def test_pushed_tangents_are_torchs(activation, hidden):
    torch.manual_seed(0)
    decoder = default_decoder(3, 6, hidden, activation).double()
    z = torch.randn(5, 3, dtype=torch.float64)
    assert is_perceptron(decoder)
    outputs, jacobian = outputs_and_jacobian(decoder, z)
    torch.testing.assert_close(outputs, decoder(z), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(jacobian, torch_jacobian(decoder, z), rtol=1e-12, atol=1e-14)


class Doubled(torch.nn.Linear):
    def forward(self, z):
        return 2 * super().forward(z)


@pytest.mark.parametrize(
    ("decoder", "known"),
    [
        (torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(3, 6)), True),
        (torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Softmax(-1)), False),
        (Doubled(3, 6), False),
    ],
)
def test_decoders_of_a_users_own(decoder, known):
    """A subclass may do anything, and a softmax is no elementwise activation."""
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    kept = z.clone()
    assert is_perceptron(decoder) == known
    outputs, jacobian = outputs_and_jacobian(decoder, z)
    torch.testing.assert_close(z, kept)
    expected = [torch.autograd.functional.jacobian(lambda r: decoder(1 * r), row) for row in z]
    torch.testing.assert_close(jacobian, torch.stack(expected))
    torch.testing.assert_close(outputs, decoder(z.clone()))


# Modes


def test_modes_are_those_of_the_plain_search(fitted):
    """Nearer than 0.1 deviations, and as high but for a hundredth nat, for nine rows of ten.

    p(z|x) may have several modes, between which two searches need not choose alike.
    """
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:20])
    with torch.no_grad():
        found = find_mode(module, module.encode(x, mask).mean, x, mask)
    near = []
    for i in range(len(x)):
        one = slice(i, i + 1)
        z, precision = plain_mode(module, x[one], None if mask is None else mask[one])
        gap = found.mean[one] - z
        near.append(float((gap[:, None] @ precision @ gap[..., None]).sqrt()) < 0.1)
    assert np.mean(near) >= 0.9


def test_precision_is_that_of_the_place_before_the_last_step(fitted):
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:40])
    with torch.no_grad():
        found = find_mode(module, module.encode(x, mask).mean, x, mask)
        gradient, precision = curvature(module, found.mean, x, mask)
    own = found.precision_factor @ found.precision_factor.mT
    promised = (gradient[:, None] @ torch.linalg.solve(precision, gradient[..., None])).flatten()
    ratio = torch.linalg.det(own) / torch.linalg.det(precision)
    assert (promised < PROMISE).double().mean() > 0.9
    assert ratio.log().abs().median() < 0.05


def test_a_climbing_row_never_falls(fitted):
    """From steps ten times too long it goes the longest part that leads higher, or stays."""
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:60])
    with torch.no_grad():
        start = torch.zeros_like(module.encode(x, mask).mean)
        gradient, precision = curvature(module, start, x, mask)
        step = 10 * torch.linalg.solve(precision, gradient[..., None])[..., 0]
        before = log_joint(module, start, x, mask)
        z, height, moved = climb(module, start, step, before, Cells(x, mask))
        heights = [log_joint(module, start + t * step, x, mask) for t in STEP_LENGTHS]
    torch.testing.assert_close(height, log_joint(module, z, x, mask).detach())
    assert (height[moved] > before[moved]).all()
    assert (z[~moved] == start[~moved]).all()
    higher = torch.stack([one > before for one in heights])
    assert (moved == higher.any(0)).all()
    length = torch.tensor(STEP_LENGTHS, dtype=z.dtype)[higher.int().argmax(0)]
    expected = start + length[:, None] * step
    torch.testing.assert_close(z[moved], expected[moved])


def test_a_row_finds_its_mode_alone_as_in_company(fitted):
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:30])
    with torch.no_grad():
        start = module.encode(x, mask).mean
        together = find_mode(module, start, x, mask)
        for i in (0, 7, 29):
            one = slice(i, i + 1)
            alone = find_mode(module, start[one], x[one], None if mask is None else mask[one])
            torch.testing.assert_close(alone.mean, together.mean[one], rtol=1e-7, atol=1e-9)


# Draws


@pytest.mark.parametrize("n_parts", [1, 2, 3])
@pytest.mark.parametrize("n_draws", [2, 3, 64, 65, 66, 67, 100, 129, 512, 1000])
def test_rounds_use_every_point_once_and_every_part(n_draws, n_parts):
    noise = sobol_normal(n_draws, 2, 0)
    every = list(rounds(noise, n_parts))
    assert all(len(share) for shares in every for share in shares) or n_draws < n_parts
    assert all(sum(map(len, shares)) <= ROUND + 1 for shares in every)
    for k, whole in enumerate(share_out(noise, n_parts)):
        torch.testing.assert_close(torch.cat([shares[k] for shares in every]), whole)
    assert sum(map(len, share_out(noise, n_parts))) == n_draws


def test_rounds_to_the_end_are_the_plain_mean_of_all_draws(fitted, monkeypatch):
    """No row stops and nothing is corrected: what is left is a mean over the same draws."""
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:20])
    monkeypatch.setattr(evidence, "TOLERANCE", 0.0)
    monkeypatch.setattr(evidence, "FEWEST_FOR_CONTROL", 10**9)
    noise = sobol_normal(512, vae.n_components, 0)
    with torch.no_grad():
        found = log_evidence(module, x, mask, noise)
        z, weights = weighted_draws(module, x, mask, noise)
    total = torch.logsumexp(weights, -1)
    assert z.shape == (20, 512, vae.n_components)
    torch.testing.assert_close(found.log_likelihood, total - math.log(512), rtol=1e-9, atol=1e-9)
    size = torch.exp(2 * total - torch.logsumexp(2 * weights, -1))
    torch.testing.assert_close(found.effective_sample_size, size, rtol=1e-6, atol=0)


def test_a_row_stops_by_its_own_error_only(fitted):
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:40])
    noise = sobol_normal(512, vae.n_components, 0)
    with torch.no_grad():
        together = log_evidence(module, x, mask, noise)
        for i in range(0, 40, 8):
            one = slice(i, i + 1)
            alone = log_evidence(module, x[one], None if mask is None else mask[one], noise)
            for mine, theirs in zip(alone, together, strict=True):
                torch.testing.assert_close(mine, theirs[one], rtol=1e-6, atol=1e-8)


def test_rows_that_are_not_sure_take_all_draws(fitted, monkeypatch):
    """Unsure is a variance above 2 / 512, what an effective sample size of a third leaves."""
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:60])
    noise = sobol_normal(512, vae.n_components, 0)
    with torch.no_grad():
        found = log_evidence(module, x, mask, noise)
        monkeypatch.setattr(evidence, "TOLERANCE", 0.0)
        whole = log_evidence(module, x, mask, noise)
    done = found.error.square() <= 2 / 512
    assert done.double().mean() > 0.2
    torch.testing.assert_close(
        found.log_likelihood[~done], whole.log_likelihood[~done], rtol=1e-7, atol=1e-8
    )
    assert (found.effective_sample_size[done] < whole.effective_sample_size[done]).any()


@pytest.mark.parametrize("n_draws", [64, 66, 512])
def test_draws_are_weighed_by_the_density_of_the_mixture(fitted, n_draws):
    """Each part counts by its share of the draws."""
    vae, X = fitted
    module, x, mask = encoded_rows(vae, X[:10])
    with torch.no_grad():
        proposed = propose(module, x, mask, True)
        shares = share_out(sobol_normal(n_draws, vae.n_components, 0), 3)
        z, log_weight, mixture = draw(module, Cells(x, mask), proposed, shares)
        among = None if mask is None else mask[:, None]
        joint = log_joint(module, z, x[:, None], among)
    own, rest = n_draws // 4, n_draws - n_draws // 4
    counts = [own, rest - rest // 2, rest // 2]
    assert [len(share) for share in shares] == counts
    for i in range(10):
        density = 0.0
        for part, count in zip(proposed.parts(), counts, strict=True):
            precision = part.precision_factor[i] @ part.precision_factor[i].T
            law = torch.distributions.MultivariateNormal(part.mean[i], precision_matrix=precision)
            density = density + count / n_draws * law.log_prob(z[i]).exp()
        assert isinstance(density, torch.Tensor)
        torch.testing.assert_close(mixture[i], density.log(), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(log_weight, joint - mixture)


def test_chunks_change_nothing(fitted, monkeypatch):
    vae, X = fitted
    sampler, cells = sampler_of(vae), cells_of(vae, X[:60])
    whole = score_rows(sampler, cells)
    monkeypatch.setattr(evidence, "ROW_CELLS", 1)
    monkeypatch.setattr(evidence, "DRAW_CELLS", 1)
    for mine, theirs in zip(score_rows(sampler, cells), whole, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-7)


def test_score_is_that_of_many_plain_draws(fitted):
    """Within the 0.05 nats on average that the docs promise, and 0.5 for each row."""
    vae, X = fitted
    rows = X[:25]
    reference, scores = plain_score(vae, rows, 2**15), vae.score_samples(rows)
    gap = scores - reference
    print(f"\nmean {gap.mean():+.4f}, largest {np.abs(gap).max():.3f}")
    assert abs(gap.mean()) < 0.05
    assert np.abs(gap).max() < 0.5


@pytest.mark.parametrize("params", [{"n_components": 8}, KEEN])
def test_scores_under_calibrated_noise_are_as_good_on_average(params):
    """A row with several narrow modes may be a nat off; the promise is about the mean."""
    X = load_digits().data[:600]
    vae = InfoVAETransformer(**(SHORT | params)).fit(X)
    gap = vae.score_samples(X[:100]) - plain_score(vae, X[:100], 2**14)
    print(f"\nmean {gap.mean():+.4f}, largest {np.abs(gap).max():.3f}")
    assert abs(gap.mean()) < 0.05


def test_a_row_whose_draws_hardly_agree_finds_a_better_mode(monkeypatch):
    """A narrow posterior with several modes, of which the first found is a poor one."""
    X = load_digits().data[:600]
    vae = InfoVAETransformer(**(SHORT | KEEN)).fit(X)
    monkeypatch.setattr(proposal, "WORTH", -math.inf)  # no scout has found it before
    looked = vae.score_samples(X[:100])
    monkeypatch.setattr(evidence, "FEW_AGREE", 0.0)
    once = vae.score_samples(X[:100])
    again = looked != once
    assert 0 < again.sum() < 20
    reference = plain_score(vae, X[:100][again], 2**15)
    assert np.abs(looked[again] - reference).mean() < 0.3
    assert np.abs(once[again] - reference).mean() > 1


# The control variate


def weights_with(n_draws, seed, noise):
    """Weights exp(N(0, .5^2)), and a control that says all of them but for some noise."""
    generator = torch.Generator().manual_seed(seed)
    log_weight = 0.5 * torch.randn(2000, n_draws, generator=generator).double() - 0.125
    other = torch.randn(2000, n_draws, generator=generator).double()
    return Weights(log_weight, torch.expm1(log_weight) + noise * other)


@pytest.mark.parametrize("n_draws", [64, 512])
def test_control_variate_takes_what_the_control_explains(n_draws):
    plain = weights_with(n_draws, 0, 0.0)
    uncorrected = estimate(Weights(plain.log_weight, torch.zeros_like(plain.control)))
    exact, partly = estimate(plain), estimate(weights_with(n_draws, 0, 0.5))
    assert exact.log_likelihood.abs().max() < 1e-9
    assert exact.error.max() < 1e-9
    assert partly.log_likelihood.std() < 0.8 * uncorrected.log_likelihood.std()
    for found in (uncorrected, partly):
        # The error is that of the estimate: independent draws here.
        spread = float(found.log_likelihood.square().mean().sqrt())
        assert float(found.error.square().mean().sqrt()) == pytest.approx(spread, rel=0.1)


def test_control_variate_never_takes_all():
    """A control that is far off its mean in this sample says little, and log p stays finite."""
    weights = weights_with(64, 0, 0.0)
    found = estimate(Weights(weights.log_weight, weights.control - 5.0))
    plain = torch.logsumexp(weights.log_weight, -1) - math.log(64)
    assert (found.log_likelihood - plain).abs().max() <= math.log(2) + 1e-9


def test_linear_model_is_exact_from_one_round():
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    vae = linear(max_epochs=30, n_importance_samples=512).fit(X)
    found, ess = vae.score_samples(X, return_ess=True)
    np.testing.assert_allclose(found, exact_linear_score(vae, X), atol=1e-6)
    assert (ess <= ROUND).all()


def test_more_rows_take_no_more_memory(monkeypatch):
    """Tensors over rows and over draws stay within their cells, however many the draws."""
    vae = InfoVAETransformer(2, **SHORT).fit(load_breast_cancer().data)
    seen = []
    true = proposal.log_joint

    def watched(module, z, x, mask):
        seen.append(z.shape[:-1].numel() * 32)
        return true(module, z, x, mask)

    monkeypatch.setattr(evidence, "log_joint", watched)
    monkeypatch.setattr(evidence, "DRAW_CELLS", 2**15)
    for n_draws in (512, 4096):
        score_rows(sampler_of(vae, n_draws), load_breast_cancer().data)
    assert max(seen) <= 2**15
