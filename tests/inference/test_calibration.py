"""Noise that is set when training has ended."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import train_test_split

from sk_infovae import InfoVAETransformer
from sk_infovae._inference.calibration import PRIOR_ROWS, SquaredErrors, blend, calibrate
from sk_infovae._model.cells import Cells
from sk_infovae.likelihoods import Gaussian

SURE = 4.0
"""Standard errors that an estimate may be off."""


def small(n_components=2, **params):
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 8, "lr": 1e-2, "random_state": 0}
    return InfoVAETransformer(n_components, **(defaults | params))


def table(n_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(
        size=(n_rows, 5)
    )


def rows_of(vae, X):
    x, mask = vae._layout.standardizer.encode(X, np.float64)
    return Cells(torch.from_numpy(x), None if mask is None else torch.from_numpy(mask).double())


def test_a_linear_model_has_the_noise_of_factor_analysis():
    """With the slopes of a factor analysis its noise is found from any other one."""
    rng = np.random.default_rng(0)
    W, noise = np.linspace(0.7, 1.3, 10).reshape(2, 5), np.array([0.5, 1.0, 0.7, 0.6, 0.8])
    X = rng.normal(size=(2000, 2)) @ W * [2, 2, 2, 2, 2] + noise * rng.normal(size=(2000, 5))
    X = (X - X.mean(0)) / X.std(0)
    oracle = FactorAnalysis(2, tol=1e-8, max_iter=9000, svd_method="lapack").fit(X)
    vae = small(hidden_layer_sizes=(), early_stopping=False, max_epochs=1).fit(X)
    module = vae.module_
    with torch.no_grad():
        module.decoder.weight.copy_(torch.as_tensor(oracle.components_.T))
        module.decoder.bias.zero_()
    rows = Cells(torch.as_tensor(X, dtype=torch.float32), None)
    for _ in range(5):  # each of a few rounds of EM
        calibrate(module, rows)
    np.testing.assert_allclose(
        module.likelihood.noise_variance(), oracle.noise_variance_, rtol=0.02
    )


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_diabetes])
def test_the_density_of_new_rows_gains(load):
    """By 9.0, 1.6 and 0.3 nats."""
    train, test = train_test_split(load().data, random_state=0)
    learned, calibrated = (
        InfoVAETransformer(3, likelihood=Gaussian(scale), random_state=0).fit(train).score(test)
        for scale in ("learned", "calibrated")
    )
    assert calibrated > learned + 0.2


def test_the_networks_train_as_with_a_learned_noise():
    """One for all the columns."""
    fits = [
        small(likelihood=likelihood, warm_start=True).fit(table()).fit(table())
        for likelihood in (Gaussian("learned", shared=True), Gaussian())
    ]
    np.testing.assert_array_equal(*(vae.transform(table()) for vae in fits))
    terms = [[epoch["reconstruction"] for epoch in vae.history_] for vae in fits]
    np.testing.assert_allclose(*terms, rtol=1e-6)  # sums of a flat tensor may round anew
    assert (fits[0].noise_variance_ != fits[1].noise_variance_).all()


def test_it_is_the_mean_squared_error_under_the_posterior():
    """The fixed point of EM, up to what another round would change."""
    X = table()
    vae = small(early_stopping=False, max_epochs=40).fit(X)
    module = copy.deepcopy(vae.module_).double()
    rows = rows_of(vae, X)
    calibrate(module, rows)
    errors = SquaredErrors(module, module.likelihood, rows)
    errors.linearise()
    found, count = errors.mean()
    torch.testing.assert_close(found, module.likelihood.noise_variance(), rtol=0.1, atol=1e-4)
    learned = small(early_stopping=False, max_epochs=40, likelihood=Gaussian("learned")).fit(X)
    ratio = found / learned.module_.likelihood.noise_variance().detach()
    assert (ratio.log().abs() > 0.2).all()
    assert (count == len(X)).all()


def test_held_out_rows_count_by_their_number():
    trained, held_out = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0, 2.0, 12.0])
    columns = torch.arange(3)
    many = blend(trained, held_out, torch.full((3,), 1e9), columns)
    torch.testing.assert_close(many, held_out)
    equal = blend(trained, held_out, torch.full((3,), float(PRIOR_ROWS)), columns)
    torch.testing.assert_close(equal, (held_out + 2 * trained) / 2)  # (2 + 1 + 3) / 3 = 2
    none = blend(trained, torch.zeros(3), torch.zeros(3), columns)
    torch.testing.assert_close(none, trained * PRIOR_ROWS / PRIOR_ROWS)


def test_missing_cells_do_not_count():
    X = table()
    holes = np.random.default_rng(1).uniform(size=X.shape) < 0.3
    vae = small(early_stopping=False).fit(np.where(holes, np.nan, X))
    rows = rows_of(vae, np.where(holes, np.nan, X))
    module = vae.module_.double()

    def measured(rows):
        errors = SquaredErrors(module, module.likelihood, rows)
        errors.z = module.encode(*given).mean  # which sees what stands in a missing cell
        errors.linearise()
        return errors.mean()

    given = rows
    squares, count = measured(rows)
    np.testing.assert_array_equal(count.numpy(), (~holes).sum(0))
    filled = Cells(torch.where(rows.mask > 0, rows.x, 7.0), rows.mask)
    torch.testing.assert_close(measured(filled)[0], squares)


@pytest.mark.parametrize("n_seen", [10, 30, 40])
@pytest.mark.parametrize("n_rows", [300, 1000])
def test_a_column_with_few_cells_has_a_noise_of_its_own(n_rows, n_seen):
    """Nothing says what is in it; the others are known almost exactly."""
    rng = np.random.default_rng(1)
    X = np.column_stack([table(n_rows), 50 + rng.normal(size=n_rows)])
    X[rng.permutation(n_rows)[n_seen:], 5] = np.nan
    vae = InfoVAETransformer(2, random_state=0).fit(X)
    ratios = vae.noise_variance_ / np.nanvar(X, axis=0)
    assert np.median(ratios[:5]) < 0.2
    assert ratios[5] > 0.5


def test_a_column_without_a_cell_keeps_its_noise():
    X = table()
    X[:, 3] = np.nan
    learned, calibrated = (
        small(likelihood=likelihood).fit(X)
        for likelihood in (Gaussian("learned", shared=True), Gaussian())
    )
    assert calibrated.noise_variance_[3] == pytest.approx(learned.noise_variance_[3])


@pytest.mark.parametrize("n_rows", [1, 2, 31])
def test_a_few_rows_set_no_noise(n_rows):
    """Of one row the error is next to nothing, which says nothing about others."""
    X = table(n_rows)
    learned, calibrated = (
        small(likelihood=Gaussian(scale)).partial_fit(X).noise_variance_
        for scale in ("learned", "calibrated")
    )
    np.testing.assert_allclose(calibrated, learned, rtol=1e-5)


@pytest.mark.parametrize("far", [1e3, 1e6, 1e12])
def test_a_cell_far_out_sets_no_noise(far):
    X = table()
    X[5, 1] = far
    vae = small(early_stopping=False).fit(X)
    clean = small(early_stopping=False).fit(np.delete(X, 5, axis=0))
    np.testing.assert_allclose(vae.noise_variance_, clean.noise_variance_, rtol=0.5)


def test_a_shared_noise_stays_shared():
    vae = small(likelihood=Gaussian(shared=True)).fit(table())
    ratios = vae.noise_variance_ / table().var(0)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


class Opaque(torch.nn.Module):
    """A decoder through which no tangent can be pushed."""

    def __init__(self, n_components, n_outputs):
        super().__init__()
        self.linear = torch.nn.Linear(n_components, n_outputs)

    def forward(self, z):
        return self.linear(torch.from_numpy(z.detach().cpu().numpy()).to(z)) + self.linear(z)


def test_the_noise_of_a_decoder_without_a_derivative_stays_as_learned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")  # torch.func's own
        vae = small(decoder=Opaque).fit(table())
    learned = small(decoder=Opaque, likelihood=Gaussian("learned", shared=True)).fit(table())
    np.testing.assert_array_equal(vae.noise_variance_, learned.noise_variance_)


def test_a_linear_gaussian_model_is_measured_exactly():
    """E (x - o(z))^2 = (x - o(m))^2 + J P^-1 J', with the posterior written out."""
    X = table()
    vae = small(hidden_layer_sizes=(), early_stopping=False).fit(X)
    module, rows = copy.deepcopy(vae.module_).double(), rows_of(vae, X)
    errors = SquaredErrors(module, module.likelihood, rows)
    errors.linearise()
    W, b = module.decoder.weight.detach(), module.decoder.bias.detach()
    v = module.likelihood.noise_variance()
    covariance = torch.linalg.inv(torch.eye(2).double() + W.T @ (W / v[:, None]))
    mode = (rows.x - b) / v @ W @ covariance
    expected = (rows.x - b - mode @ W.T).square().mean(0) + (W @ covariance * W).sum(1)
    torch.testing.assert_close(errors.mean()[0], expected, rtol=1e-9, atol=1e-12)
