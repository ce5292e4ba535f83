"""
Anomaly scores: a density, a reconstruction and their rivals
============================================================

Two labelled tables of scikit-learn, breast cancer and digits, with one class thinned to 5 % of the
rows: tumours that are malignant, and the digit 8. No model sees a label. Six scores of the same
rows, their ROC curves and their areas, and how `score_samples` parts the classes. Half a minute on
one core.
"""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
OUTPUT.mkdir(exist_ok=True)
DRAWS, SHARE = 3, 0.05


# %%
# The tables. Digits lose the pixels that hardly vary, and each grey level is spread over its
# interval by uniform noise, so that there is a density to speak of.
def grey():
    """Pixels, and which rows show an 8."""
    X, y = load_digits(return_X_y=True)
    X = X[:, X.std(axis=0) > 0.3]
    return X + np.random.default_rng(0).uniform(size=X.shape), y == 8


def tumours():
    """Thirty measurements, and which rows are malignant."""
    X, y = load_breast_cancer(return_X_y=True)
    return X, y == 0


def thinned(X, is_rare, seed):
    """All rows of the common class, and so many of the other that they are 5 % of the whole."""
    rng = np.random.default_rng(seed)
    common = np.flatnonzero(~is_rare)
    n_rare = round(SHARE / (1 - SHARE) * len(common))
    rare = rng.choice(np.flatnonzero(is_rare), n_rare, replace=False)
    rows = rng.permutation(np.concatenate([common, rare]))
    return X[rows], is_rare[rows]


# %%
# The scores, all with defaults: the higher, the more unusual a row. Those of InfoVAE are of one
# model with two components. Its density takes X in any units; the others get standardised columns.
def scores(X, seed):
    """Scores by name."""
    Z = StandardScaler().fit_transform(X)
    with warnings.catch_warnings(action="ignore"):
        vae = InfoVAETransformer(random_state=seed).fit(X)
    back = vae.inverse_transform(vae.transform(X))
    pca = PCA(2, random_state=seed).fit(Z)
    mixture = GaussianMixture(5, reg_covar=1e-3, random_state=seed).fit(Z)
    distances, _ = NearestNeighbors(n_neighbors=6).fit(Z).kneighbors(Z)  # the first is itself
    return {
        "-score_samples": -vae.score_samples(X),
        "reconstruction error": np.mean(((X - back) / X.std(axis=0)) ** 2, axis=1),
        "PCA reconstruction": np.mean((Z - pca.inverse_transform(pca.transform(Z))) ** 2, axis=1),
        "GaussianMixture, 5": -mixture.score_samples(Z),
        "IsolationForest": -IsolationForest(random_state=seed).fit(Z).score_samples(Z),
        "5th neighbour": distances[:, -1],
    }


found = {}
for name, load in {"breast cancer, malignant": tumours, "digits, 8": grey}.items():
    X, is_rare = load()
    found[name] = []
    for seed in range(DRAWS):
        rows, rare = thinned(X, is_rare, seed)
        found[name].append((scores(rows, seed), rare))

# %%
# Areas under the curves, mean and standard deviation over three draws of the rare rows.
areas = {
    name: {
        score: np.array([roc_auc_score(rare, values[score]) for values, rare in draws])
        for score in draws[0][0]
    }
    for name, draws in found.items()
}
print(f"{'AUC':22}" + "".join(f"{name:>26}" for name in areas))
for score in next(iter(areas.values())):
    cells = (f"{areas[name][score].mean():.3f} +- {areas[name][score].std():.3f}" for name in areas)
    print(f"{score:22}" + "".join(f"{cell:>26}" for cell in cells))

# %%
# A threshold is a quantile of the scores: of the 5 % that are least probable, so many are rare.
for name, draws in found.items():
    hits = []
    for values, rare in draws:
        flagged = values["-score_samples"] > np.quantile(values["-score_samples"], 1 - SHARE)
        hits.append(rare[flagged].mean())
    print(f"{name}: {np.mean(hits):.0%} of the rows beyond the 95 % quantile are of the rare class")

# %%
# Above the ROC curves of the first draw, areas of all three; below the scores of both classes.
STYLES = {
    "-score_samples": ("#D55E00", "-", 2.4),
    "reconstruction error": ("#E69F00", "--", 1.8),
    "PCA reconstruction": ("#56B4E9", "-.", 1.5),
    "GaussianMixture, 5": ("#009E73", ":", 2.0),
    "IsolationForest": ("#0072B2", (0, (5, 1)), 1.5),
    "5th neighbour": ("#CC79A7", (0, (3, 1, 1, 1)), 1.5),
}
figure, axes = plt.subplots(2, 2, figsize=(10, 8.6), layout="constrained", height_ratios=(3, 2))
for (above, below), (name, draws) in zip(axes.T, found.items(), strict=True):
    values, rare = draws[0]
    for score, (colour, style, width) in STYLES.items():
        false, true, _ = roc_curve(rare, values[score])
        label = f"{score}, AUC {areas[name][score].mean():.3f}"
        above.plot(false, true, color=colour, ls=style, lw=width, label=label)
    above.plot([0, 1], [0, 1], color="0.8", lw=1, zorder=0)
    above.set(title=name, xlabel="common rows flagged", ylabel="rare rows flagged")
    above.set(xlim=(0, 1), ylim=(0, 1.01))
    above.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))

    surprise = values["-score_samples"]
    low, high = np.quantile(surprise, [0, 0.995])
    bins = np.linspace(low, high, 30)
    for is_in, colour, label in [(~rare, "#56B4E9", "common"), (rare, "#D55E00", "rare")]:
        clipped = np.clip(surprise[is_in], low, high)
        weights = np.full(len(clipped), 1 / len(clipped))
        below.hist(clipped, bins, weights=weights, color=colour, alpha=0.65, label=label)
    threshold = np.quantile(surprise, 1 - SHARE)
    below.axvline(threshold, color="0.2", ls="--", lw=1, label="95 % quantile of all rows")
    below.set(xlabel="-score_samples, nats (the last bin holds all beyond)")
    below.set(ylabel="part of the class")
    below.set_ylim(top=1.2 * below.get_ylim()[1])
    below.legend(fontsize=8, ncols=3, loc="upper center", framealpha=1)
figure.savefig(OUTPUT / "anomalies.png", dpi=110)
print(f"\npicture: {OUTPUT / 'anomalies.png'}")

# %%
# Of the six scores only the density and the distance to the fifth neighbour have an area above 0.7
# on both tables, and of these two the neighbour's is the larger on both.
even = [score for score in STYLES if all(areas[name][score].mean() > 0.7 for name in areas)]
print(f"above 0.7 on both tables: {', '.join(even)}")
