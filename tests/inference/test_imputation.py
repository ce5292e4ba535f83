"""Imputation, likelihood and multiple draws against exact answers, in every kind of table."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.model_selection import train_test_split

from sk_infovae import InfoVAETransformer
from sk_infovae._inference.imputation import impute_draws
from sk_infovae.datasets import make_mixed_table
from sk_infovae.exceptions import SchemaError

N_ROWS, N_DRAWS = 120, 3000
NUMBERS_ONLY = {
    "n_numeric": 5,
    "n_positive": 0,
    "n_booleans": 0,
    "n_categories": 0,
    "n_ordinal": 0,
    "n_counts": 0,
}


def linear(**params):
    """A linear model, to be set or trained for a moment."""
    defaults = {
        "hidden_layer_sizes": (),
        "max_epochs": 2,
        "n_importance_samples": 64,
        "random_state": 0,
    }
    return InfoVAETransformer(2, **(defaults | params))


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
            if "log_variance" in parameters:
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


# --- a model that knows the truth gives the exact answers


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


# --- a model that has to learn it


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


# --- every kind of table

N = 60
POLARS = ["float", "float32", "Int64", "boolean", "category", "string", "time"]


def every_type(seed=0):
    """A pandas DataFrame with a column of every type, and the same with holes."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=N)
    first, seconds = pd.Timestamp("2020-01-01"), rng.integers(0, 10**7, N)
    X = pd.DataFrame(
        {
            "float": z + 0.1 * rng.normal(size=N),
            "float32": (3 * z).astype(np.float32),
            "Int64": pd.array(rng.poisson(3, N), dtype="Int64"),
            "boolean": pd.array(z > 0, dtype="boolean"),
            "category": pd.Categorical(rng.choice(["x", "y", "z"], N)),
            "string": pd.array(rng.choice(["u", "v"], N), dtype="string"),
            "object": rng.choice(np.array(["p", "q"], dtype=object), N),
            "time": first + pd.to_timedelta(seconds, unit="s").as_unit("ns") + pd.Timedelta(7),
            "zone": (first + pd.to_timedelta(seconds, unit="s")).tz_localize("UTC"),
        },
        index=pd.Index(rng.permutation(N) + 100, name="row"),
    )
    holes = rng.random(X.shape) < 0.25
    holes[3] = True
    holed = X.mask(holes)
    assert (holed.dtypes == X.dtypes).all()
    return X, holed


def frames(library):
    X, holed = every_type()
    return (
        (X, holed) if library == "pandas" else tuple(pl.from_pandas(x[POLARS]) for x in (X, holed))
    )


def missing(series):
    if isinstance(series, pl.Series):
        return series.is_null().to_numpy()
    return series.isna().to_numpy()


def only_holes_changed(filled, X):
    """Types, names, index and observed cells are as they were, and nothing is missing."""
    assert type(filled) is type(X)
    assert list(filled.columns) == list(X.columns)
    if isinstance(X, pd.DataFrame):
        pd.testing.assert_index_equal(filled.index, X.index)
        pd.testing.assert_index_equal(filled.columns, X.columns)
    for name in X.columns:
        seen = ~missing(X[name])
        assert filled[name].dtype == X[name].dtype
        mine, theirs = (one.filter(seen) if isinstance(X, pl.DataFrame) else one[seen]
                        for one in (filled[name], X[name]))  # fmt: skip
        assert mine.equals(theirs)
        assert not missing(filled[name]).any()
    return True


@pytest.fixture(scope="module", params=["pandas", "polars"])
def library(request):
    return request.param


@pytest.fixture(scope="module")
def framed(library):
    """A model of every type of column, fitted on a complete table, and one with holes."""
    X, holed = frames(library)
    return linear().fit(X), X, holed


@pytest.mark.parametrize("n_draws", [None, 2])
def test_observed_cells_of_a_frame_stay(framed, n_draws):
    vae, _, holed = framed
    before = holed.clone() if isinstance(holed, pl.DataFrame) else holed.copy()
    filled = vae.impute(holed, n_draws=n_draws, random_state=0)
    filled = [filled] if n_draws is None else filled
    assert len(filled) == (n_draws or 1)
    assert all(only_holes_changed(one, holed) for one in filled)
    assert before.equals(holed)


@pytest.mark.parametrize("n_draws", [None, 2])
def test_a_frame_without_holes_comes_back_as_it_is(framed, n_draws):
    vae, X, _ = framed
    filled = vae.impute(X, n_draws=n_draws)
    filled = [filled] if n_draws is None else filled
    assert all(only_holes_changed(one, X) for one in filled)
    assert all(one is not X for one in filled)


def test_what_is_filled_in_was_seen(framed):
    """Levels that fit saw and, of draws, numbers and times within the range that it saw."""
    vae, X, holed = framed
    for filled in [vae.impute(holed), *vae.impute(holed, n_draws=5, random_state=0)]:
        for name in X.columns:
            holes = missing(holed[name])
            new = [cell for cell, hole in zip(filled[name].to_list(), holes, strict=True) if hole]
            if name in ("category", "string", "object", "boolean"):
                assert set(new) <= set(X[name].to_list())
            else:
                assert X[name].min() <= min(new)
                assert max(new) <= X[name].max()


def test_index_and_names_of_a_frame():
    X, holed = every_type()
    vae = linear().fit(X)
    for index in (pd.Index([5] * N), pd.MultiIndex.from_product([range(2), range(N // 2)])):
        assert only_holes_changed(vae.impute(holed.set_axis(index)), holed.set_axis(index))
    named = holed.rename_axis(columns="columns")
    assert only_holes_changed(linear().fit(X.rename_axis(columns="columns")).impute(named), named)


def test_whole_columns_missing(framed, library):
    vae, _, holed = framed
    if library == "pandas":
        empty = holed.assign(**{name: holed[name].mask(np.ones(N, bool)) for name in holed})
        bare = holed.assign(float=np.nan, string=None, category=None, time=None)
    else:
        empty = holed.clear(N)
        bare = holed.with_columns(float=None, string=None, category=None, time=None)
    assert only_holes_changed(vae.impute(empty), empty)
    filled = vae.impute(bare)  # of no type of its own: that of fit
    assert filled["string"].dtype == holed["string"].dtype
    assert filled["category"].dtype == holed["category"].dtype
    assert filled["time"].dtype == holed["time"].dtype
    assert not any(missing(filled[name]).any() for name in filled.columns)


def test_unseen_levels_stay(framed, library):
    vae, _, holed = framed
    cells = ["new", None, *holed["string"].to_list()[2:]]
    other = ["new", None, *holed["category"].to_list()[2:]]
    if library == "pandas":
        X = holed.assign(string=pd.array(cells, dtype="string"), category=pd.Categorical(other))
    else:
        X = holed.with_columns(
            string=pl.Series(cells), category=pl.Series(other, dtype=pl.Categorical)
        )
    filled = vae.impute(X)
    assert only_holes_changed(filled, X)
    assert filled["string"].to_list()[0] == filled["category"].to_list()[0] == "new"
    with pytest.raises(SchemaError, match="'new', a level that fit did not see"):
        vae.set_params(handle_unknown="error").impute(X)
    vae.set_params(handle_unknown="missing")


def test_levels_that_are_not_among_the_categories_of_this_table():
    """The cells fitted in need not be categories of X; it then takes those of fit."""
    X, holed = every_type()
    narrow = holed.assign(category=holed["category"].cat.set_categories(["x"]))
    filled = linear().fit(X).impute(narrow)
    assert filled["category"].dtype == X["category"].dtype
    assert filled["category"][narrow["category"].notna()].eq("x").all()
    assert filled["category"].notna().all()


def test_enum_of_other_levels():
    X, holed = frames("polars")
    wide, narrow = pl.Enum(["w", "x", "y", "z"]), pl.Enum(["x", "y", "z"])
    vae = linear().fit(X.with_columns(X["category"].cast(pl.String).cast(narrow)))
    cells = ["w", None, *holed["category"].to_list()[2:]]
    Y = holed.with_columns(category=pl.Series(cells, dtype=wide))
    assert only_holes_changed(vae.impute(Y), Y)


def test_integers_in_a_column_of_floats():
    """Conditional means are no integers: the column becomes one of floats."""
    X, holed = every_type()
    whole = holed.assign(float=holed["float"].round().astype("Int64"))
    filled = linear().fit(X).impute(whole)["float"]
    seen = whole["float"].notna()
    assert (filled[seen] == whole["float"][seen]).all()
    assert (filled[~seen] != filled[~seen].round()).any()


# --- arrays


def array(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(N, 4))
    holed = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    holed[3], holed[:, 2] = np.nan, np.nan
    return X, holed


@pytest.fixture(scope="module")
def fitted():
    return linear().fit(array()[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_draws", [None, 2])
def test_observed_cells_of_an_array_stay(fitted, dtype, n_draws):
    holed = array()[1].astype(dtype)
    before = holed.copy()
    filled = fitted.impute(holed, n_draws=n_draws, random_state=0)
    for one in [filled] if n_draws is None else filled:
        assert one.dtype == dtype
        assert np.isfinite(one).all()
        seen = ~np.isnan(holed)
        np.testing.assert_array_equal(one[seen], holed[seen])
    np.testing.assert_array_equal(before, holed)


def test_observed_cells_of_a_sparse_matrix_stay():
    """NaN is stored and missing; what is not stored is a zero."""
    rng = np.random.default_rng(0)
    X = sparse.csr_matrix(np.where(rng.random((N, 4)) < 0.5, 0.0, array()[0]))
    holed = X.copy()
    holed.data[::3] = np.nan
    filled = linear().fit(X).impute(holed)
    assert filled.format == "csr"
    seen = ~np.isnan(holed.toarray())
    np.testing.assert_array_equal(filled.toarray()[seen], holed.toarray()[seen])
    assert np.isfinite(filled.data).all()
    assert np.isnan(holed.data).any()
    whole = linear().fit(X).impute(X)
    assert whole is not X
    np.testing.assert_array_equal(whole.toarray(), X.toarray())


def test_an_array_without_holes_comes_back_as_a_copy(fitted):
    X = array()[0]
    for filled in (fitted.impute(X), *fitted.impute(X, n_draws=2)):
        assert not np.shares_memory(filled, X)
        np.testing.assert_array_equal(filled, X)


def test_levels_and_counts_in_an_array():
    rng = np.random.default_rng(0)
    X = np.column_stack([5.0 * rng.integers(0, 3, N), rng.poisson(3, N), array()[0][:, 0]])
    vae = linear(likelihood={0: "categorical", 1: "poisson"}).fit(X)
    holed = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    holed[0] = [77.0, np.nan, 0.5]
    filled = vae.impute(holed)
    assert filled[0, 0] == 77
    assert set(filled[1:, 0]) == {0, 5, 10}
    draws = np.array(vae.impute(holed, n_draws=4, random_state=0))
    assert set(draws[..., 1].ravel()) <= set(X[:, 1])


def test_seeds(fitted):
    holed = array()[1]
    np.testing.assert_array_equal(fitted.impute(holed), fitted.impute(holed, random_state=3))
    draw = lambda seed: np.array(fitted.impute(holed, n_draws=3, random_state=seed))  # noqa: E731
    np.testing.assert_array_equal(draw(0), draw(0))
    assert (draw(0) != draw(1)).any()
    first, second, third = draw(0)
    assert (first != second).any()
    assert (second != third).any()


def test_other_rows_change_nothing(fitted):
    holed = array()[1]
    filled = fitted.impute(holed)
    np.testing.assert_allclose(fitted.impute(holed[5:6]), filled[5:6], rtol=1e-9)


@pytest.mark.parametrize("n_draws", [0, -1, 2.0, "3"])
def test_numbers_of_draws_that_are_none(fitted, n_draws):
    with pytest.raises((ValueError, TypeError), match="n_draws"):
        fitted.impute(array()[1], n_draws=n_draws)


def test_values_that_can_not_be(fitted):
    X, holed = array()
    with pytest.raises(ValueError, match="infinity"):
        fitted.impute(np.where(np.arange(4) == 1, np.inf, holed))
    counts = linear(likelihood={0: "poisson"}).fit(np.column_stack([np.arange(N), X[:, 0]]))
    with pytest.raises(ValueError, match=r"Column 0 .* got 0\.5"):
        counts.impute([[0.5, np.nan], [1.0, 2.0]])
    with pytest.raises(ValueError, match="feature"):
        fitted.impute(holed[:, :3])
