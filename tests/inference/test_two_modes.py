"""A posterior with several modes: the score finds the highest, and a second one beside it."""

import math

import numpy as np
import pytest
import torch
from oracles import encoded, quadrature_score
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_infovae import InfoVAETransformer
from sk_infovae._inference import proposal
from sk_infovae._inference.proposal import (
    GaussianProposal,
    Scouts,
    best_scouts,
    curvature,
    find_mode,
    log_joint,
    two_modes,
)
from sk_infovae._model.cells import Cells
from sk_infovae.likelihoods import Gaussian


class Squares(torch.nn.Module):
    """x says how far z is from 0, and not on which side."""

    def __init__(self, n_components, n_outputs):
        super().__init__()
        self.last = torch.nn.Linear(n_components, n_outputs)

    def forward(self, z):
        return self.last(z.square())


@pytest.fixture(scope="module")
def sides():
    """The true decoder of x = z^2 w + noise."""
    rng, w = np.random.default_rng(0), np.array([[1.0, 2.0, -1.0]])
    X = rng.normal(size=(400, 1)) ** 2 @ w
    X += 0.1 * X.std(axis=0) * rng.normal(size=X.shape)
    vae = InfoVAETransformer(
        1, decoder=Squares, likelihood=Gaussian(0.1), max_epochs=2, random_state=0
    ).fit(X)
    scale = vae._layout.standardizer
    with torch.no_grad():
        last = vae.module_.decoder.last
        last.weight.copy_(torch.as_tensor(w / scale.scale).mT)
        last.bias.copy_(torch.as_tensor(-scale.centre / scale.scale))
    return vae, X


def test_both_sides_count(sides, monkeypatch):
    vae, X = sides
    rows = X[np.argsort(-X[:, 0])[10:110]]
    exact = quadrature_score(vae, rows)
    np.testing.assert_allclose(vae.score_samples(rows), exact, atol=0.03)
    monkeypatch.setattr(proposal, "WORTH", -math.inf)
    one_side = vae.score_samples(rows) - exact
    assert np.median(one_side) == pytest.approx(-math.log(2), abs=0.1)


def test_the_two_modes_are_those_of_both_sides(sides):
    vae, X = sides
    rows = Cells(*encoded(vae, X[np.argsort(-X[:, 0])[10:60]])[1:3])
    module = encoded(vae, X[:1])[0]
    with torch.no_grad():
        fitted = find_mode(module, module.encode(*rows).mean, *rows)
        first, second = two_modes(module, fitted, rows, Scouts.send(module, 1, rows.x))
        heights = [log_joint(module, one.mean, *rows) for one in (first, second)]
    torch.testing.assert_close(second.mean, -first.mean, rtol=0.02, atol=0.02)
    torch.testing.assert_close(heights[0], heights[1], rtol=0, atol=0.01)


class Watchful(Squares):
    def forward(self, z):
        assert z.numel()
        return super().forward(z)


def test_no_decoder_sees_a_batch_without_rows():
    X = load_digits().data[:60]
    vae = InfoVAETransformer(2, decoder=Watchful, max_epochs=2, random_state=0).fit(X)
    assert np.isfinite(vae.score_samples(X[:1])).all()
    assert np.isfinite(vae.score_samples(X)).all()


def test_a_mode_that_is_far_lower_gets_no_draws(sides, monkeypatch):
    vae, X = sides
    rows = Cells(*encoded(vae, X[np.argsort(-X[:, 0])[10:60]])[1:3])
    module = encoded(vae, X[:1])[0]
    with torch.no_grad():
        poor = GaussianProposal(rows.x[:, :1] * 0 + 6.0, rows.x[:, :1, None] * 0 + 50.0)
        first, second = two_modes(module, poor, rows, Scouts.send(module, 1, rows.x))
    torch.testing.assert_close(first.mean, second.mean)
    assert (first.mean.abs() < 5).all()


DIGITS = {
    "default": {},
    "alpha 0": {"alpha": 0, "lambd": 1},
    "alpha .9": {"alpha": 0.9},
    "kl": {"alpha": 0.9, "lambd": 1, "divergence": "kl"},
}


@pytest.mark.parametrize("name", DIGITS)
def test_scores_of_maps_are_those_of_a_grid(name):
    """Without another mode the rows of such maps miss .1 to 5 nats on average."""
    A, B = train_test_split(load_digits().data, random_state=0)
    vae = InfoVAETransformer(2, max_epochs=40, random_state=0, **DIGITS[name]).fit(A)
    rows = B[:60]
    gap = vae.score_samples(rows) - quadrature_score(vae, rows)
    print(f"\n{name}: mean {gap.mean():+.4f}, worst {gap.min():+.3f}")
    assert abs(gap.mean()) < 0.05
    assert np.abs(gap).max() < 1.0


def test_what_a_scout_promises_is_a_step_of_gauss_newton(sides):
    vae, X = sides
    module, x, mask, _ = encoded(vae, X[:30])
    with torch.no_grad():
        nowhere = GaussianProposal(torch.full_like(x[:, :1], 1e6), torch.ones(30, 1, 1).double())
        start, promise = best_scouts(module, Cells(x, mask), nowhere, Scouts.send(module, 1, x))
        gradient, precision = curvature(module, start, x, mask)
        gain = 0.5 * (gradient * torch.linalg.solve(precision, gradient)).sum(-1)
        expected = log_joint(module, start, x, mask) + gain
    torch.testing.assert_close(promise, expected)


def test_scouts_are_the_same_in_any_company(sides, monkeypatch):
    vae, X = sides
    module, x, mask, _ = encoded(vae, X[:30])
    with torch.no_grad():
        fitted = find_mode(module, module.encode(x, mask).mean, x, mask)
        together = best_scouts(module, Cells(x, mask), fitted, Scouts.send(module, 1, x))
        monkeypatch.setattr(proposal, "LOOK_CELLS", 1)
        alone = best_scouts(module, Cells(x, mask), fitted, Scouts.send(module, 1, x))
    for mine, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
