"""The score against exact answers: linear networks, quadrature, annealed importance sampling."""

import dataclasses

import numpy as np
import pytest
import torch
from oracles import ais_score, encoded, exact_linear_score, quadrature_score
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae._inference.evidence import ROUND, sobol_normal
from sk_infovae._inference.jacobian import torch_jacobian
from sk_infovae._inference.proposal import GaussianProposal, curvature, log_joint


def with_seed(vae, seed):
    """The same fitted model with other noise in its score."""
    vae._layout = dataclasses.replace(vae._layout, seed=seed)
    return vae


@pytest.fixture(scope="module")
def cancer():
    return StandardScaler().fit_transform(load_breast_cancer().data)


@pytest.fixture(scope="module")
def curved():
    """A curved two-dimensional sheet in six columns, one of them yes or no."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 400))
    X = np.column_stack([u, v, u * v, np.sin(2 * u), u**2 - v, (u > v).astype(float)])
    X[:, :5] += 0.1 * rng.normal(size=(400, 5))
    return X


def fit_curved(X, n_components, **params):
    """A small non-linear net with gaussian and bernoulli columns."""
    params = {"hidden_layer_sizes": (16,), "max_epochs": 60, "lr": 1e-2, "batch_size": 64} | params
    vae = InfoVAETransformer(n_components, likelihood={5: "bernoulli"}, random_state=0, **params)
    return vae.fit(X)


@pytest.mark.parametrize("alpha", [0, 0.5, 0.9, 0.99])
def test_linear_network_within_a_twentieth_of_a_nat(cancer, alpha):
    vae = InfoVAETransformer(
        8,
        alpha=alpha,
        lambd=1 if alpha == 0 else 10,
        hidden_layer_sizes=(),
        lr=1e-2,
        max_epochs=60,
        random_state=0,
    ).fit(cancer)
    exact = exact_linear_score(vae, cancer).mean()
    errors = np.array([with_seed(vae, seed).score(cancer) - exact for seed in range(20)])
    print(f"\nalpha {alpha}: exact {exact:.3f}, largest error of 20 {np.abs(errors).max():.4f}")
    assert np.abs(errors).max() < 0.05


def test_missing_cells_are_integrated_out(cancer):
    rng = np.random.default_rng(0)
    X = np.where(rng.uniform(size=cancer.shape) < 0.3, np.nan, cancer)
    X[0] = np.nan
    vae = InfoVAETransformer(4, hidden_layer_sizes=(), max_epochs=20, random_state=0).fit(X)
    scores, exact = vae.score_samples(X), exact_linear_score(vae, X)
    assert abs(scores.mean() - exact.mean()) < 0.02
    assert np.abs(scores - exact).max() < 0.5
    assert abs(scores[0]) < 0.05  # nothing was observed: the probability is 1


@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("alpha", [0, 0.9])
def test_agrees_with_quadrature(curved, n_components, alpha):
    vae = fit_curved(curved, n_components, alpha=alpha, n_importance_samples=2048)
    rows = curved[:150]
    scores, exact = vae.score_samples(rows), quadrature_score(vae, rows)
    print(f"\nd {n_components}, alpha {alpha}: {scores.mean():.4f}, exact {exact.mean():.4f}")
    assert abs(scores.mean() - exact.mean()) < 0.02
    assert np.median(np.abs(scores - exact)) < 0.05


def test_agrees_with_quadrature_where_cells_are_missing(curved):
    rng = np.random.default_rng(1)
    X = np.where(rng.uniform(size=curved.shape) < 0.3, np.nan, curved)
    vae = fit_curved(X, 2, n_importance_samples=8192)  # p(z|x) may have several narrow modes
    rows = X[:150]
    assert abs(vae.score(rows) - quadrature_score(vae, rows).mean()) < 0.02


@pytest.mark.parametrize("alpha", [0, 0.9])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_agrees_with_annealed_importance_sampling(alpha, likelihood):
    X = load_digits().data[:600, 10:30]
    X = (X > 8).astype(float) if likelihood == "bernoulli" else X[:, X.std(0) > 0.3]
    vae = InfoVAETransformer(
        4,
        alpha=alpha,
        likelihood=likelihood,
        hidden_layer_sizes=(24,),
        max_epochs=40,
        lr=1e-2,
        batch_size=64,
        random_state=0,
    ).fit(X)
    rows = X[:40]
    estimate, error = ais_score(vae, rows)
    allowed = 0.05 + 2 * np.sqrt((error**2).sum()) / len(rows)
    difference = vae.score(rows) - estimate.mean()
    print(f"\n{likelihood}, alpha {alpha}: difference {difference:.4f}, allowed {allowed:.4f}")
    assert abs(difference) < allowed


def test_units_of_the_X_passed(curved):
    """Density carries the Jacobian: log p(a x + b) = log p(x) - log |a|, column by column."""
    scale = np.array([1e4, 1e-3, 7.0, 1.0, 250.0, 1.0])
    shift = np.array([1e5, 0.0, -3.0, 2.0, 1e3, 0.0])
    plain, rescaled = fit_curved(curved, 2), fit_curved(curved * scale + shift, 2)
    expected = plain.score_samples(curved) - np.log(scale).sum()
    np.testing.assert_allclose(rescaled.score_samples(curved * scale + shift), expected, atol=0.02)


def test_missing_cells_have_no_jacobian(curved):
    X = curved.copy()
    X[::3, 0] = np.nan
    scale = np.array([1e4, 1.0, 1.0, 1.0, 1.0, 1.0])
    plain, rescaled = fit_curved(X, 2), fit_curved(X * scale, 2)
    expected = plain.score_samples(X) - np.log(1e4) * ~np.isnan(X[:, 0])
    np.testing.assert_allclose(rescaled.score_samples(X * scale), expected, atol=0.02)


def test_order_and_company_of_the_rows_change_nothing(curved):
    vae = fit_curved(curved, 2)
    scores = vae.score_samples(curved)
    order = np.random.default_rng(0).permutation(len(curved))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(vae.score_samples(curved[order]), scores[order], rtol=1e-9)
    np.testing.assert_allclose(vae.score_samples(curved[7:8]), scores[7:8], rtol=1e-9)
    np.testing.assert_array_equal(vae.score_samples(curved), scores)


def test_effective_sample_size(curved):
    vae = fit_curved(curved, 2)
    scores, ess = vae.score_samples(curved, return_ess=True)
    np.testing.assert_array_equal(scores, vae.score_samples(curved))
    assert ess.shape == scores.shape
    assert (ess >= 1 - 1e-9).all()
    assert (ess <= vae.n_importance_samples + 1e-6).all()
    # Of the draws that a row took, which are fewer where few do.
    assert np.median(ess) > 0.3 * ROUND


def test_proposal_from_the_decoder_beats_the_encoder_alone(cancer):
    """Draws from q(z|x) collapse for alpha near 1: that is why the decoder proposes."""
    vae = InfoVAETransformer(
        8, alpha=0.99, hidden_layer_sizes=(), lr=1e-2, max_epochs=60, random_state=0
    ).fit(cancer)
    module, x, mask, jacobian = encoded(vae, cancer)
    with torch.no_grad():
        q = module.encode(x, mask)
        noise = sobol_normal(512, 8, 0)[:, None]
        z = q.rsample(noise)
        log_q = -0.5 * (noise.square() + np.log(2 * np.pi) + q.log_variance).sum(-1)
        weights = log_joint(module, z, x, mask) - log_q
    plain = (torch.logsumexp(weights, 0) - np.log(512)).numpy().mean() + jacobian
    exact = exact_linear_score(vae, cancer).mean()
    print(f"\nexact {exact:.2f}, from the decoder {vae.score(cancer):.2f}, from q {plain:.2f}")
    assert plain < exact - 0.5
    assert abs(vae.score(cancer) - exact) < 0.05


def test_more_draws_come_nearer(curved):
    vae = fit_curved(curved, 2, alpha=0.9)
    rows = curved[:100]
    exact = quadrature_score(vae, rows)
    errors = [
        np.abs(vae.set_params(n_importance_samples=n).score_samples(rows) - exact).mean()
        for n in (16, 256, 4096)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_curvature_is_the_gradient_and_the_gauss_newton_precision(curved):
    vae = fit_curved(curved, 2)
    module, x, mask, _ = encoded(vae, curved[:5])
    z = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradient, precision = curvature(module, z, x, mask)
    z = z.requires_grad_()
    expected = torch.autograd.grad(log_joint(module, z, x, mask).sum(), z)[0]
    torch.testing.assert_close(gradient, expected)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(module.decoder, z[i].detach())
        outputs = module.decoder(z[i].detach())[None]
        weighted = module.likelihood.fisher_product(outputs, jacobian[None], None)[0]
        torch.testing.assert_close(precision[i], torch.eye(2).double() + jacobian.T @ weighted)


def test_proposal_density_and_draws():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
    precision = root @ root.mT + torch.eye(3).double()
    mean = torch.randn(2, 3, dtype=torch.float64, generator=generator)
    proposal = GaussianProposal(mean, torch.linalg.cholesky(precision))
    law = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
    z = proposal.rsample(sobol_normal(2**14, 3, 0))
    torch.testing.assert_close(proposal.log_density(z), law.log_prob(z.mT.mT.transpose(0, 1)).T)
    for i in range(2):
        torch.testing.assert_close(z[i].mean(0), mean[i], atol=1e-2, rtol=0)
        torch.testing.assert_close(
            torch.cov(z[i].T), torch.linalg.inv(precision[i]), atol=1e-2, rtol=0
        )


def test_rows_far_from_everything_score_low_and_finite(curved):
    vae = fit_curved(curved, 2)
    far = curved[:3].copy()
    far[:, :5] = [[1e3] * 5, [-1e6] * 5, [1e12] * 5]
    scores = vae.score_samples(far)
    assert np.isfinite(scores).all()
    assert (scores < vae.score_samples(curved).min()).all()


def test_grey_values_train_but_have_no_score():
    X = load_digits().data[:100, :20] / 16
    vae = InfoVAETransformer(2, likelihood="bernoulli", max_epochs=2, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"must be 0 or 1 \(grey values train"):
        vae.score(X)


class OpaqueTanh(torch.autograd.Function):
    """A function of the user's own that torch.func can't push forward through."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.tanh()

    @staticmethod
    def backward(ctx, grad):
        return grad / ctx.saved_tensors[0].cosh() ** 2


class OpaqueDecoder(torch.nn.Module):
    def __init__(self, n_components, n_outputs):
        super().__init__()
        self.last = torch.nn.Linear(n_components, n_outputs)

    def forward(self, z):
        return self.last(OpaqueTanh.apply(z))


def test_opaque_decoder_falls_back_with_a_warning():
    X = load_iris().data
    vae = InfoVAETransformer(2, decoder=OpaqueDecoder, max_epochs=5, alpha=0, random_state=0).fit(X)
    torch_jacobian(torch.nn.Tanh(), torch.zeros(1, 2))  # torch warns at its first, of itself
    with pytest.warns(UserWarning, match=r"torch\.func could not differentiate") as told:
        score = vae.set_params(n_importance_samples=4096).score(X)
    assert told[0].filename == __file__  # the user's line
    assert score == pytest.approx(quadrature_score(vae, X).mean(), abs=0.05)
