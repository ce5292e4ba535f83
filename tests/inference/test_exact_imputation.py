"""Imputation, likelihood and multiple draws against exact answers."""

import numpy as np
import pandas as pd
import pytest
import torch
from linear_models import linear
from sklearn.model_selection import train_test_split

from sk_infovae._inference.imputation import impute_draws
from sk_infovae.datasets import make_mixed_table

N_ROWS, N_DRAWS = 120, 3000
NUMBERS_ONLY = {
    "n_numeric": 5,
    "n_positive": 0,
    "n_booleans": 0,
    "n_categories": 0,
    "n_ordinal": 0,
    "n_counts": 0,
}


@torch.no_grad()
def with_truth(vae, truth):
    """The fitted linear model with the known law in place of what it learned."""
    decoder, layout = vae.module_.decoder, vae._layout
    for block in vae.module_.likelihood.blocks():
        width = block.likelihood.n_outputs(1)
        for k, j in enumerate(block.columns.tolist()):
            column, parameters = truth.columns[j], block.parameters
            weight, bias, variance = column.weight, column.bias, column.noise**2
            if column.likelihood == "gaussian":
                centre, scale = layout.standardizer.centre[j], layout.standardizer.scale[j]
                weight, bias, variance = (
                    weight / scale,
                    (bias - centre) / scale,
                    variance / scale**2,
                )
            if column.likelihood == "categorical":  # the most frequent level comes first
                order = [column.levels.index(one) for one in layout.schema.columns[j].levels]
                weight, bias = weight[order], bias[order]
            if column.likelihood == "ordinal":
                steps = np.log(np.expm1(np.diff(column.cuts)))
                parameters["cuts"][k] = torch.tensor([column.cuts[0], *steps])
            if "correction" in parameters:
                rho = np.log(variance - block.likelihood.floor)
                parameters["correction"][k] = rho - parameters["log_variance"]
            elif "log_variance" in parameters:
                parameters["log_variance"][k] = np.log(variance - block.likelihood.floor)
            first = block.outputs.start + k * width
            decoder.weight[first : first + width] = torch.tensor(weight)
            decoder.bias[first : first + width] = torch.tensor(bias)
    return vae


def conditional_normal(truth, row):
    """Mean and covariance of the missing cells of a normal row, in closed form."""
    W = np.concatenate([column.weight for column in truth.columns])
    mean = np.concatenate([column.bias for column in truth.columns])
    C = W @ W.T + np.diag([column.noise**2 for column in truth.columns])
    m, o = np.isnan(row), ~np.isnan(row)
    gain = np.linalg.solve(C[np.ix_(o, o)], C[np.ix_(o, m)]).T
    return mean[m] + gain @ (row - mean)[o], C[np.ix_(m, m)] - gain @ C[np.ix_(o, m)]


@pytest.fixture(scope="module")
def normal():
    """A normal table with holes, its truth, and the model that knows the truth."""
    X, truth = make_mixed_table(600, **NUMBERS_ONLY, missing=0.3, random_state=0, return_truth=True)
    X = X.to_numpy()
    vae = linear(n_importance_samples=1024).fit(X)
    return X[:N_ROWS], truth, with_truth(vae, truth)


@pytest.fixture(scope="module", params=["mcar", "mar"])
def mixed(request):
    """The same of a mixed table."""
    X, truth = make_mixed_table(
        400, missing=0.3, mechanism=request.param, random_state=2, return_truth=True
    )
    vae = linear(n_importance_samples=1024, likelihood=truth.likelihood).fit(X)
    return X.iloc[:N_ROWS], truth, with_truth(vae, truth)


@pytest.fixture(scope="module")
def filled(mixed):
    X, _, vae = mixed
    return vae.impute(X)


def test_conditional_mean_of_a_normal_table(normal):
    X, truth, vae = normal
    filled = vae.impute(X)
    errors = []
    for row, full in zip(X, filled, strict=True):
        mean, covariance = conditional_normal(truth, row)
        errors.extend((full[np.isnan(row)] - mean) / np.sqrt(np.diag(covariance)))
    print(f"\n{len(errors)} cells, largest error {np.abs(errors).max():.4f} sd")
    assert np.abs(errors).max() < 0.02
    assert np.sqrt(np.mean(np.square(errors))) < 0.002


def test_score_of_a_normal_table(normal):
    X, truth, vae = normal
    frame = pd.DataFrame(X, columns=list(truth.complete))
    errors = vae.score_samples(X) - truth.score_samples(frame)
    assert np.abs(errors).max() < 0.02
    assert abs(errors.mean()) < 0.002


def test_multiple_imputations_of_a_normal_table(normal):
    """Mean and covariance of the draws within 5 standard errors of the exact ones."""
    X, truth, vae = normal
    rows = X[:12]
    draws = np.array(vae.impute(rows, n_draws=N_DRAWS, random_state=0))
    n_pairs = 0
    for i, row in enumerate(rows):
        mean, C = conditional_normal(truth, row)
        mine = draws[:, i, np.isnan(row)]
        spread = np.sqrt(np.diag(C))
        assert (np.abs(mine.mean(0) - mean) < 5 * spread / np.sqrt(N_DRAWS)).all()
        error = np.sqrt((np.outer(np.diag(C), np.diag(C)) + C**2) / N_DRAWS)
        if len(C):
            assert (np.abs(np.cov(mine.T).reshape(C.shape) - C) < 5 * error).all()
        n_pairs += (np.abs(C) > 10 * error).sum() - len(C)
    assert n_pairs > 4  # cells of one row vary together


def test_score_of_a_mixed_table(mixed):
    X, truth, vae = mixed
    errors = vae.score_samples(X) - truth.score_samples(X)
    print(f"\nmean error {errors.mean():.5f}, largest {np.abs(errors).max():.4f} nats")
    assert abs(errors.mean()) < 0.005
    assert np.abs(errors).max() < 0.05


def test_conditional_means_of_a_mixed_table(mixed, filled):
    X, truth, _ = mixed
    for column, holes in zip(truth.columns, X.isna().to_numpy().T, strict=True):
        if column.levels or not holes.any():
            continue
        exact = truth.expect(X, column.name)[holes]
        errors = filled[column.name][holes].to_numpy(dtype=float) - exact
        rounding = 0.5 if column.likelihood == "poisson" else 0.0
        assert (np.abs(errors) < rounding + 0.02 * np.std(exact)).all()


def test_modes_of_a_mixed_table(mixed, filled):
    """The most probable level, wherever it leads by two hundredths."""
    X, truth, _ = mixed
    n_not_first = 0
    for column in truth.columns:
        if column.levels:
            exact = truth.expect(X, column.name)
            second, first = np.sort(exact, axis=1)[:, -2:].T
            clear = X[column.name].isna().to_numpy() & (first > second + 0.02)
            expected = np.array(column.levels)[exact.argmax(1)]
            assert (filled[column.name][clear] == expected[clear]).all()
            n_not_first += (expected[clear] != column.levels[0]).sum()
    assert n_not_first > 20


def test_draws_of_a_mixed_table(mixed):
    """Share of every level, and mean of every number, within 5 standard errors."""
    X, truth, vae = mixed
    rows, columns = X.iloc[:20], vae._layout.schema.columns
    cells = vae._layout.schema.encode(rows)
    draws = impute_draws(vae._model().sampler(1024), cells, N_DRAWS, seed=0)
    for j, column in enumerate(truth.columns):
        holes = np.isnan(cells[:, j])
        exact, mine = truth.expect(rows, column.name)[holes], draws[:, holes, j]
        if column.levels:
            levels = [False, True] if column.likelihood == "bernoulli" else list(columns[j].levels)
            shares = (mine[..., None] == [levels.index(one) for one in column.levels]).mean(0)
            error = np.sqrt(exact * (1 - exact) / N_DRAWS)
            assert (np.abs(shares - exact) < 5 * error + 0.002).all()
        else:
            assert (np.abs(mine.mean(0) - exact) < 5 * mine.std(0) / np.sqrt(N_DRAWS)).all()


def test_a_row_with_nothing_in_it_is_filled_by_the_marginal_law(mixed):
    X, truth, vae = mixed
    nothing = X.iloc[:1].mask(np.ones((1, X.shape[1]), dtype=bool))
    cells = vae.impute(nothing).iloc[0]
    assert not cells.isna().any()
    for column in truth.columns:
        exact, cell = truth.expect(nothing, column.name)[0], cells[column.name]
        if column.levels:
            assert exact[column.levels.index(cell)] > exact.max() - 0.02
        else:
            rounding = 0.5 if column.likelihood == "poisson" else 0.0
            assert abs(cell - exact) <= rounding + 0.02 * abs(exact)


def test_a_trained_model_comes_near_the_exact_one():
    """Held-out rows.

    The law has 45 parameters; to learn them from 1,000 rows costs about 45 / 2000 = 0.02 nats a
    row (Wilks), and 0.1 is allowed. Imputations may err by a twentieth more than the exact ones;
    on average over the columns they err by less than 0.8 of what mean or mode would.
    """
    X, truth = make_mixed_table(1400, missing=0.2, random_state=1, return_truth=True)
    train, test, _, holes, _, complete = train_test_split(
        X, truth.holes, truth.complete, test_size=400, random_state=0
    )
    vae = linear(
        alpha=0,
        lambd=1,
        likelihood=truth.likelihood,
        lr=2e-2,
        max_epochs=60,
        early_stopping=False,
        n_importance_samples=256,
    ).fit(train)
    ours, exact = vae.score(test), truth.score_samples(test).mean()
    print(f"\nlog-likelihood {ours:.3f}, exact {exact:.3f}")
    assert exact - 0.1 < ours < exact + 0.1
    filled, shares = vae.impute(test), []
    for column, seen in zip(truth.columns, holes.T, strict=True):
        targets, best = complete[column.name][seen], truth.expect(test, column.name)[seen]
        guesses = filled[column.name][seen]
        if column.levels:
            best, naive = np.array(column.levels)[best.argmax(1)], train[column.name].mode()[0]
            ours, exact, naive = (np.mean(targets != one) for one in (guesses, best, naive))
        else:
            naive = train[column.name].mean()
            ours, exact, naive = (
                np.sqrt(np.mean(np.square((targets - one).astype(float))))
                for one in (guesses, best, naive)
            )
        print(f"{column.name:12} {ours:7.3f}, exact {exact:7.3f}, mean or mode {naive:7.3f}")
        assert ours < 1.05 * exact + 0.05 * naive
        shares.append(ours / naive)
    assert np.mean(shares) < 0.8
