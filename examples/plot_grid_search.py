"""
A grid search over alpha, lambd and n_components
================================================

60 candidates on digits, trained together by `InfoVAEGridSearchCV` and scored by three metrics at
once: the score, the mutual information of row and code, and the MMD between codes and prior. Their
planes over alpha and lambd, one for each n_components. A few minutes on two cores.
"""

import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import ShuffleSplit

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.model_selection import InfoVAEGridSearchCV

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
GRID = {
    "alpha": [0.0, 0.25, 0.5, 0.75, 0.9],
    "lambd": [1, 10, 100, 1000],
    "n_components": [4, 8, 16],
}
SPLITS = 2

# %%
# Digits without the pixels that hardly vary, each grey level spread over its interval by uniform
# noise, so that there is a density to speak of.
X = load_digits().data
X = X[:, X.std(axis=0) > 0.3]
X = X + np.random.default_rng(0).uniform(size=X.shape)

# %%
# The search: any scorer of scikit-learn's form can stand in `scoring`, `refit` names the one that
# decides. Candidates of equal n_components take every step as one batched network.
start = time.perf_counter()
search = InfoVAEGridSearchCV(
    InfoVAETransformer(n_importance_samples=128, random_state=0),
    GRID,
    scoring={
        "score": metrics.log_likelihood,
        "information": metrics.mutual_information,
        "mmd": metrics.neg_mmd,
    },
    refit="score",
    cv=ShuffleSplit(SPLITS, test_size=0.25, random_state=0),
    n_jobs=2,
).fit(X)
results = search.cv_results_
n_fits = SPLITS * len(results["params"])
seconds = time.perf_counter() - start
trained = SPLITS * results["mean_fit_time"].sum()
print(
    f"{n_fits} fits and a refit, {3 * n_fits} scores: {seconds:.0f} s, {trained:.0f} s of training"
)
print(f"best: {search.best_params_}, {search.best_score_:.2f} nats per sample\n")

# %%
# The planes; a star marks the best cell of each.
planes = {}
for name in ("score", "information", "mmd"):
    planes[name] = np.empty([len(values) for values in GRID.values()])
    for parameters, mean in zip(results["params"], results[f"mean_test_{name}"], strict=True):
        planes[name][tuple(GRID[key].index(parameters[key]) for key in GRID)] = mean


def draw_plane(ax, plane, text, **style):
    """One metric over alpha and lambd as colours and numbers; a star marks its best cell."""
    image = ax.imshow(plane.T, origin="lower", aspect="auto", **style)
    best = np.unravel_index(plane.argmax(), plane.shape)
    for (i, j), cell in np.ndenumerate(plane):
        red, green, blue, _ = image.cmap(image.norm(cell))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        ax.text(
            i,
            j,
            text(cell) + (" *" if (i, j) == best else ""),
            ha="center",
            va="center",
            size=8.5,
            weight="bold" if (i, j) == best else "normal",
            color="white" if dark else "black",
        )
    ax.set_xticks(range(len(GRID["alpha"])), [f"{alpha:g}" for alpha in GRID["alpha"]])
    ax.set_yticks(range(len(GRID["lambd"])), [f"{lambd:g}" for lambd in GRID["lambd"]])
    return image


ROWS = {
    "score": ("log p(x), nats per sample", "{:.1f}"),
    "information": ("I(x; z), nats per sample", "{:.2f}"),
    "mmd": ("minus squared MMD, thousandths", "{:z.2f}"),
}
n_test, n_columns = math.ceil(0.25 * len(X)), len(GRID["n_components"])
planes["mmd"] = 1000 * planes["mmd"]
figure, axes = plt.subplots(
    3, n_columns, figsize=(4 * n_columns, 8.6), sharex=True, sharey=True, layout="constrained"
)
for row, (name, (label, text)) in zip(axes, ROWS.items(), strict=True):
    values = planes[name]
    # The outliers of a plane would leave one colour for all the rest.
    style = {"vmin": np.quantile(values, 0.1), "vmax": values.max(), "cmap": "viridis"}
    for k, ax in enumerate(row):
        image = draw_plane(ax, values[:, :, k], text.format, **style)
    figure.colorbar(image, ax=row, label=label, extend="min", shrink=0.9)
    row[0].set_ylabel("lambd")
for ax, d in zip(axes[0], GRID["n_components"], strict=True):
    ax.set_title(f"{d} components")
for ax in axes[-1]:
    ax.set_xlabel("alpha")
figure.suptitle(
    f"Digits, {n_fits} fits: score, mutual information (at most log n = {math.log(n_test):.2f}) "
    "and MMD on held-out rows"
)
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "grid_search.png", dpi=110)
print("best for each n_components")
for k, d in enumerate(GRID["n_components"]):
    for name, plane in planes.items():
        i, j = np.unravel_index(plane[:, :, k].argmax(), plane.shape[:2])
        print(
            f"{d:4} {name:12} alpha {GRID['alpha'][i]:<5g} lambd {GRID['lambd'][j]:<5g}"
            f" {plane[i, j, k]:9.3f}"
        )
print(f"\npicture: {OUTPUT / 'grid_search.png'}")

# %%
# The score takes 16 components and alpha = 0.5, and is flat around it; lambd = 100 instead of 10
# brings the codes nearer to the prior and costs at most 0.6 nats.
