"""Tables with known answers: their laws, and the answers against brute force and closed form."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from scipy.special import expit
from sklearn.model_selection import train_test_split

from sk_infovae.datasets import make_mixed_table
from sk_infovae.datasets.truth import Column

NONE = dict.fromkeys(
    ["n_numeric", "n_positive", "n_booleans", "n_categories", "n_ordinal", "n_counts"], 0
)
KINDS = ["number", "positive", "boolean", "category", "ordinal", "count"]


@pytest.fixture(scope="module")
def mixed():
    return make_mixed_table(300, missing=0.3, random_state=0, return_truth=True)


def codes(X, column):
    """A column of a complete table as numbers, levels by their position."""
    series = X[column.name]
    return np.array([column.levels.index(x) if column.levels else float(x) for x in series])


def density(column, x, z):
    """p(x|z) of one cell at z (m, d), by SciPy's own distributions and McCullagh's formula."""
    output = z @ column.weight.T + column.bias
    if column.likelihood == "gaussian":
        return stats.norm.pdf(x, output[:, 0], column.noise)
    if column.likelihood == "lognormal":
        return stats.lognorm.pdf(x, column.noise, scale=np.exp(output[:, 0]))
    if column.likelihood == "poisson":
        return stats.poisson.pmf(x, np.exp(output[:, 0]))
    if column.likelihood == "bernoulli":
        return stats.bernoulli.pmf(x, expit(output[:, 0]))
    if column.likelihood == "categorical":
        odds = np.exp(output)
        return (odds / odds.sum(1, keepdims=True))[:, int(x)]
    below = np.column_stack([0 * output, expit(column.cuts - output), 0 * output + 1])
    return np.diff(below, axis=1)[:, int(x)]


def variance_given_mean(column, mean):
    """Var(x|z) of a column of numbers."""
    if column.likelihood == "lognormal":
        return np.expm1(column.noise**2) * mean**2
    return mean if column.likelihood == "poisson" else np.full_like(mean, column.noise**2)


# --- the table


def test_names_shapes_and_types():
    X, truth = make_mixed_table(
        7, n_numeric=2, n_levels=3, missing=0.4, random_state=0, return_truth=True
    )
    assert list(X) == ["number_0", "number_1", *(f"{kind}_0" for kind in KINDS[1:])]
    types = ["float64", "float64", "float64", "boolean", "category", "category", "Int64"]
    assert list(map(str, X.dtypes)) == list(map(str, truth.complete.dtypes)) == types
    assert X["category_0"].cat.categories.to_list() == ["level_0", "level_1", "level_2"]
    assert not X["category_0"].cat.ordered
    assert X["ordinal_0"].cat.ordered
    assert truth.latents.shape == (7, 2)
    np.testing.assert_array_equal(X.isna(), truth.holes)
    assert not truth.complete.isna().any(axis=None)
    assert X.mask(truth.holes).equals(truth.complete.mask(truth.holes))


@pytest.mark.parametrize("kind", range(6))
def test_each_kind_can_stand_alone(kind):
    name = list(NONE)[kind]
    X, truth = make_mixed_table(20, **(NONE | {name: 2}), random_state=0, return_truth=True)
    assert list(X) == [f"{KINDS[kind]}_0", f"{KINDS[kind]}_1"]
    assert np.isfinite(truth.score_samples(X)).all()


def test_polars_holds_the_same_table(mixed):
    X, truth = mixed
    other, also = make_mixed_table(
        300, missing=0.3, library="polars", random_state=0, return_truth=True
    )
    assert other.schema["category_0"] == pl.Categorical
    assert other.schema["ordinal_0"] == pl.Enum(["level_0", "level_1", "level_2", "level_3"])
    assert (other.schema["boolean_0"], other.schema["count_0"]) == (pl.Boolean, pl.Int64)
    for name in X:
        cells = [None if pd.isna(cell) else cell for cell in X[name]]
        assert other[name].to_list() == cells
    np.testing.assert_array_equal(also.score_samples(other), truth.score_samples(X))
    np.testing.assert_array_equal(also.score_samples(X), truth.score_samples(X))


def test_seeds():
    make = lambda seed: make_mixed_table(50, missing=0.2, random_state=seed)  # noqa: E731
    assert make(3).equals(make(3))
    assert not make(3).equals(make(4))
    assert not make(None).equals(make(None))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(None)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    generator = np.random.RandomState(0)
    assert not make(generator).equals(make(generator))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_without_the_library(monkeypatch, library):
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(ImportError, match=f"library='{library}' makes a DataFrame of {library}"):
        make_mixed_table(library=library)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_levels": 1}, "n_levels"),
        ({"missing": 1.5}, "missing"),
        ({"mechanism": "mnar"}, "mechanism"),
        ({"noise": 0}, "noise"),
        ({"library": "numpy"}, "library"),
        (NONE, "needs a column"),
    ],
)
def test_parameters_that_make_no_table(params, message):
    with pytest.raises(ValueError, match=message):
        make_mixed_table(**params)


# --- its laws


def test_latents_are_standard_normal():
    _, truth = make_mixed_table(4000, random_state=0, return_truth=True)
    for one in truth.latents.T:
        assert stats.kstest(one, "norm").pvalue > 0.01
    assert abs(np.corrcoef(truth.latents.T)[0, 1]) < 0.05


@pytest.mark.parametrize("n_components", [1, 3])
def test_draws_follow_the_law_given_z(n_components):
    """Residuals of the mean and of its variance have mean 0 within 4 standard errors."""
    X, truth = make_mixed_table(
        4000, n_components=n_components, noise=0.7, random_state=1, return_truth=True
    )
    for column in truth.columns:
        x, mean = codes(X, column), column.mean(truth.latents)
        if column.levels:
            residuals = (x[:, None] == np.arange(len(column.levels))) - mean
            variance = mean * (1 - mean)
        else:
            residuals = x[:, None] - mean
            variance = variance_given_mean(column, mean)
        scaled = residuals / np.sqrt(variance)
        for values in (scaled, scaled * truth.latents[:, :1], scaled**2 - 1):
            assert (np.abs(values.mean(0)) < 4 * values.std(0) / np.sqrt(len(X))).all()


def test_numbers_have_the_spread_that_noise_says():
    X, truth = make_mixed_table(
        4000, **(NONE | {"n_numeric": 5}), noise=0.5, random_state=0, return_truth=True
    )
    for column in truth.columns:
        signal = np.linalg.norm(column.weight)
        assert np.isclose(column.noise, 0.5 * signal)
        assert np.isclose(X[column.name].std(), signal * np.sqrt(1.25), rtol=0.05)


@pytest.mark.parametrize("mechanism", ["mcar", "mar"])
@pytest.mark.parametrize("missing", [0.0, 0.2, 0.8, 1.0])
def test_share_of_missing_cells(mechanism, missing):
    X = make_mixed_table(4000, missing=missing, mechanism=mechanism, random_state=0)
    share = X.isna().mean().to_numpy()
    if mechanism == "mar":
        assert share[0] == 0
        share = share[1:]
    np.testing.assert_allclose(share, missing, atol=0.03)


def test_holes_depend_on_the_first_column_or_on_nothing():
    for mechanism in ("mcar", "mar"):
        _, truth = make_mixed_table(
            4000, missing=0.3, mechanism=mechanism, random_state=0, return_truth=True
        )
        first = truth.complete["number_0"].rank().to_numpy() / 4000
        for j, column in enumerate(truth.columns[1:], start=1):
            holes = truth.holes[:, j]
            along = np.corrcoef(first, holes)[0, 1]
            assert along > 0.3 if mechanism == "mar" else abs(along) < 0.06
            expected = 0.3 + 0.3 * (2 * first - 1) if mechanism == "mar" else 0.3
            # Given the first column, the cell itself says no more of whether it is seen.
            rest = (holes - expected) * stats.zscore(codes(truth.complete, column))
            assert abs(rest.mean()) < 4 * rest.std() / np.sqrt(4000)


# --- its answers


@pytest.mark.parametrize("n_components", [1, 2])
def test_densities_are_those_of_scipy(n_components):
    X, truth = make_mixed_table(20, n_components=n_components, random_state=0, return_truth=True)
    z = 2 * truth.latents[:6]
    for column in truth.columns:
        x = codes(X, column)
        expected = np.stack([density(column, one, z) for one in x])
        ours = np.exp(column.statistics(x) @ column.natural(z).T)
        np.testing.assert_allclose(ours, expected, rtol=1e-9)
        assert (column.statistics(np.array([np.nan])) == 0).all()


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_numbers_alone_have_a_closed_form(noise):
    """A normal table: log-density, and mean of each column given the other observed cells."""
    X, truth = make_mixed_table(
        50, **(NONE | {"n_numeric": 4}), noise=noise, missing=0.3, random_state=0, return_truth=True
    )
    W = np.concatenate([column.weight for column in truth.columns])
    mean = np.concatenate([column.bias for column in truth.columns])
    C = W @ W.T + np.diag([column.noise**2 for column in truth.columns])
    scores = truth.score_samples(X)
    guesses = np.column_stack([truth.expect(X, name) for name in X])
    for i, row in enumerate(X.to_numpy()):
        o = ~np.isnan(row)
        exact = stats.multivariate_normal(mean[o], C[np.ix_(o, o)]).logpdf(row[o]) if any(o) else 0
        assert abs(scores[i] - exact) < 1e-4
        for j in range(4):
            other = o & (np.arange(4) != j)
            gain = np.linalg.solve(C[np.ix_(other, other)], C[other, j])
            exact = mean[j] + gain @ (row - mean)[other]
            assert abs(guesses[i, j] - exact) < 1e-3 * np.sqrt(C[j, j])


def test_answers_agree_with_brute_force(mixed):
    """100,000 draws of the prior, each column's density by SciPy: within 4 standard errors."""
    X, truth = mixed
    rows = X.iloc[:5]
    z = np.random.default_rng(0).standard_normal((100_000, 2))
    scores = truth.score_samples(rows)
    guesses = {column.name: truth.expect(rows, column.name) for column in truth.columns}
    for i in range(len(rows)):
        given = {column.name: np.ones(len(z)) for column in truth.columns}
        for column in truth.columns:
            cell = rows[column.name].iloc[[i]].dropna()
            if len(cell):
                x = codes({column.name: cell}, column)[0]
                given[column.name] = density(column, x, z)
        p = np.prod(list(given.values()), axis=0)
        assert abs(np.exp(scores[i]) - p.mean()) < 4 * p.std() / np.sqrt(len(z))
        for column in truth.columns:
            others = np.prod([given[name] for name in given if name != column.name], axis=0)
            error = column.mean(z) - np.atleast_1d(guesses[column.name][i])
            weighted = others[:, None] * error
            assert (np.abs(weighted.mean(0)) < 4 * weighted.std(0) / np.sqrt(len(z))).all()


def test_probabilities_sum_to_one_and_agree_with_the_score():
    """p(level, rest) / p(rest), level by level, is what `expect` says."""
    X, truth = make_mixed_table(40, missing=0.2, random_state=0, return_truth=True)
    for name in ("boolean_0", "category_0", "ordinal_0"):
        levels = next(column.levels for column in truth.columns if column.name == name)
        rest = truth.score_samples(X.assign(**{name: None}))
        joint = [truth.score_samples(X.assign(**{name: level})) for level in levels]
        probabilities = truth.expect(X, name)
        np.testing.assert_allclose(np.exp(np.stack(joint, 1) - rest[:, None]), probabilities)
        np.testing.assert_allclose(probabilities.sum(1), 1)


def test_log_likelihood_is_highest_at_the_truth(mixed):
    """The mean of log p_true - log p_other is a KL divergence: positive."""
    X, truth = mixed
    at_truth = truth.score_samples(X).mean()
    for factor in (0.7, 1.4):
        columns = tuple(
            replace(column, weight=factor * column.weight, noise=column.noise / factor)
            for column in truth.columns
        )
        assert replace(truth, columns=columns).score_samples(X).mean() < at_truth - 0.1


def test_any_rows_will_do(mixed):
    X, truth = mixed
    train, test = train_test_split(X, random_state=0)
    scores = pd.Series(truth.score_samples(X), index=X.index)
    np.testing.assert_allclose(truth.score_samples(test), scores[test.index])
    shuffled = train[list(reversed(list(X)))]
    np.testing.assert_allclose(truth.score_samples(shuffled), scores[train.index])
    unseen = test.assign(category_0="elsewhere")
    np.testing.assert_allclose(
        truth.score_samples(unseen), truth.score_samples(test.assign(category_0=None))
    )


def test_a_row_with_nothing_in_it(mixed):
    X, truth = mixed
    nothing = X.iloc[:1].mask(np.ones((1, X.shape[1]), dtype=bool))
    assert abs(truth.score_samples(nothing)[0]) < 1e-8
    marginal = truth.expect(nothing, "number_0")[0]
    assert np.isclose(marginal, truth.columns[0].bias[0])


def test_what_the_grid_can_not_answer():
    X, truth = make_mixed_table(5, n_components=3, random_state=0, return_truth=True)
    with pytest.raises(ValueError, match="n_components=3"):
        truth.score_samples(X)
    X, truth = make_mixed_table(50, n_numeric=40, noise=0.05, random_state=0, return_truth=True)
    with pytest.raises(ValueError, match="more noise or fewer columns"):
        truth.score_samples(X)


def test_likelihoods_by_name(mixed):
    _, truth = mixed
    assert truth.likelihood["count_0"] == "poisson"
    assert list(truth.likelihood) == list(truth.complete)
    assert all(isinstance(column, Column) for column in truth.columns)
