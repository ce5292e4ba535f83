"""Missing cells, in every container."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from small_tables import holes, small, table
from torch import nn

from sk_infovae.exceptions import SchemaError


def test_encoder_is_told_about_holes_in_columns_that_had_them(X):
    widths = []

    def encoder(n_inputs, n_components):
        widths.append(n_inputs)
        return nn.Linear(n_inputs, 2 * n_components)

    small(encoder=encoder).fit(holes(X, columns=[1, 3]))
    small(encoder=encoder).fit(X)
    assert widths == [6, 4]


def test_a_hole_in_a_marked_column_is_not_its_centre(X):
    torn = holes(X, columns=[1])
    vae = small().fit(torn)
    row, filled = X[[0]].copy(), X[[0]].copy()
    row[0, 1], filled[0, 1] = np.nan, np.nanmean(torn[:, 1])
    assert np.abs(vae.transform(row) - vae.transform(filled)).max() > 1e-3


def test_a_hole_elsewhere_takes_the_centre_of_its_column(X):
    vae = small().fit(holes(X, columns=[1]))
    rows, filled = X[:5].copy(), X[:5].copy()
    rows[:, 2], filled[:, 2] = np.nan, X[:, 2].mean()
    np.testing.assert_allclose(vae.transform(rows), vae.transform(filled), rtol=1e-5)


def test_missing_cells_do_not_teach_the_decoder():
    # Filled with their centre and learned, they would make the noise a tenth of what it is.
    rng = np.random.default_rng(0)
    X = np.column_stack([table(300, 3), 50 + rng.normal(size=300)])
    X[rng.random(300) < 0.9, 3] = np.nan
    vae = small(max_epochs=150, lr=2e-2, early_stopping=False, alpha=0, lambd=1).fit(X)
    assert vae.noise_variance_[3] > 0.4 * np.nanvar(X[:, 3])


def test_what_lies_under_a_hole_does_not_matter():
    torn = holes(table())
    pandas, polars = pd.DataFrame(torn), pl.DataFrame(torn, nan_to_null=True)
    expected = small().fit(torn).transform(torn)
    np.testing.assert_array_equal(small().fit(pandas).transform(pandas), expected)
    np.testing.assert_array_equal(small().fit(polars).transform(polars), expected)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1.0, None, 3.0, 4.0] * 10, "b": [0.5, 2.0, None, 1.0] * 10}),
        pl.DataFrame({"a": [1.0, None, 3.0, 4.0] * 10, "b": [0.5, 2.0, None, 1.0] * 10}),
        pl.DataFrame({"a": [1, None, 3, 4] * 10, "b": [True, False, None, True] * 10}),
        pd.DataFrame(
            {
                "a": pd.array([1, None, 3, 4] * 10, dtype="Int64"),
                "b": pd.array([True, False, None, True] * 10, dtype="boolean"),
            }
        ),
    ],
    ids=["pandas", "polars", "polars int and bool", "pandas int and bool"],
)
def test_none_in_a_frame_is_a_missing_cell(frame):
    vae = small().fit(frame)
    assert np.isfinite(vae.transform(frame)).all()
    assert np.isfinite(vae.score_samples(frame)).all()
    assert vae.module_.encoder.body[0].in_features == 4


def test_a_hole_in_a_boolean_column_is_no_vote():
    cells = ([True] * 9 + [False]) * 4 + [None] * 160
    frame = pd.DataFrame({"a": pd.array(cells, dtype="boolean"), "b": np.tile([0.0, 1.0], 100)})
    vae = small(lr=2e-2, max_epochs=150, early_stopping=False, alpha=0, lambd=1).fit(frame)
    drawn = vae.sample(2000, random_state=0)["a"].mean()
    assert drawn == pytest.approx(0.9, abs=0.06)


def test_columns_of_none_and_of_objects():
    """None has no dtype of its own: text to pandas, null to polars, an object beside numbers."""
    numbers = np.random.default_rng(0).normal(size=30)
    columns = {"x": numbers, "nothing": [None] * 30}
    pandas = pd.DataFrame(columns | {"some": pd.Series([1, None, 2.5] * 10, dtype=object)})
    polars = pl.DataFrame(columns | {"some": [1.0, None, 2.5] * 10})
    array = np.column_stack([numbers, np.full(30, np.nan), np.array([1, np.nan, 2.5] * 10)])
    expected = small().fit_transform(array)
    for frame in (pandas, polars):
        vae = small().fit(frame)
        np.testing.assert_array_equal(vae.transform(frame), expected)
        back = vae.inverse_transform(expected)
        assert list(back.columns) == ["x", "nothing", "some"]
        assert np.isfinite(np.asarray(back, dtype=float)).all()
    with pytest.raises(SchemaError, match="'some'"):
        small().fit(pandas.assign(some=["1", None, 2.5] * 10))
