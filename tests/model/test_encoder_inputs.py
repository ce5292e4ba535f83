"""What the encoder sees of a row: centred, scaled, and nothing of a missing cell."""

import math

import numpy as np
import pytest
import torch

from sk_infovae._model.inputs import FAR, EncoderInputs, drawn_in
from sk_infovae.likelihoods import Bernoulli, Categorical, Gaussian, LogNormal, Poisson

LIKELIHOODS = [Gaussian(), LogNormal(), Categorical(3), Bernoulli(), Poisson()]
HOLES = [1, 2]


@pytest.fixture
def rows():
    """Cells of five kinds, and a mask with holes in every column."""
    rng = np.random.default_rng(0)
    cells = [
        rng.normal(size=200),
        np.exp(5 + 2 * rng.normal(size=200)),
        rng.choice(3, 200, p=[0.5, 0.3, 0.2]),
        rng.integers(0, 2, 200),
        rng.poisson(40, 200),
    ]
    mask = rng.random((200, 5)) < 0.7
    return torch.tensor(np.column_stack(cells)).float(), torch.tensor(mask)


def test_every_input_by_the_book(rows):
    """In order: plain numbers, scaled features, indicators less frequencies, marks of holes."""
    x, mask = rows
    inputs = EncoderInputs(LIKELIHOODS, HOLES)
    inputs.init_from_data(x, mask)
    seen = inputs(x, mask)
    assert seen.shape == (200, inputs.width) == (200, 2 + 2 + 3 + 2)
    torch.testing.assert_close(seen[:, :2], x[:, [0, 3]])
    for k, feature in [(2, x[:, 1].log()), (3, x[:, 4].log1p())]:
        observed = mask[:, {2: 1, 3: 4}[k]]
        part = feature[observed]
        expected = (part - part.mean()) / part.std(correction=0)
        torch.testing.assert_close(seen[observed, k], expected, rtol=1e-4, atol=1e-4)
    level = x[mask[:, 2], 2].long()
    indicators = torch.nn.functional.one_hot(level, 3).float()
    torch.testing.assert_close(seen[mask[:, 2], 4:7], indicators - indicators.mean(0))
    torch.testing.assert_close(seen[:, 7:], mask[:, HOLES].float())


def test_families_that_take_turns_keep_their_columns():
    """Each family is asked once for all its columns, which stand between those of others."""
    likelihoods = [Poisson(), LogNormal(), Poisson(), Gaussian(), LogNormal(), Poisson()]
    x = torch.arange(1.0, 25).view(4, 6)
    inputs = EncoderInputs(likelihoods)
    shown = inputs(x, None)
    expected = [x[:, 3], *((likelihoods[j].features(x[:, j])) for j in (0, 1, 2, 4, 5))]
    torch.testing.assert_close(shown, torch.stack(expected, 1))


def test_a_missing_cell_shows_nothing(rows):
    """Whatever stands in it, and also in a column that had no holes in fit."""
    x, mask = rows
    inputs = EncoderInputs(LIKELIHOODS, HOLES)
    inputs.init_from_data(x, mask)
    other = torch.where(mask, x, 1.0)
    other[:, [0, 3]] = x[:, [0, 3]]  # filled by the standardizer before
    torch.testing.assert_close(inputs(other, mask), inputs(x, mask))
    for column, part in [(1, slice(2, 3)), (2, slice(4, 7)), (4, slice(3, 4))]:
        assert (inputs(x, mask)[~mask[:, column], part] == 0).all()


def test_without_a_mask_every_cell_was_observed(rows):
    x, _ = rows
    inputs = EncoderInputs(LIKELIHOODS, HOLES)
    inputs.init_from_data(x, None)
    torch.testing.assert_close(inputs(x, None), inputs(x, torch.ones_like(x, dtype=torch.bool)))
    assert inputs(x, None)[:, 2:7].mean(0).abs().max() < 1e-5


def test_many_levels_are_embedded():
    inputs = EncoderInputs([Categorical(100)])
    x = torch.arange(100.0)[:, None]
    seen = inputs(x, None)
    assert seen.shape == (100, inputs.width) == (100, 16)
    assert len(torch.unique(seen, dim=0)) == 100
    assert inputs.tables["0"].requires_grad
    assert (inputs(x, torch.zeros_like(x)) == 0).all()


def test_numbers_alone_are_shown_as_they_are(rows):
    x = rows[0][:, :1]
    assert EncoderInputs([Gaussian()])(x, None) is x


def test_far_numbers_are_drawn_in():
    """Up to `FAR` unchanged, beyond it by the logarithm, smooth, odd and increasing."""
    x = torch.linspace(-1000, 1000, 4001, dtype=torch.float64)
    near = drawn_in(x)
    torch.testing.assert_close(near[x.abs() <= FAR], x[x.abs() <= FAR])
    torch.testing.assert_close(near, -near.flip(0))
    assert (near.diff() > 0).all()
    assert torch.isclose(near[-1], torch.tensor(FAR + np.log(1 + 1000 - FAR)))
    shown = EncoderInputs([Gaussian()], has_outliers=True)(x[:, None], None)
    torch.testing.assert_close(shown[:, 0], near)


@pytest.mark.parametrize("far", [1e8, 1e20, 3e38, math.inf])
def test_the_farthest_numbers_are_drawn_in_without_rounding(far):
    expected = FAR + math.log(min(far, torch.finfo(torch.float32).max))
    found = drawn_in(torch.tensor([far, -far]))
    torch.testing.assert_close(found, torch.tensor([expected, -expected]))
