"""What each Display shows is what was measured."""

import numpy as np
import pandas as pd
import pytest
from display_tables import mixed
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_tables import holes, small, table

from sk_infovae import metrics
from sk_infovae.inspection import (
    GeneratedDisplay,
    HistoryDisplay,
    InformationDisplay,
    LatentDisplay,
    LatentTraversalDisplay,
    LoadingsDisplay,
    ReconstructionDisplay,
    TradeoffDisplay,
)
from sk_infovae.model_selection import InfoVAEGridSearchCV

# LatentDisplay


def points(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])


def in_order(rows):
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize(
    ("y", "groups"),
    [
        (None, 1),
        (np.arange(60) % 3, 3),
        (np.array(["x", "y"] * 30), 2),
        (np.array([None, "b", "c"] * 20, dtype=object), 3),
        (pd.Series(pd.Categorical(["u", "v"] * 30)), 2),
        (np.arange(60) % 2 == 0, 2),
        (np.linspace(0, 1, 60), 1),
        (np.where(np.arange(60) % 7, np.arange(60) % 3, np.nan), 4),
        (np.where(np.arange(60) % 7, np.linspace(0, 1, 60), np.nan), 2),
        (np.arange(60), 1),
    ],
)
def test_every_row_is_drawn_once(y, groups, fits):
    vae, X = fits("numbers", 2)
    ax = LatentDisplay.from_estimator(vae, X, y).ax_
    assert len(ax.collections) == groups
    np.testing.assert_allclose(in_order(points(ax)), in_order(vae.transform(X)))


def test_values_are_on_a_scale_and_classes_in_a_legend(fits):
    vae, X = fits("numbers", 3)
    values = LatentDisplay.from_estimator(vae, X, np.linspace(5, 9, 60), label="price")
    bar = values.figure_.axes[-1]
    assert bar.get_ylabel() == "price"
    classes = LatentDisplay.from_estimator(vae, X, np.arange(60) % 3, label="digit")
    legend = classes.ax_[0, -1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1", "2"]
    assert legend.get_title().get_text() == "digit"


def test_each_pair_of_dimensions_has_a_panel(fits):
    vae, X = fits("numbers", 3)
    Z = vae.transform(X)
    axes = LatentDisplay.from_estimator(vae, X).ax_
    for row, column in ((1, 0), (2, 0), (2, 1)):
        np.testing.assert_allclose(points(axes[row - 1, column]), Z[:, [column, row]])
    two = LatentDisplay.from_estimator(vae, X, dimensions=[2, 0]).ax_
    np.testing.assert_allclose(points(two), Z[:, [2, 0]])


def test_ellipses_have_the_posteriors_deviations(fits):
    vae, X = fits("numbers", 2)
    std = vae.posterior(X)[1]
    ax = LatentDisplay.from_estimator(vae, X, n_ellipses=60).ax_
    ellipses = ax.collections[-1]
    np.testing.assert_allclose(ellipses.get_widths(), 2 * std[:, 0], rtol=1e-6)
    np.testing.assert_allclose(ellipses.get_heights(), 2 * std[:, 1], rtol=1e-6)


def test_circles_hold_their_part_of_the_prior(fits):
    vae, X = fits("numbers", 2)
    radii = [patch.radius for patch in LatentDisplay.from_estimator(vae, X).ax_.patches]
    draws = np.linalg.norm(np.random.default_rng(0).normal(size=(100_000, 2)), axis=1)
    np.testing.assert_allclose([np.mean(draws < r) for r in radii], [0.5, 0.95], atol=0.01)


def test_codes_of_another_method():
    Z = table(60, 2)
    shown = LatentDisplay.from_codes(Z, np.arange(60) % 2, names=["u", "v"], prior=False)
    assert (shown.ax_.get_xlabel(), shown.ax_.get_ylabel()) == ("u", "v")
    np.testing.assert_array_equal(in_order(points(shown.ax_)), in_order(Z))
    assert not shown.ax_.patches
    with pytest.raises(ValueError, match="one name for each of the 2"):
        LatentDisplay.from_codes(Z, names=["u"])
    with pytest.raises(ValueError, match="inconsistent"):
        LatentDisplay.from_codes(Z, np.arange(59))
    with pytest.raises(ValueError, match=r"at most 70 classes.*got 71"):
        LatentDisplay.from_codes(table(71, 2), [f"c{k}" for k in range(71)])


def test_no_two_classes_look_alike():
    y = np.array([f"{k:02}" for k in range(70)])
    ax = LatentDisplay.from_codes(table(70, 2), y).ax_
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes())
             for c in ax.collections}  # fmt: skip
    assert len(looks) == 70


# HistoryDisplay


def test_history_is_drawn_as_it_is():
    vae = small(neighbor_weight=1.0).fit(table())
    shown = HistoryDisplay.from_estimator(vae)
    assert shown.terms == ["loss", "reconstruction", "kl", "divergence", "neighbors"]
    for ax, term in zip(shown.ax_.ravel(), shown.terms, strict=False):
        train, valid, best = ax.lines
        np.testing.assert_array_equal(train.get_ydata(), [e[term] for e in vae.history_])
        np.testing.assert_array_equal(valid.get_ydata(), [e[f"valid_{term}"] for e in vae.history_])
        losses = [e["valid_loss"] for e in vae.history_]
        assert best.get_xdata()[0] == vae.history_[int(np.argmin(losses))]["epoch"]


def test_history_without_held_out_rows_has_one_line():
    vae = small(early_stopping=False).fit(table())
    assert all(len(ax.lines) == 1 for ax in HistoryDisplay.from_estimator(vae).ax_.ravel()[:4])
    with pytest.raises(ValueError, match="at least one epoch"):
        HistoryDisplay.from_history([])


def test_records_of_callbacks_are_terms_too():
    history = [{"epoch": k, "loss": -k, "mine": 2.0 * k, "text": "no", "flag": True, "dur": 1.0}
               for k in (1, 2, 3)]  # fmt: skip
    shown = HistoryDisplay.from_history(history)
    assert shown.terms == ["loss", "mine"]
    np.testing.assert_array_equal(shown.ax_[0, 1].lines[0].get_ydata(), [2, 4, 6])


# InformationDisplay


def test_bars_add_up_to_the_kl(fits):
    vae, X = fits("numbers", 3)
    found = vae.information(X)
    left, right = InformationDisplay.from_information(found).ax_.ravel()
    heights = [bar.get_height() for bar in left.patches]
    np.testing.assert_allclose(heights, found.kl_per_dimension)
    np.testing.assert_allclose(sum(heights), found.kl_analytic)
    np.testing.assert_allclose(sum(bar.get_height() for bar in right.patches), found.kl)
    assert right.lines[0].get_ydata()[0] == found.mutual_information_cap


# LoadingsDisplay


def test_loadings_are_those_of_the_fit():
    X = load_iris(as_frame=True).data
    vae = small().fit(X)
    shown = LoadingsDisplay.from_estimator(vae)
    np.testing.assert_array_equal(shown.ax_.images[0].get_array(), vae.loadings_)
    assert [t.get_text() for t in shown.ax_.get_yticklabels()] == list(X.columns)
    written = [float(text.get_text()) for text in shown.ax_.texts]
    np.testing.assert_allclose(written, vae.loadings_.ravel(), atol=0.0051)
    strongest = np.argsort(-np.linalg.norm(vae.loadings_, axis=1))[:2]
    few = LoadingsDisplay.from_estimator(vae, n_columns=2)
    assert few.columns == [X.columns[j] for j in sorted(strongest)]


def test_free_text_has_no_loadings(fits):
    vae, X = fits("pandas", 2)
    shown = LoadingsDisplay.from_estimator(vae)
    assert shown.columns == [name for name in X.columns if name != "note"]
    assert np.isfinite(shown.loadings).all()


# ReconstructionDisplay


def test_errors_are_what_r2_leaves(fits):
    for name in ("numbers", "holes", "float32"):
        vae, X = fits(name, 2)
        errors = ReconstructionDisplay.from_estimator(vae, X).errors
        np.testing.assert_allclose(1 - errors.mean(), metrics.reconstruction_r2(vae, X), rtol=1e-6)


def test_errors_of_levels_are_wrong_cells_by_those_of_the_mode():
    frame = pd.DataFrame({"a": ["x"] * 30 + ["y"] * 20 + [None] * 10})
    vae = small().fit(frame)
    back = vae.inverse_transform(vae.transform(frame))["a"]
    wrong = (back[:50] != frame["a"][:50]).mean()
    shown = ReconstructionDisplay.from_estimator(vae, frame)
    np.testing.assert_allclose(shown.errors, [wrong / 0.4])
    assert shown.of_levels.all()


def test_pictures_are_rows_and_what_came_back():
    X = load_digits().data[:100]
    vae = small().fit(X)
    axes = ReconstructionDisplay.from_estimator(vae, X, image_shape=(8, 8), n_rows=3).ax_
    back = vae.inverse_transform(vae.transform(X))
    for k in range(3):
        for ax, rows in zip(axes[:, k], (X, back), strict=True):
            np.testing.assert_allclose(ax.images[0].get_array().ravel(), rows[k], rtol=1e-6)
    with pytest.raises(ValueError, match="as many pixels as X has columns, 64; got 7 x 9"):
        ReconstructionDisplay.from_estimator(vae, X, image_shape=(7, 9))


# LatentTraversalDisplay


def test_curves_are_decoded_codes():
    frame = mixed().drop(columns="note")
    vae = small(n_components=2).fit(frame)
    at = [0.3, -0.4]
    shown = LatentTraversalDisplay.from_estimator(vae, at=at, n_steps=5, span=1.0, n_columns=6)
    for k in range(2):
        codes = np.tile(at, (5, 1))
        codes[:, k] = np.linspace(-1, 1, 5)
        decoded = vae.inverse_transform(codes)
        order = np.argsort(-np.abs(vae.loadings_[:, k]), kind="stable")
        assert [name for name, _ in shown.values[k]] == [frame.columns[j] for j in order]
        for name, values in shown.values[k]:
            assert (pd.Series(values, dtype=decoded[name].dtype) == decoded[name]).all()
    with pytest.raises(ValueError, match="each of the n_components=2 dimensions; got 3"):
        LatentTraversalDisplay.from_estimator(vae, at=[0, 0, 0])


def test_pictures_along_a_dimension():
    vae = small().fit(load_digits().data[:100])
    shown = LatentTraversalDisplay.from_estimator(vae, n_steps=3, image_shape=(8, 8))
    decoded = vae.inverse_transform(np.array([[0, -2.0], [0, 0], [0, 2.0]]))
    for ax, picture in zip(shown.ax_[1], decoded, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array().ravel(), picture, rtol=1e-6)


# TradeoffDisplay

GRID = {"alpha": [0.0, 0.5, 0.9], "lambd": [1.0, 10.0], "n_components": [1, 2]}
SCORING = {"score": metrics.log_likelihood, "rate": metrics.mutual_information,
           "distortion": metrics.neg_reconstruction_error}  # fmt: skip


@pytest.fixture(scope="module")
def search():
    return InfoVAEGridSearchCV(small(), GRID, cv=2, scoring=SCORING, refit="score").fit(table())


def test_lines_are_the_means_of_the_search(search):
    shown = TradeoffDisplay.from_search(search)
    results = search.cv_results_
    seen = []
    for ax, size in zip(shown.ax_.ravel(), (1, 2), strict=True):
        assert ax.get_title() == f"n_components {size}"
        for container, weight in zip(ax.containers, (1.0, 10.0), strict=True):
            line = container.lines[0]
            for alpha, mean in zip(*line.get_data(), strict=True):
                params = {"alpha": alpha, "lambd": weight, "n_components": size}
                at = results["params"].index(params)
                assert mean == results["mean_test_score"][at]
                seen.append(at)
    assert sorted(seen) == list(range(12))
    best = search.best_index_
    rings = [line for ax in shown.ax_.ravel() for line in ax.lines if line.get_label() == "best"]
    assert [ring.get_ydata()[0] for ring in rings] == [results["mean_test_score"][best]]
    assert [ring.get_xdata()[0] for ring in rings] == [results["param_alpha"][best]]


def test_one_criterion_against_another(search):
    shown = TradeoffDisplay.from_search(search, criterion="distortion", against="rate")
    found = np.concatenate([np.transpose(line.get_data()) for line in shown.ax_.lines])
    results = search.cv_results_
    wanted = np.column_stack([results["mean_test_rate"], results["mean_test_distortion"]])
    np.testing.assert_allclose(in_order(found), in_order(wanted))


@pytest.mark.parametrize(
    "names", [["alpha"], ["lambd"], ["n_components"], ["lambd", "n_components"]]
)
@pytest.mark.parametrize("search_of", [GridSearchCV, InfoVAEGridSearchCV])
def test_searches_of_some_weights_of_a_pipeline(names, search_of):
    grid = {f"infovaetransformer__{name}": GRID[name] for name in names}
    grid["infovaetransformer__lr"] = [1e-3, 1e-2]
    fitted = search_of(make_pipeline(StandardScaler(), small(max_epochs=2)), grid, cv=2).fit(
        table()
    )
    shown = TradeoffDisplay.from_search(fitted)
    heights = [
        y
        for ax in np.ravel(shown.ax_)
        for container in ax.containers
        for y in container.lines[0].get_ydata()
    ]
    means = fitted.cv_results_["mean_test_score"]
    order = fitted.cv_results_["params"]
    keys = [tuple(p[f"infovaetransformer__{n}"] for n in names) for p in order]
    best = {key: max(m for k, m in zip(keys, means, strict=True) if k == key)
            for key in keys}  # fmt: skip
    np.testing.assert_allclose(sorted(heights), sorted(best.values()))
    TradeoffDisplay.from_search(fitted, against="score")


def test_a_weight_of_another_step_is_another(search):
    """Ridge has an alpha too, and PCA an n_components."""
    steps = make_pipeline(PCA(4), small(max_epochs=1), Ridge())
    X, y = table(), np.arange(60.0)
    both = {"infovaetransformer__alpha": [0.0, 0.5], "ridge__alpha": [1.0, 2.0, 3.0]}
    shown = TradeoffDisplay.from_search(GridSearchCV(steps, both, cv=2).fit(X, y))
    assert sorted(set(shown.table["alpha"])) == [0.0, 0.5]
    other = {"ridge__alpha": [1.0, 2.0], "pca__n_components": [2, 3]}
    with pytest.raises(ValueError, match="of the transformer; got pca__n_components, ridge__alpha"):
        TradeoffDisplay.from_search(GridSearchCV(steps, other, cv=2).fit(X, y))


def test_a_grid_of_several_dicts_is_filled_by_the_estimator():
    grid = [{"alpha": [0.0, 0.9]}, {"lambd": [1.0, 100.0]}]
    fitted = GridSearchCV(small(max_epochs=1), grid, cv=2, scoring=SCORING, refit=False).fit(
        table()
    )
    shown = TradeoffDisplay.from_search(fitted, criterion="rate")
    np.testing.assert_array_equal(shown.table["alpha"], [0.0, 0.9, 0.5, 0.5])
    np.testing.assert_array_equal(shown.table["lambd"], [10.0, 10.0, 1.0, 100.0])
    TradeoffDisplay.from_search(fitted, criterion="rate", against="distortion")


def test_the_only_criterion_need_not_be_named():
    only = {"rate": metrics.mutual_information}
    grid = {"alpha": [0.0, 0.9]}
    fitted = GridSearchCV(small(max_epochs=1), grid, cv=2, scoring=only, refit=False).fit(table())
    assert TradeoffDisplay.from_search(fitted).criterion == "rate"


def test_what_the_search_did_not_do_is_named(search):
    with pytest.raises(ValueError, match="no criterion 'mmd'; it measured score, rate, distortion"):
        TradeoffDisplay.from_search(search, criterion="mmd")
    other = GridSearchCV(small(max_epochs=1), {"lr": [1e-3, 1e-2]}, cv=2).fit(table())
    with pytest.raises(ValueError, match="alpha, lambd or n_components of the transformer; got lr"):
        TradeoffDisplay.from_search(other)
    with pytest.raises(ValueError, match="not fitted"):
        TradeoffDisplay.from_search(GridSearchCV(small(), {"alpha": [0]}))


# GeneratedDisplay


def test_correlations_are_those_of_pandas():
    frame = pd.DataFrame(holes(table(200)))
    vae = small().fit(frame.to_numpy())
    shown = GeneratedDisplay.from_estimator(vae, frame.to_numpy(), random_state=0)
    np.testing.assert_allclose(shown.correlations()["real"], frame.corr(), atol=1e-9)
    drawn = pd.DataFrame(vae.sample(200, random_state=0))
    np.testing.assert_allclose(shown.correlations()["generated"], drawn.corr(), atol=1e-9)


def test_marginals_are_shares_of_rows(fits):
    vae, X = fits("pandas", 2)
    shown = GeneratedDisplay.from_estimator(vae, X, random_state=0)
    panels = dict(zip(shown.columns, shown.ax_.ravel(), strict=False))
    drawn = vae.sample(len(X), random_state=0)
    bars = panels["city"].patches
    names = [label.get_text() for label in panels["city"].get_xticklabels()]
    for half, frame in zip((bars[:2], bars[2:]), (X, drawn), strict=True):
        shares = frame["city"].value_counts(normalize=True)
        np.testing.assert_allclose([bar.get_height() for bar in half], shares[names])
