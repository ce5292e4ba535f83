"""Displays draw any table of any estimator, where they are told to, and change nothing."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from display_tables import TABLES
from matplotlib.colors import to_rgba
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_tables import small, table

from sk_infovae.inspection import (
    GeneratedDisplay,
    HistoryDisplay,
    InformationDisplay,
    LatentDisplay,
    LatentTraversalDisplay,
    LoadingsDisplay,
    ReconstructionDisplay,
)

WITH_TABLE = (LatentDisplay, InformationDisplay, ReconstructionDisplay, GeneratedDisplay)
WITHOUT = (HistoryDisplay, LatentTraversalDisplay, LoadingsDisplay)


def of(display, estimator, X, **how):
    """A Display of either kind."""
    given = (X,) if display in WITH_TABLE else ()
    return display.from_estimator(estimator, *given, **how)


@pytest.mark.parametrize("d", [1, 2, 3, 6])
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("display", WITH_TABLE + WITHOUT)
def test_every_display_draws_every_table(display, name, d, fits):
    vae, X = fits(name, d)
    before = {key: np.copy(value) for key, value in vars(vae).items() if key.endswith("_")
              and isinstance(value, np.ndarray)}  # fmt: skip
    shown = of(display, vae, X)
    first = np.ravel(shown.ax_)[0]
    assert shown.figure_ is first.figure
    assert any(ax.has_data() for ax in np.ravel(shown.ax_))
    shown.figure_.canvas.draw()  # every label can be set
    for key, value in before.items():
        np.testing.assert_array_equal(getattr(vae, key), value)


@pytest.mark.parametrize("display", WITH_TABLE + WITHOUT)
def test_a_display_draws_where_it_is_told_to(display, fits):
    vae, X = fits("numbers", 3)
    figure, (left, right) = plt.subplots(1, 2)
    shown = of(display, vae, X, ax=left)
    assert shown.figure_ is figure
    assert not right.has_data()
    again = shown.plot()
    assert again is shown
    assert again.figure_ is not figure
    wanted = np.size(again.ax_)
    if wanted > 1:
        own = plt.subplots(1, wanted, squeeze=False)[1].ravel()
        assert shown.plot(ax=own).ax_.ravel().tolist() == own.tolist()
        with pytest.raises(ValueError, match=rf"one Axes or an array of .* got {wanted + 1}"):
            shown.plot(ax=plt.subplots(1, wanted + 1)[1])
        with pytest.raises(ValueError, match="free position"):
            shown.plot(ax=plt.figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize("display", WITH_TABLE + WITHOUT)
def test_steps_before_the_transformer_are_applied(display):
    X = table()
    scaled = StandardScaler().fit_transform(X)
    pipeline = make_pipeline(StandardScaler(), small()).fit(X)
    search = GridSearchCV(pipeline, {"infovaetransformer__alpha": [0.5]}, cv=2).fit(X)
    own = {} if display is not GeneratedDisplay else {"random_state": 0}
    bare = of(display, pipeline[-1], scaled, **own)
    assert {"codes", "history", "information", "errors", "steps", "loadings", "real"} & set(
        vars(bare)
    )
    for estimator in (pipeline, search):
        shown = of(display, estimator, X, **own)
        if display is InformationDisplay:
            found, wanted = shown.information, bare.information
            np.testing.assert_allclose(found.kl_per_dimension, wanted.kl_per_dimension, rtol=1e-5)
        if display is HistoryDisplay:
            assert shown.history == bare.history
        for key, value in vars(bare).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                np.testing.assert_allclose(vars(shown)[key], value, rtol=1e-5, atol=1e-6)


def test_unfitted_and_foreign_estimators_are_refused():
    for display in WITH_TABLE + WITHOUT:
        with pytest.raises(ValueError, match="not fitted"):
            of(display, small(), table())
        with pytest.raises(TypeError, match="exactly one as a step"):
            of(display, StandardScaler().fit(table()), table())


def test_matplotlib_is_named_where_it_is_missing(fits, monkeypatch):
    vae, X = fits("numbers", 2)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="LatentDisplay needs matplotlib: pip install"):
        LatentDisplay.from_estimator(vae, X)


@pytest.mark.parametrize("name", ["numbers", "pandas"])
@pytest.mark.parametrize("display", WITH_TABLE + WITHOUT)
def test_a_dark_style_is_kept(display, name, fits):
    """Nothing but the numbers within a table of colours is black on black."""
    vae, X = fits(name, 3)
    with plt.style.context("dark_background"):
        shown = of(display, vae, X)
        for ax in np.ravel(shown.ax_):
            written = [] if display is LoadingsDisplay else ax.texts
            texts = [*written, ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels()]
            assert all(sum(to_rgba(text.get_color())[:3]) > 1 for text in texts if text.get_text())
            assert all(sum(to_rgba(line.get_color())[:3]) > 0.5 for line in ax.lines)
