"""On a CUDA device the estimator is what it is on a CPU: ``pytest -m gpu``."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from small_tables import holes, small

from sk_infovae import InfoVAETransformer
from sk_infovae.divergences import DIVERGENCES
from sk_infovae.model_selection import InfoVAEGridSearchCV

DEVICE = "cuda"
X = load_wine().data

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no CUDA device"
    ),
]


def with_dropout(n_inputs, n_components):
    """It draws from the device's global generator."""
    return torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(n_inputs, 2 * n_components))


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_fit_stays_on_the_device_and_is_near_the_cpus(divergence):
    """Rounding and noise differ, so codes are near, and scores are those of one model."""
    vae = small(divergence=divergence, device=DEVICE, max_epochs=20)
    on_device, on_cpu = clone(vae).fit(X), clone(vae).set_params(device="cpu").fit(X)
    assert {p.device.type for p in on_device.module_.parameters()} == {DEVICE}
    assert on_device.history_[-1]["loss"] == pytest.approx(on_cpu.history_[-1]["loss"], abs=0.5)
    moved = pickle.loads(pickle.dumps(on_device))
    np.testing.assert_array_equal(moved.transform(X), on_device.transform(X))
    assert np.isfinite(on_device.score_samples(X)).all()


def test_the_same_seed_gives_the_same_bits():
    first, second = (small(device=DEVICE).fit(X).transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_every_answer_of_a_saved_model(tmp_path):
    table = holes(X)
    vae = small(device=DEVICE).fit(table)
    vae.save(tmp_path / "model.infovae")
    loaded = InfoVAETransformer.load(tmp_path / "model.infovae")
    np.testing.assert_allclose(loaded.transform(table), vae.transform(table), atol=1e-5)
    np.testing.assert_allclose(loaded.score_samples(table), vae.score_samples(table), atol=1e-3)
    np.testing.assert_allclose(loaded.impute(table), vae.impute(table), rtol=1e-3, atol=1e-3)
    assert vae.information(table).n_rows == len(table)


def test_a_search_trains_its_stacks_there():
    vae, grid = small(device=DEVICE), {"alpha": [0.0, 0.9], "lambd": [1.0, 10.0]}
    found = InfoVAEGridSearchCV(vae, grid, cv=2).fit(X)
    assert {p.device.type for p in found.best_estimator_.module_.parameters()} == {DEVICE}
    alone = clone(vae).set_params(**found.best_params_).fit(X)
    np.testing.assert_allclose(found.transform(X), alone.transform(X), atol=2e-2)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_global_generators_are_left_alone():
    before = torch.cuda.get_rng_state() if DEVICE == "cuda" else torch.get_rng_state()
    small(device=DEVICE, encoder=with_dropout).fit(X)
    after = torch.cuda.get_rng_state() if DEVICE == "cuda" else torch.get_rng_state()
    assert torch.equal(before, after)
