"""The terms of the objective against closed forms, and against `information`."""

import math

import numpy as np
import pytest
import torch
from gaussian_codes import exact_mmd
from metric_fits import HOLES, METRICS, SURE, X, linear, over_seeds, small
from oracles import exact_linear_score
from scipy import stats

from sk_infovae import metrics
from sk_infovae._inference import information, table_model
from sk_infovae.divergences import MMD


def test_log_likelihood_is_the_score_and_that_of_the_exact_gaussian(gaussian_world, fitted):
    vae, data, *_ = gaussian_world
    exact = exact_linear_score(vae, data).mean()
    assert metrics.log_likelihood(vae, data) == pytest.approx(exact, abs=0.01)
    assert metrics.log_likelihood(fitted, HOLES) == fitted.score(HOLES)


def test_one_wrong_cell_moves_the_mean_and_not_the_median(gaussian_world):
    vae, data = gaussian_world[0], gaussian_world[1].copy()
    scores = np.sort(vae.score_samples(data))
    assert metrics.median_log_likelihood(vae, data) == np.median(scores)
    data[3, 0] = 1e6
    assert metrics.log_likelihood(vae, data) < scores.mean() - 1e4
    middle = len(scores) // 2
    assert scores[middle - 2] <= metrics.median_log_likelihood(vae, data) <= scores[middle]


def test_elbo_is_reconstruction_less_kl_in_closed_form(gaussian_world):
    vae, data, x, A, b, V, W = gaussian_world
    mean, noise = x @ A.T + b, vae.noise_variance_ / data.var(0)
    density = stats.norm.logpdf(x, mean @ W.T + 0.1, np.sqrt(noise)).sum(1)
    spread = 0.5 * (W**2 * V / noise[:, None]).sum()
    kl = 0.5 * (mean**2 + V - np.log(V) - 1).sum(1)
    exact = (density - spread - kl).mean() - np.log(data.std(0)).sum()
    found, error, _ = over_seeds(metrics.elbo, vae, data)
    assert error < 0.05
    assert abs(found - exact) < SURE * error
    assert found < metrics.log_likelihood(vae, data)


def test_mutual_information_of_a_linear_encoder(gaussian_world):
    """I = 1/2 log det(A S A' + V) / det V, but for the table's own noise and log(1 + chi^2 / n)."""
    vae, data, x, A, _, V, _ = gaussian_world
    covariance = A @ np.cov(x.T) @ A.T + np.diag(V)
    exact = 0.5 * (np.linalg.slogdet(covariance)[1] - np.log(V).sum())
    report = vae.information(data)
    found, _, _ = over_seeds(metrics.mutual_information, vae, data)
    bias = math.log(1 + (math.exp(2 * exact) - 1) / len(data))
    assert 0.2 < exact < math.log(len(data)) / 2
    assert abs(found - exact) < bias + SURE * report.mutual_information_error


def test_neg_mmd_is_minus_that_of_the_mixture(gaussian_world):
    """E k(z_i, z_j) over i != j, less twice E k(z_i, p), plus E k(p, p), in numpy."""
    vae, data, x, A, b, V, _ = gaussian_world
    mean, (s2, d) = x @ A.T + b, (2, 2)
    squares = (mean[:, None] - mean[None]) ** 2
    qq = np.prod(np.sqrt(s2 / (s2 + 2 * V)) * np.exp(-squares / (2 * (s2 + 2 * V))), axis=-1)
    qp = np.prod(np.sqrt(s2 / (s2 + 1 + V)) * np.exp(-(mean**2) / (2 * (s2 + 1 + V))), axis=-1)
    n = len(data)
    off_diagonal = (qq.sum() - np.trace(qq)) / (n * (n - 1))
    exact = off_diagonal - 2 * qp.mean() + (s2 / (s2 + 2)) ** (d / 2)
    assert metrics.neg_mmd(vae, data) == pytest.approx(-exact, abs=1e-6)
    population = exact_mmd(MMD(), b, A @ np.cov(x.T) @ A.T + np.diag(V))
    assert exact == pytest.approx(population, abs=0.01)
    assert exact > 0.02


def test_neg_mmd_is_what_many_draws_have(fitted):
    mean, std = (torch.as_tensor(part).double() for part in fitted.posterior(HOLES))
    values = []
    for seed in range(200):
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)).double()
        codes = information.Codes(mean + std * noise, None, noise)
        values.append(MMD()(codes).item())
    error = np.std(values, ddof=1) / math.sqrt(200)
    assert abs(metrics.neg_mmd(fitted, HOLES) + np.mean(values)) < SURE * error


def test_neg_mmd_does_not_depend_on_the_divergence_of_the_fit(gaussian_world):
    vae, data, *_ = gaussian_world
    value = metrics.neg_mmd(vae, data)
    for divergence in (MMD(bandwidth=100.0), MMD("imq"), "kl", "adversarial"):
        other = small(divergence=divergence, hidden_layer_sizes=(), max_epochs=1).fit(data)
        other.module_.load_state_dict(vae.module_.state_dict())
        assert metrics.neg_mmd(other, data) == pytest.approx(value, abs=1e-9)


def test_a_code_that_is_the_prior_says_nothing():
    """q(z|x) = N(0, I) for every x."""
    vae = linear(X, np.zeros((3, 13)), 0.0, 0.0, np.zeros((13, 3)))
    assert metrics.active_units(vae, X) == 0
    assert metrics.mutual_information(vae, X) == pytest.approx(0, abs=1e-9)
    assert metrics.neg_mmd(vae, X) == pytest.approx(0, abs=1e-9)
    assert metrics.elbo(vae, X) == pytest.approx(metrics.log_likelihood(vae, X), abs=0.01)
    assert metrics.reconstruction_r2(vae, X) == pytest.approx(0, abs=1e-6)
    assert metrics.neg_reconstruction_error(vae, X) == pytest.approx(-1, abs=1e-6)


def test_a_code_that_names_the_row_reaches_the_caps():
    """q(z|x) = N(x, tiny) and x = z: all 13 dimensions of it."""
    vae = linear(X, np.eye(13), 0.0, -20.0, np.eye(13))
    assert metrics.mutual_information(vae, X) == pytest.approx(math.log(178), rel=1e-9)
    assert metrics.active_units(vae, X) == 13
    assert metrics.reconstruction_r2(vae, X) == pytest.approx(1, abs=1e-9)
    assert metrics.neg_reconstruction_error(vae, X) == pytest.approx(0, abs=1e-5)
    assert metrics.trustworthiness(vae, X) == pytest.approx(1, abs=1e-4)
    assert metrics.neighborhood_preservation(vae, X) > 0.99


def test_active_units_are_counted_by_the_variance_of_the_means():
    """Standardised columns times 0.09, 0.11 and 1: variances 0.0081, 0.0121 and 1."""
    encoder = np.diag([0.09, 0.11, 1.0])
    vae = linear(X[:, :3], encoder, 5.0, 1.0, np.eye(3))
    assert metrics.active_units(vae, X[:, :3]) == 2


@pytest.mark.parametrize("params", [{}, {"alpha": 1, "n_components": 5}, {"divergence": "kl"}])
def test_terms_are_those_of_information(params):
    vae = small(**params).fit(HOLES)
    report = vae.information(HOLES)
    assert metrics.elbo(vae, HOLES) == pytest.approx(report.elbo, rel=1e-12)
    found = metrics.mutual_information(vae, HOLES)
    assert found == pytest.approx(report.mutual_information, rel=1e-12)
    assert metrics.active_units(vae, HOLES) == report.active_units
    assert found <= report.mutual_information_cap


def test_large_tables_are_thinned_out_as_by_information(monkeypatch, fitted):
    whole = {name: METRICS[name](fitted, HOLES) for name in ("elbo", "neg_mmd")}
    for module in (metrics, table_model):
        monkeypatch.setattr(module, "MOST_ROWS", 100)
    report = fitted.information(HOLES)
    assert metrics.elbo(fitted, HOLES) == pytest.approx(report.elbo, rel=1e-12)
    found = metrics.mutual_information(fitted, HOLES)
    assert found == pytest.approx(report.mutual_information, rel=1e-12)
    assert found < math.log(100)
    for name, value in whole.items():
        assert METRICS[name](fitted, HOLES) != value


def test_neg_mmd_in_blocks_has_the_same_mean(monkeypatch, gaussian_world):
    vae, data, *_ = gaussian_world
    whole = metrics.neg_mmd(vae, data)
    monkeypatch.setattr(information, "PAIR_CELLS", 2 * 100**2)
    found, error, _ = over_seeds(metrics.neg_mmd, vae, data, n=50)
    assert 0 < error < 0.01
    assert abs(found - whole) < SURE * error
