"""`InfoVAETransformer.information`: what it says of fitted models, and what it takes."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from oracles import encoded
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError

from sk_infovae import InfoVAETransformer
from sk_infovae._inference import information, table_model
from sk_infovae._inference.neighbors import (
    in_blocks,
    information_of_neighbors,
    mean_bound,
    most_information,
)
from sk_infovae.divergences import DIVERGENCES
from sk_infovae.likelihoods import Gaussian

SURE = 4.0
"""Standard errors that an estimate may be off: one run in 16,000."""


def small(n_components=2, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_epochs": 15,
        "lr": 1e-2,
        "batch_size": 64,
        "n_importance_samples": 16,
        "random_state": 0,
    }
    return InfoVAETransformer(n_components, **(defaults | params))


def with_seed(vae, seed):
    """The same fitted model with other draws, for score and information."""
    vae = copy.copy(vae)
    vae._layout = dataclasses.replace(vae._layout, seed=seed)
    return vae


def replicates(vae, X, n, *names):
    """Values of a few terms under n seeds, each as an array."""
    found = [with_seed(vae, seed).information(X) for seed in range(n)]
    return [np.array([getattr(one, name) for one in found]) for name in names]


def same(one, other, skip=(), **tolerances):
    for name, value in dataclasses.asdict(one).items():
        if name not in skip:
            np.testing.assert_allclose(
                getattr(other, name), value, **({"rtol": 0} | tolerances), err_msg=name
            )


@pytest.fixture(scope="module")
def wine():
    return load_wine().data


@pytest.fixture(scope="module")
def holed(wine):
    missing = np.random.default_rng(0).uniform(size=wine.shape) < 0.15
    return np.where(missing, np.nan, wine)


@pytest.fixture(scope="module")
def fitted(holed):
    return small().fit(holed)


# What it says


@pytest.mark.parametrize("params", [{}, {"alpha": 0, "lambd": 1}, {"alpha": 1, "n_components": 5}])
def test_kl_by_draws_is_the_closed_form_within_its_error(holed, params):
    """And the error is honest: 20 seeds give a chi^2 of 20 degrees."""
    vae = small(**params).fit(holed)
    names = "kl", "kl_analytic", "kl_error", "mutual_information", "marginal_kl"
    kl, analytic, error, mutual, marginal = replicates(vae, holed, 20, *names)
    np.testing.assert_allclose(analytic, analytic[0], rtol=1e-12)
    off = (kl - analytic) / error
    assert np.abs(off).max() < SURE
    assert stats.chi2.ppf(5e-4, 20) < (off**2).sum() < stats.chi2.ppf(1 - 5e-4, 20)
    np.testing.assert_allclose(kl, mutual + marginal, rtol=1e-12)


def test_terms_add_up(holed, fitted):
    found = fitted.information(holed)
    assert found.elbo == found.reconstruction - found.kl
    assert found.log_likelihood == fitted.score(holed)
    assert found.amortisation_gap == found.log_likelihood - found.elbo
    assert found.effective_sample_size == fitted.score_samples(holed, return_ess=True)[1].mean()
    assert found.kl == pytest.approx(found.mutual_information + found.marginal_kl, rel=1e-12)
    assert found.kl_per_dimension.shape == (2,)
    assert found.kl_per_dimension.sum() == pytest.approx(found.kl_analytic, rel=1e-12)
    assert found.mutual_information_cap == math.log(178)
    assert (found.n_rows, found.n_rows_given) == (178, 178)


def test_parts_of_the_posterior_are_those_of_posterior(holed, fitted):
    mean, std = (part.astype(float) for part in fitted.posterior(holed))
    found = fitted.information(holed)
    parts = 0.5 * (mean**2 + std**2 - 2 * np.log(std) - 1).mean(0)
    np.testing.assert_allclose(found.kl_per_dimension, parts, rtol=1e-4)
    covariance = np.cov(mean.T, bias=True) + np.diag((std**2).mean(0))
    assert found.logdet_cov == pytest.approx(np.linalg.slogdet(covariance)[1], abs=1e-4)
    assert found.active_units == (mean.var(0) > 0.01).sum()


def test_elbo_against_numpy_in_units_of_X(holed, fitted):
    """Own draws z, decoded to units of X, and normal densities of the cells that are there."""
    rng = np.random.default_rng(0)
    mean, std = fitted.posterior(holed)
    noise = np.sqrt(fitted.noise_variance_)
    tables = []
    for _ in range(100):
        x = fitted.inverse_transform(mean + std * rng.normal(size=mean.shape))
        cells = stats.norm.logpdf(holed, x, noise)
        tables.append(np.nansum(cells, axis=1).mean())
    kl = 0.5 * (mean**2 + std**2 - 2 * np.log(std) - 1).sum(1).mean()
    found = fitted.information(holed)
    spread = np.std(tables, ddof=1)
    error = spread * math.sqrt(1 / 100 + 1 / information.MOST_DRAWS_A_ROW)
    assert abs(found.reconstruction - np.mean(tables)) < SURE * error
    assert abs(found.elbo - (np.mean(tables) - kl)) < SURE * (error + found.kl_error)


def exact_gap(vae, X):
    """KL(q(z|x)||p(z|x)) of a linear decoder, whose p(z|x) is normal with precision I + W'W / v."""
    module, x, _, _ = encoded(vae, X)
    with torch.no_grad():
        weight, bias = module.decoder.weight, module.decoder.bias
        pulls = weight.T / module.likelihood.noise_variance()
        precision = torch.eye(weight.shape[1]).double() + pulls @ weight
        centre = torch.linalg.solve(precision, pulls @ (x - bias).T).T
        q = module.encode(x)
        law = torch.distributions.MultivariateNormal
        own = law(q.mean, torch.diag_embed(q.log_variance.exp()))
        decoders = law(centre, precision_matrix=precision)
        return torch.distributions.kl_divergence(own, decoders).mean().item()


@pytest.mark.parametrize("alpha", [-1, 0, 0.5])
def test_amortisation_gap_of_a_linear_network_is_exact(wine, alpha):
    vae = small(
        3, alpha=alpha, lambd=1 - min(alpha, 0), hidden_layer_sizes=(), n_importance_samples=512
    ).fit(wine)
    (gaps,) = replicates(vae, wine, 12, "amortisation_gap")
    error = gaps.std(ddof=1) / math.sqrt(len(gaps))
    exact = exact_gap(vae, wine)
    print(f"\nalpha {alpha}: exact {exact:.4f}, found {gaps.mean():.4f} +- {error:.4f}")
    assert exact > 10 * error
    assert abs(gaps.mean() - exact) < SURE * error


def test_amortisation_gap_of_factor_analysis_is_nil(wine):
    """alpha = 0 turns the axes until p(z|x) has independent components, as q(z|x) has."""
    vae = small(
        2,
        alpha=0,
        lambd=1,
        likelihood=Gaussian("learned"),
        hidden_layer_sizes=(),
        max_epochs=800,
        lr=2e-2,
        batch_size=178,
        early_stopping=False,
        n_importance_samples=512,
    ).fit(wine)
    (gaps,) = replicates(vae, wine, 12, "amortisation_gap")
    error = gaps.std(ddof=1) / math.sqrt(len(gaps))
    assert -SURE * error < gaps.mean() < 0.02 + SURE * error
    assert exact_gap(vae, wine) < 0.02


def test_units_of_X(wine):
    """1024 X has the same standardised cells to the last bit: only the density's unit moves."""
    plain = small().fit(wine).information(wine)
    scaled = small().fit(1024 * wine).information(1024 * wine)
    same(plain, scaled, skip=("reconstruction", "elbo", "log_likelihood", "amortisation_gap"))
    for name in ("reconstruction", "elbo", "log_likelihood"):
        shift = getattr(scaled, name) - getattr(plain, name)
        assert shift == pytest.approx(-13 * math.log(1024), abs=1e-9)
    assert scaled.amortisation_gap == pytest.approx(plain.amortisation_gap, abs=1e-9)


def test_a_thousand_times_X_costs_its_logarithm_a_cell(holed, fitted):
    """Missing cells have no unit."""
    scaled = small().fit(1000 * holed).information(1000 * holed)
    cells = (~np.isnan(holed)).sum() / len(holed)
    shift = scaled.elbo - fitted.information(holed).elbo
    assert shift == pytest.approx(-cells * math.log(1000), abs=0.02)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergence_is_that_of_the_fit(wine, name):
    """Finite, and that of the fitted weights: alpha = 1 and a small lambd leave q(z) far away."""
    vae = small(divergence=name, alpha=1, lambd=0.1, max_epochs=30, lr=2e-2).fit(wine)
    found = vae.information(wine)
    assert np.isfinite(np.hstack([*dataclasses.asdict(found).values()])).all()
    assert found.divergence > 0
    assert found.standardised_mmd > SURE
    other = copy.deepcopy(vae)
    other.net_.criterion_.divergence = DIVERGENCES["mmd" if name != "mmd" else "ksd"]()
    assert other.information(wine).divergence != found.divergence
    assert other.information(wine).standardised_mmd == found.standardised_mmd


# What it takes


def test_more_rows_than_can_be_measured_are_thinned_out_at_random(monkeypatch, wine):
    vae = small().fit(wine)
    monkeypatch.setattr(table_model, "MOST_ROWS", 100)
    measured = []

    def spy(module, loss, X, *args):
        measured.append(X)
        return information.measure_information(module, loss, X, *args)

    monkeypatch.setattr(table_model, "measure_information", spy)
    found = vae.information(wine)
    rows = {tuple(row) for row in measured[0]}
    assert len(rows) == len(measured[0]) == 100
    assert rows <= {tuple(row) for row in wine}
    # Of 178 the first 100 have about 100 / 178 of the chosen, a hypergeometric number.
    early = len(rows & {tuple(row) for row in wine[:100]})
    assert abs(early - 56.2) < SURE * stats.hypergeom(178, 100, 100).std()
    assert (found.n_rows, found.n_rows_given) == (100, 178)
    assert found.mutual_information_cap == math.log(100)
    assert found.log_likelihood == vae.score(measured[0])
    same(found, vae.information(wine))
    assert with_seed(vae, 5).information(wine).kl_analytic != found.kl_analytic


def test_ten_thousand_rows_are_measured():
    X = np.random.default_rng(0).normal(size=(10_001, 2)) @ [[1.0, 0.8], [0.0, 0.6]]
    vae = small(1, hidden_layer_sizes=(), max_epochs=1, n_importance_samples=2).fit(X)
    found = vae.information(X)
    assert (found.n_rows, found.n_rows_given) == (10_000, 10_001)
    assert 0 < found.mutual_information < found.mutual_information_cap == math.log(10_000)
    assert np.isfinite(np.hstack([*dataclasses.asdict(found).values()])).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_calls_copies_and_clones_agree_to_the_bit(holed, name):
    """What the divergence has learned belongs to the state."""
    vae = small(divergence=name, max_epochs=5).fit(holed)
    found = vae.information(holed)
    same(found, vae.information(holed))
    same(found, pickle.loads(pickle.dumps(vae)).information(holed))
    same(found, copy.deepcopy(vae).information(holed))
    unfitted = clone(vae)
    with pytest.raises(NotFittedError):
        unfitted.information(holed)
    same(found, unfitted.fit(holed).information(holed))


def test_frames_sparse_and_dense_tables_agree(wine):
    X = np.where(wine > np.median(wine, axis=0), wine, 0.0)
    found = small().fit(X).information(X)
    as_csr = small().fit(sparse.csr_matrix(X))
    same(found, as_csr.information(sparse.csr_matrix(X)), rtol=0.02, atol=0.02)
    same(as_csr.information(X), as_csr.information(sparse.csr_matrix(X)), rtol=1e-9)
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(13)])
    same(found, small().fit(frame).information(frame))


def test_missing_cells_where_fit_had_none(wine, holed):
    found = small().fit(wine).information(holed)
    assert np.isfinite(np.hstack([*dataclasses.asdict(found).values()])).all()


def test_grey_values_have_no_log_likelihood_but_all_else(wine):
    X = (wine - wine.min(0)) / np.ptp(wine, axis=0)
    vae = small(likelihood="bernoulli").fit(X)
    found = dataclasses.asdict(vae.information(X))
    without = {"log_likelihood", "amortisation_gap", "effective_sample_size"}
    for name, value in found.items():
        assert np.isnan(value).all() == (name in without), name
        assert name in without or np.isfinite(value).all(), name
    binary = (X > 0.5).astype(float)
    assert vae.information(binary).log_likelihood == vae.score(binary)


def test_values_outside_are_refused(wine):
    vae = small(likelihood="bernoulli", max_epochs=1).fit((wine > wine.mean(0)).astype(float))
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        vae.information(wine)


def test_one_row_is_refused_and_two_are_taken(wine, fitted):
    with pytest.raises(ValueError, match=r"at least 2 rows.*n_samples=1"):
        fitted.information(wine[:1])
    found = fitted.information(wine[:2])
    assert found.mutual_information <= found.mutual_information_cap == math.log(2)


def test_unfitted_is_refused(wine):
    with pytest.raises(NotFittedError):
        small().information(wine)


def test_nothing_global_moves_and_the_model_stays(wine, fitted):
    before = np.random.get_state()[1:], torch.get_rng_state()  # noqa: NPY002
    weights = {key: value.clone() for key, value in fitted.net_.weights().items()}
    fitted.information(wine)
    np.testing.assert_equal(np.random.get_state()[1:], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    for key, value in fitted.net_.weights().items():
        assert torch.equal(value, weights[key])
        assert value.dtype == weights[key].dtype


def test_it_can_not_be_changed(fitted, wine):
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted.information(wine).kl = 0.0


@pytest.mark.parametrize(
    ("n_rows", "sizes"), [(2, [2]), (256, [256]), (257, [129, 128]), (600, [200] * 3)]
)
def test_the_most_that_neighbours_can_have_in_common(n_rows, sizes):
    """Codes of which each is near its neighbour's alone reach it, and no others can."""
    cap = most_information(n_rows)
    assert cap == pytest.approx(sum(size * math.log(size) for size in sizes) / n_rows)
    alone = 1e6 * torch.arange(n_rows, dtype=torch.float64)[:, None]
    parts = [(alone[rows], alone[rows]) for rows in in_blocks(torch.arange(n_rows))]
    assert mean_bound(parts, torch.tensor(8.0, dtype=torch.float64)) == pytest.approx(cap, abs=1e-6)


def test_codes_of_neighbours_have_more_in_common_where_that_has_a_weight(wine):
    plain, weighted = (small(neighbor_weight=w, max_epochs=20).fit(wine) for w in (0, 20))
    found = [vae.information(wine) for vae in (plain, weighted)]
    assert found[0].neighbor_information_cap == pytest.approx(math.log(178))
    assert 0 < found[0].neighbor_information < found[1].neighbor_information < math.log(178)


def test_codes_that_know_nothing_share_nothing():
    """Neighbours by columns that are noise: the bound is 0 within its error."""
    X = np.random.default_rng(0).normal(size=(4000, 8))
    vae = small(max_epochs=1).fit(X)
    mean = torch.randn(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = information_of_neighbors(
        vae._model().module.double(), X, vae._layout.standardizer, mean, 15, torch.Generator()
    )
    assert abs(found) < 0.02


def test_information_prints_as_a_short_table():
    X = load_wine().data
    found = small().fit(X).information(X)
    text, html = repr(found), found._repr_html_()
    assert len(text.split("\n")) == 10
    assert max(map(len, text.split("\n"))) <= 88
    for name in ("kl", "mutual_information", "marginal_kl", "elbo", "log_likelihood"):
        value = f"{getattr(found, name):.2f}"
        assert value in text
        assert f"<td>{value}</td>" in html
    assert html.count("<tr>") == 9
    assert "KL(q(z|x) || p(z))" in html
