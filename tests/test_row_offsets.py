"""Counts relative to their row's total: a law of log-linear models, from the loss to imputation."""

import io

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LinearRegression

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae._inference.proposal import curvature_of
from sk_infovae._model.vae import VAE
from sk_infovae.likelihoods import ColumnLikelihoods, Gaussian, NegativeBinomial, Poisson

FAMILIES = [Poisson, NegativeBinomial]


def counts(n=700, n_columns=20):
    """Counts of two factors, in rows of which some were counted much longer than others."""
    rng = np.random.default_rng(0)
    z, slopes = rng.normal(size=(n, 2)), 0.6 * rng.normal(size=(2, n_columns))
    length = np.exp(0.8 * rng.normal(size=n))
    rate = length[:, None] * np.exp(z @ slopes + 0.5 * rng.normal(size=n_columns) + 1)
    return rng.poisson(rate).astype(float), z, length


@pytest.fixture(scope="module")
def table():
    return counts()


@pytest.fixture(scope="module")
def fitted(table):
    X, _, _ = table
    likelihood = NegativeBinomial(offset="total")
    return InfoVAETransformer(2, likelihood=likelihood, random_state=0).fit(X[:500])


def mixed_block(family, x, mask):
    """Two counts, a number between them, with the parameters that these rows start from."""
    of_counts = family(offset="total")
    block = ColumnLikelihoods([of_counts, Gaussian("learned"), of_counts]).double()
    block.init_from_data(x, mask)
    return block


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_move_by_the_log_of_the_observed_total(family):
    """Of the family's own columns alone, relative to the average row's."""
    rng = np.random.default_rng(1)
    x = torch.tensor(np.column_stack([rng.poisson(5, 50), rng.normal(size=50), rng.poisson(9, 50)]))
    x, mask = x.double(), torch.tensor(rng.random((50, 3)) < 0.8).double()
    mask[0], mask[1] = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    x[1, 0] = 0
    block, outputs = mixed_block(family, x, mask), torch.tensor(rng.normal(size=(50, 3)))
    both, seen = x[:, [0, 2]], mask[:, [0, 2]]
    means = (both * seen).sum(0) / seen.sum(0)
    offset, some = torch.zeros(50).double(), seen.sum(1) > 0
    total = (both * seen).sum(1).clamp(min=0.5)
    offset[some] = (total / (means * seen).sum(1))[some].log()
    assert offset[1].item() == pytest.approx(
        np.log(0.5 / means[0].item())
    )  # where none was counted
    own = {name: value.detach() for name, value in block.parameter_dicts[0].items()}
    expected = family().log_prob(both, outputs[:, :2] + offset[:, None], own, seen)
    expected = expected + block_of_number(block).log_prob(
        x[:, [1]], outputs[:, [2]], block.parameter_dicts[1], mask[:, [1]]
    )
    torch.testing.assert_close(block.log_prob(x, outputs, mask), expected)
    shifted = outputs + torch.stack([offset, offset, torch.zeros_like(offset)], 1)
    torch.testing.assert_close(block.with_offset(x, outputs, mask), shifted)


def block_of_number(block):
    return block._likelihoods[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_code_does_not_hold_how_long_was_counted(family, table):
    X, z, length = table

    def explained(likelihood, target):
        vae = InfoVAETransformer(2, likelihood=likelihood, random_state=0).fit(X[:500])
        Z = vae.transform(X)
        return LinearRegression().fit(Z[:500], target[:500]).score(Z[500:], target[500:])

    assert explained(family(), np.log(length)) > 0.5
    assert explained(family(offset="total"), np.log(length)) < 0.1
    assert explained(family(offset="total"), z) > 0.8


def test_the_same_shares_have_the_same_dispersion_to_start_from():
    """Measured at the average row's total: longer counts don't look like more dispersion."""
    rng = np.random.default_rng(0)
    length = np.exp(0.8 * rng.normal(size=(40_000, 1)))
    rates = np.repeat([3.0, 8.0, 20.0, 40.0], 6)
    x = torch.tensor(rng.poisson(rng.gamma(4.0, length * rates / 4.0))).double()
    started = NegativeBinomial(offset="total").init_from_data(x, None).parameters
    assert (started["log_dispersion"].exp() / 4).log().abs().max() < 0.3
    plain = NegativeBinomial().init_from_data(x, None).parameters["log_dispersion"].exp()
    assert plain.max() < 1


def test_missing_counts_are_filled_for_the_rows_own_total(fitted, table):
    """Twice the observed counts make for twice the filled ones, but for what more counts tell."""
    X, _, _ = table
    rows = X[500:600]
    holed = rows.copy()
    holed[:, ::4] = np.nan
    missing = np.isnan(holed)
    once, twice = (fitted.impute(k * holed)[missing] for k in (1, 2))
    assert np.median(twice / once) == pytest.approx(2, rel=0.05)
    drawn = np.mean(fitted.impute(holed, n_draws=40, random_state=0), axis=0)[missing]
    assert drawn.sum() == pytest.approx(once.sum(), rel=0.1)
    wrong = np.log1p(once) - np.log1p(rows[missing])
    assert np.square(wrong).mean() < 0.5


def test_codes_alone_stand_for_the_average_row(fitted, table):
    X, _, _ = table
    back = fitted.inverse_transform(fitted.transform(X[:500]))
    totals = back.sum(axis=1)
    assert abs(np.log(totals.mean() / X[:500].sum(axis=1).mean())) < 0.3
    assert (
        totals.std() / totals.mean() < 0.6 * X[:500].sum(axis=1).std() / X[:500].sum(axis=1).mean()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_proposal_knows_of_the_offset(family):
    """Its precision is the expected curvature of log p(x, z), for short rows and for long ones."""
    x = torch.tensor(counts(40)[0])
    block = ColumnLikelihoods([family(offset="total")] * 20).double()
    block.init_from_data(x, None)
    outputs, jacobian = torch.randn(20).double(), torch.randn(40, 20, 2).double()
    given = block.with_offset(x, outputs.expand(40, -1), None)
    shifted = (x.sum(1) / x.mean(0).sum()).log()[:, None] + outputs
    torch.testing.assert_close(given, shifted)
    module = VAE(torch.nn.Identity(), torch.nn.Linear(2, 20).double(), block, torch.nn.Identity())
    for parameter in block.parameters():
        parameter.requires_grad_(False)
    z = torch.zeros(40, 2).double()
    _, precision = curvature_of(module, z, outputs.expand(40, -1), jacobian, x, None)
    own = {name: value.detach() for name, value in block.parameter_dicts[0].items()}
    fisher = family().fisher(shifted, own)
    expected = jacobian.mT @ (fisher[..., None] * jacobian) + torch.eye(2)
    torch.testing.assert_close(precision, expected)


def saved(vae):
    file = io.BytesIO()
    vae.save(file)
    file.seek(0)
    return file


def test_a_file_holds_the_average_row(fitted, table):
    X, _, _ = table
    loaded = InfoVAETransformer.load(saved(fitted))
    np.testing.assert_array_equal(loaded.score_samples(X[:30]), fitted.score_samples(X[:30]))
    np.testing.assert_array_equal(
        loaded.inverse_transform([[0.5, 1]]), fitted.inverse_transform([[0.5, 1]])
    )


def test_csr_is_the_same_table(fitted, table):
    X, _, _ = table
    np.testing.assert_array_equal(fitted.transform(sparse.csr_matrix(X)), fitted.transform(X))


@pytest.mark.parametrize("family", FAMILIES)
def test_refuses_another_offset(family, table):
    vae = InfoVAETransformer(2, likelihood=family(offset="rows"))
    with pytest.raises(ValueError, match=r"offset=None or 'total' .* got offset='rows'"):
        vae.fit(table[0][:50])


def test_poisson_starts_at_the_optimum():
    """The mean counts, each row at its own total, exactly: the gradient there is 0."""
    x = torch.tensor(counts()[0])
    family = Poisson(offset="total")
    outputs, parameters = family.init_from_data(x, None)
    outputs.requires_grad_()
    given = outputs + family.row_offset(x, parameters, None)
    (slope,) = torch.autograd.grad(family.log_prob(x, given, parameters, None).mean(), outputs)
    assert slope.abs().max() < 1e-12


def test_a_large_cell_that_is_missing_does_not_shorten_its_row():
    """The total is compared with what the observed columns count on average."""
    rng = np.random.default_rng(0)
    means = np.exp(rng.normal(2, 2, size=20))
    X = rng.poisson(np.exp(0.5 * rng.normal(size=(600, 1))) * means).astype(float)
    largest = means.argmax()
    for train in (X[:400], np.where(rng.random((400, 20)) < 0.2, np.nan, X[:400])):
        vae = InfoVAETransformer(2, likelihood=Poisson(offset="total"), random_state=0).fit(train)
        holed = X[400:].copy()
        holed[:, largest] = np.nan
        ratio = vae.impute(holed)[:, largest] / X[400:, largest]
        assert abs(np.log(np.median(ratio))) < 0.4


def test_rows_without_a_count_leave_the_start_alone():
    """A block that is missing, and a row in which nothing was counted."""
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.poisson(rng.gamma(0.5, [6.0, 16.0, 40.0, 80.0] * 10, size=(640, 40))))
    family = NegativeBinomial(offset="total")
    start = family.init_from_data(x.double(), None)
    with_one = torch.cat([x, torch.zeros(1, 40)]).double()
    found = family.init_from_data(with_one, None)
    for name, value in start.parameters.items():
        assert (found.parameters[name] - value).abs().max() < 0.05
    more = torch.cat([x, torch.ones(1000, 40)]).double()
    mask = torch.ones_like(more)
    mask[640:] = 0
    found = family.init_from_data(more, mask)
    torch.testing.assert_close(found.outputs, start.outputs)
    for name, value in start.parameters.items():
        torch.testing.assert_close(found.parameters[name], value)


def test_noise_beside_large_counts_is_calibrated_by_all_of_them():
    """A count of a hundred is not a cell far outside."""
    rng = np.random.default_rng(0)
    z, length = rng.normal(size=(900, 2)), np.exp(0.7 * rng.normal(size=(900, 1)))
    rate = length * np.exp(0.6 * z @ rng.normal(size=(2, 12)) + np.linspace(0, 5, 12))
    numbers = z + 0.5 * rng.normal(size=(900, 2))
    X = np.hstack([rng.poisson(rate), numbers])
    family = dict.fromkeys(range(12), Poisson(offset="total"))
    vae = InfoVAETransformer(2, likelihood=family, random_state=0).fit(X)
    assert vae.noise_variance_[12:] == pytest.approx([0.25, 0.25], rel=0.35)


def test_what_a_model_explains_is_measured_at_the_rows_own_totals(fitted, table):
    X, _, _ = table
    assert fitted.explained_variance_ratio_.sum() > 0.5
    assert metrics.reconstruction_r2(fitted, X[500:]) > 0.5


def test_one_that_was_pickled_before_there_were_offsets_has_none():
    old = Poisson.__new__(Poisson)
    assert vars(old) == {}
    assert old == Poisson()
    assert old != Poisson(offset="total")
    assert repr(old) == repr(Poisson())
