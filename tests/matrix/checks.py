"""What every public method and scorer owes the user, on any table."""

import io
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import table_cases as kinds
from scipy import sparse

from sk_infovae import metrics

N_SAMPLES = 40


class Fitted:
    """A case, its table, and the model that was fitted to it."""

    def __init__(self, case):
        self.case, self.X = case, kinds.make_table(case)
        self.model = kinds.train(case, self.X)
        self.vae = getattr(self.model, "best_estimator_", self.model)
        self.families = [kinds.family_of(case, j) for j in range(len(case.names))]

    @property
    def has_density(self):
        """Grey values train under bernoulli, but have no probability."""
        values = [kinds.values_of(self.case, j) for j in range(len(self.families))]
        return ("bernoulli", "grey") not in zip(self.families, values, strict=True)

    @property
    def is_discrete(self):
        return all(kinds.FAMILIES.get(one) != kinds.REAL for one in self.families)

    @property
    def of_levels(self):
        return np.array([kinds.FAMILIES.get(one) == kinds.OF_LEVELS for one in self.families])


def columns_of(X):
    """Each column as a list of Python's cells, None where missing."""
    if isinstance(X, pl.DataFrame):
        return [column.to_list() for column in X]
    if isinstance(X, pd.DataFrame):
        found = [column.astype(object) for _, column in X.items()]
        return [column.where(column.notna(), None).tolist() for column in found]
    X = X.toarray() if sparse.issparse(X) else X
    return [[None if cell != cell else cell for cell in column] for column in X.T.tolist()]


def first_rows(X, n):
    return X.head(n) if hasattr(X, "head") else X[:n]


def seen(fitted):
    """The observed cells of each column."""
    return [[cell for cell in column if cell is not None] for column in columns_of(fitted.X)]


def assert_same_kind(found, fitted, n_rows):
    """A table as fit saw it: container, names, dtypes; dense where that was CSR."""
    X = fitted.X
    assert found.shape == (n_rows, X.shape[1])
    if isinstance(X, pl.DataFrame):
        assert found.schema == X.schema
    elif isinstance(X, pd.DataFrame):
        pd.testing.assert_series_equal(found.dtypes, X.dtypes)
    else:
        assert isinstance(found, np.ndarray)
        assert found.dtype == X.dtype


def assert_empty(found, fitted):
    """Free text is missing, every cell of it."""
    for column, family in zip(columns_of(found), fitted.families, strict=True):
        if family == kinds.LEFT_OUT:
            assert set(column) == {None}


def assert_plausible(found, fitted, *, within=True):
    """No cell missing and none infinite; levels that were seen; numbers within what was seen."""
    for j, (column, known) in enumerate(zip(columns_of(found), seen(fitted), strict=True)):
        if fitted.families[j] == kinds.LEFT_OUT:
            continue
        assert None not in column
        if fitted.of_levels[j]:
            assert set(column) <= set(known)
        elif isinstance(known[0], bool):
            assert set(map(type, column)) == {bool}
        elif within:
            assert min(known) <= min(column)
            assert max(column) <= max(known)
        elif not hasattr(known[0], "year"):
            assert np.isfinite(np.array(column, dtype=float)).all()


# The methods


def check_transform(fitted):
    Z = fitted.model.transform(fitted.X)
    assert Z.dtype == np.float32
    assert Z.shape == (fitted.case.n_rows, 2)
    assert np.isfinite(Z).all()
    ratio, loadings = fitted.vae.explained_variance_ratio_, fitted.vae.loadings_
    kept = [family != kinds.LEFT_OUT for family in fitted.families]
    assert ratio.shape == (2,)
    assert loadings.shape == (len(kept), 2)
    assert np.isfinite(ratio).all()
    assert 0 <= ratio.sum() <= 1 + 1e-6
    assert np.isfinite(loadings).all(1).tolist() == kept
    alone = fitted.model.transform(first_rows(fitted.X, 1))
    np.testing.assert_allclose(alone, Z[:1], rtol=1e-5, atol=1e-6)


def check_posterior(fitted):
    mean, std = fitted.vae.posterior(fitted.X)
    np.testing.assert_array_equal(mean, fitted.vae.transform(fitted.X))
    assert std.dtype == np.float32
    assert std.shape == mean.shape
    assert np.isfinite(std).all()
    assert (std > 0).all()


def check_inverse_transform(fitted):
    Z = fitted.model.transform(fitted.X)
    if isinstance(fitted.X, pd.DataFrame):
        Z = pd.DataFrame(Z, index=fitted.X.index)
    back = fitted.model.inverse_transform(Z)
    assert_same_kind(back, fitted, fitted.case.n_rows)
    assert_plausible(back, fitted, within=False)
    assert_empty(back, fitted)
    if isinstance(fitted.X, pd.DataFrame):
        assert back.index.equals(fitted.X.index)


def check_score_samples(fitted):
    if not fitted.has_density:
        with pytest.raises(ValueError, match="grey values train"):
            fitted.vae.score_samples(fitted.X)
        return
    scores, ess = fitted.vae.score_samples(fitted.X, return_ess=True)
    np.testing.assert_array_equal(fitted.vae.score_samples(fitted.X), scores)
    for one in (scores, ess):
        assert one.dtype == np.float64
        assert one.shape == (fitted.case.n_rows,)
        assert np.isfinite(one).all()
    assert (ess >= 1 - 1e-9).all()
    assert (ess <= 8 + 1e-9).all()
    if fitted.is_discrete:
        # An estimate of log p(x) by 8 draws; the cases' own error is below this.
        assert (scores <= 0.05).all()


def check_score(fitted):
    if not fitted.has_density:
        with pytest.raises(ValueError, match="grey values train"):
            fitted.vae.score(fitted.X)
        return
    score = fitted.vae.score(fitted.X)
    assert type(score) is float
    assert score == np.mean(fitted.vae.score_samples(fitted.X))


def check_sample(fitted):
    drawn = fitted.vae.sample(N_SAMPLES, random_state=0)
    assert_same_kind(drawn, fitted, N_SAMPLES)
    assert_plausible(drawn, fitted)
    assert_empty(drawn, fitted)
    again = fitted.vae.sample(N_SAMPLES, random_state=0)
    assert columns_of(again) == columns_of(drawn)


def _check_filled(filled, fitted):
    X = fitted.X
    assert type(filled) is type(X)
    if isinstance(X, pd.DataFrame):
        assert filled.index.equals(X.index)
    dense = filled.toarray() if sparse.issparse(filled) else filled
    if not fitted.case.is_frame:
        assert filled.dtype == X.dtype
    like = fitted if not sparse.issparse(X) else _Dense(X)
    assert_same_kind(dense, like, fitted.case.n_rows)
    for new, old, family in zip(columns_of(dense), columns_of(X), fitted.families, strict=True):
        if family == kinds.LEFT_OUT:
            assert new == old
            continue
        assert None not in new
        assert [a for a, b in zip(new, old, strict=True) if b is not None and a != b] == []
    assert_plausible(dense, fitted, within=False)


class _Dense:
    def __init__(self, X):
        self.X = X.toarray()


def check_impute(fitted):
    _check_filled(fitted.vae.impute(fitted.X), fitted)


def check_impute_draws(fitted):
    tables = fitted.vae.impute(fitted.X, n_draws=2, random_state=0)
    assert len(tables) == 2
    for table in tables:
        _check_filled(table, fitted)
    again = fitted.vae.impute(fitted.X, n_draws=2, random_state=0)
    assert [columns_of(one) for one in again] == [columns_of(one) for one in tables]


def check_information(fitted):
    found = fitted.vae.information(fitted.X)
    scored = {"log_likelihood", "amortisation_gap", "effective_sample_size"}
    for name, value in vars(found).items():
        finite = fitted.has_density or name not in scored
        assert np.isfinite(value).all() == finite, name
    assert found.kl == pytest.approx(
        found.mutual_information + found.marginal_kl, rel=1e-9, abs=1e-9
    )
    assert found.elbo == pytest.approx(found.reconstruction - found.kl, rel=1e-9)
    assert found.kl_per_dimension.sum() == pytest.approx(found.kl_analytic, rel=1e-9)
    assert found.mutual_information_cap == np.log(fitted.case.n_rows)
    assert found.n_rows == found.n_rows_given == fitted.case.n_rows
    if fitted.is_discrete:
        assert found.reconstruction <= 0
    if fitted.has_density:
        assert found.log_likelihood == fitted.vae.score(fitted.X)


def check_names(fitted):
    names = fitted.vae.get_feature_names_out().tolist()
    assert names == ["infovaetransformer0", "infovaetransformer1"]
    assert fitted.vae.n_features_in_ == fitted.X.shape[1]
    if fitted.case.is_frame:
        assert fitted.vae.feature_names_in_.tolist() == list(fitted.case.names)


def check_noise_variance(fitted):
    """Of gaussian and student_t columns; NaN for others. Up to two degrees it is infinite."""
    found = fitted.vae.noise_variance_
    assert found.shape == (fitted.X.shape[1],)
    constant = [one in ("gaussian", "student_t") for one in fitted.families]
    np.testing.assert_array_equal(~np.isnan(found), constant)
    assert (found[constant] > 0).all()


def check_history(fitted):
    epochs = 2 if fitted.case.way in ("fit", "partial_fit", "search") else 4
    assert fitted.vae.n_iter_ == epochs == len(fitted.vae.history_)
    assert [epoch["epoch"] for epoch in fitted.vae.history_] == list(range(1, epochs + 1))
    assert all(np.isfinite(list(epoch.values())).all() for epoch in fitted.vae.history_)


def check_pickle(fitted):
    loaded = pickle.loads(pickle.dumps(fitted.model))
    np.testing.assert_array_equal(loaded.transform(fitted.X), fitted.model.transform(fitted.X))
    drawn = [
        getattr(one, "best_estimator_", one).sample(3, random_state=0)
        for one in (loaded, fitted.model)
    ]
    assert columns_of(drawn[0]) == columns_of(drawn[1])


def _file(vae):
    file = io.BytesIO()
    vae.save(file)
    return file


def check_save(fitted):
    first = _file(fitted.vae).getvalue()
    assert first == _file(fitted.vae).getvalue()
    assert len(first) < len(pickle.dumps(fitted.vae)) + 60_000


def check_load(fitted):
    file = _file(fitted.vae)
    data = file.getvalue()
    file.seek(0)
    loaded = type(fitted.vae).load(file)
    assert _file(loaded).getvalue() == data
    np.testing.assert_array_equal(loaded.transform(fitted.X), fitted.vae.transform(fitted.X))
    for name, arguments in {"sample": (3, 0), "impute": (fitted.X,)}.items():
        one, other = (getattr(vae, name)(*arguments) for vae in (loaded, fitted.vae))
        assert columns_of(one) == columns_of(other)
    if fitted.has_density:
        assert loaded.score(fitted.X) == fitted.vae.score(fitted.X)


# The scorers


def _value(fitted, name):
    value = getattr(metrics, name)(fitted.model, fitted.X)
    assert type(value) is float
    assert np.isfinite(value)
    if fitted.vae is not fitted.model:  # a search stands for what it found
        assert getattr(metrics, name)(fitted.vae, fitted.X) == value
    return value


def check_elbo(fitted):
    assert _value(fitted, "elbo") == pytest.approx(fitted.vae.information(fitted.X).elbo, rel=1e-9)


def check_log_likelihood(fitted):
    if not fitted.has_density:
        with pytest.raises(ValueError, match="grey values train"):
            metrics.log_likelihood(fitted.model, fitted.X)
        return
    assert _value(fitted, "log_likelihood") == fitted.vae.score(fitted.X)


def check_median_log_likelihood(fitted):
    if not fitted.has_density:
        with pytest.raises(ValueError, match="grey values train"):
            metrics.median_log_likelihood(fitted.model, fitted.X)
        return
    found = _value(fitted, "median_log_likelihood")
    assert found == np.median(fitted.vae.score_samples(fitted.X))


def check_mutual_information(fitted):
    expected = fitted.vae.information(fitted.X).mutual_information
    assert _value(fitted, "mutual_information") == pytest.approx(expected, abs=1e-9)


def check_neg_mmd(fitted):
    assert -2 <= _value(fitted, "neg_mmd") < 1


def check_active_units(fitted):
    assert _value(fitted, "active_units") == fitted.vae.information(fitted.X).active_units


def check_neg_reconstruction_error(fitted):
    assert _value(fitted, "neg_reconstruction_error") <= 0


def check_reconstruction_r2(fitted):
    """It needs a column of numbers or booleans with two observed cells."""
    counts = np.array([len(column) for column in seen(fitted)])
    left_out = np.array([one == kinds.LEFT_OUT for one in fitted.families])
    if not (~fitted.of_levels & ~left_out & (counts >= 2)).any():
        with pytest.raises(ValueError, match="No column of X can be compared"):
            metrics.reconstruction_r2(fitted.model, fitted.X)
        return
    assert _value(fitted, "reconstruction_r2") <= 1


def check_trustworthiness(fitted):
    _check_of_neighbours(fitted, "trustworthiness")


def check_neighborhood_preservation(fitted):
    _check_of_neighbours(fitted, "neighborhood_preservation")


def _check_of_neighbours(fitted, name):
    if fitted.case.n_rows < 11:
        with pytest.raises(ValueError, match="more than 10 rows"):
            getattr(metrics, name)(fitted.model, fitted.X)
        return
    assert 0 <= _value(fitted, name) <= 1


CHECKS = {
    name.removeprefix("check_"): function
    for name, function in list(globals().items())
    if name.startswith("check_")
}
