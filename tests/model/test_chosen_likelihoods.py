"""Likelihoods by family, by column and by instance."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from small_tables import small, stays_unfitted

from sk_infovae.likelihoods import Bernoulli, Gaussian


def test_bernoulli_refuses_what_is_no_probability(X):
    X = np.abs(X) / np.abs(X).max()
    for value in (-0.01, 1.5):
        bad = X.copy()
        bad[7, 2] = value
        vae = small(likelihood={2: "bernoulli"})
        with pytest.raises(ValueError, match=rf"Column 2 .*Bernoulli.*between 0 and 1.*{value:g}"):
            vae.fit(bad)
        assert stays_unfitted(vae)


def test_bernoulli_names_the_column_of_a_frame(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match="Column 'c'"):
        small(likelihood={"c": "bernoulli"}).fit(frame)


def test_grey_values_train_but_have_no_score(X):
    X = np.abs(X) / np.abs(X).max()
    vae = small(likelihood="bernoulli").fit(X)
    assert np.isfinite(vae.transform(X)).all()
    back = vae.inverse_transform(vae.transform(X))
    assert ((back > 0) & (back < 1)).all()
    for method in (vae.score, vae.score_samples):
        with pytest.raises(ValueError, match=r"Column 0 .*be 0 or 1"):
            method(X)


def test_bernoulli_of_validation_rows_is_checked(X):
    truth = (X > 0).astype(float)
    with pytest.raises(ValueError, match="between 0 and 1"):
        small(likelihood="bernoulli").fit(truth, X_val=truth + 0.5)


def test_likelihood_by_integer(X):
    X = np.column_stack([X, X[:, 0] > 0])
    vae = small(likelihood={4: "bernoulli", np.int64(0): "auto"}).fit(X)
    np.testing.assert_array_equal(np.isnan(vae.noise_variance_), [False] * 4 + [True])


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_likelihood_by_name(X, kind):
    frame = kind({"a": X[:, 0], "b": (X[:, 1] > 0).astype(float), "c": X[:, 2] > 0})
    vae = small(likelihood={"b": "bernoulli"}).fit(frame)
    np.testing.assert_array_equal(np.isnan(vae.noise_variance_), [False, True, True])


def test_likelihood_by_instance(X):
    floor = 0.5
    vae = small(likelihood=Gaussian(floor=floor), max_epochs=100, lr=5e-2).fit(X)
    assert (vae.noise_variance_ > floor * X.var(0)).all()
    mixed = small(likelihood={0: Bernoulli(), 1: Gaussian(floor=0.1)})
    truth = (X > 0).astype(float)
    np.testing.assert_array_equal(
        np.isnan(mixed.fit(truth).noise_variance_), [True, False, False, False]
    )


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        ({9: "bernoulli"}, "column 9, which X does not have"),
        ({"a": "bernoulli"}, "column 'a', which X does not have"),
        ({0: "poison"}, "got 'poison'"),
        ("poison", "'likelihood' parameter"),
        (Gaussian(floor=0.0), "floor=0.0"),
    ],
    ids=["index", "name", "family", "family of all", "floor"],
)
def test_likelihood_that_makes_no_sense_is_refused(X, likelihood, message):
    vae = small(likelihood=likelihood)
    with pytest.raises(ValueError, match=message):
        vae.fit(X)
    assert stays_unfitted(vae)
