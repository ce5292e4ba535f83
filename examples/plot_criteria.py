"""
What each criterion can tell, and what it can't
===============================================

One search over alpha, lambd and n_components on digits, scored by all of `sk_infovae.metrics` at
once, and a picture for each of them; then what an MMD sees of one dimension among many. A few
minutes on two cores.
"""

import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import ShuffleSplit, train_test_split

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.model_selection import InfoVAEGridSearchCV

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
OUTPUT.mkdir(exist_ok=True)

# %%
# Digits without the pixels that hardly vary, each grey level spread over its interval by uniform
# noise, so that there is a density to speak of.
X = load_digits().data
X = X[:, X.std(axis=0) > 0.3]
X = X + np.random.default_rng(0).uniform(size=X.shape)

# %%
# alpha against n_components, and alpha against lambd: 27 candidates on three splits, the eight
# metrics on the quarter of the rows that was held out.
ALPHAS, DIMENSIONS, LAMBDS = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0], [2, 8, 24], [1, 10, 100, 1000]
FEW_ALPHAS = [0.0, 0.5, 0.9]
SPLITS = 3
grid = [
    {"alpha": ALPHAS, "n_components": DIMENSIONS, "lambd": [10]},
    {"alpha": FEW_ALPHAS, "n_components": [8], "lambd": [1, 100, 1000]},
]
start = time.perf_counter()
search = InfoVAEGridSearchCV(
    InfoVAETransformer(n_importance_samples=128, random_state=0),
    grid,
    scoring={name: getattr(metrics, name) for name in metrics.__all__},
    refit=False,
    cv=ShuffleSplit(SPLITS, test_size=0.25, random_state=0),
    n_jobs=2,
).fit(X)
results = search.cv_results_
N_TEST = math.ceil(0.25 * len(X))
print(f"{27 * SPLITS} fits and {8 * 27 * SPLITS} scores in {time.perf_counter() - start:.0f} s")
print(f"{N_TEST} held-out rows, log n = {math.log(N_TEST):.2f}\n")


# %%
# A value of every metric for each candidate, mean over the splits.
def value(name, alpha, lambd, n_components):
    """Mean and standard error of a metric for one candidate."""
    wanted = {"alpha": alpha, "lambd": lambd, "n_components": n_components}
    i = results["params"].index(wanted)
    return results[f"mean_test_{name}"][i], results[f"std_test_{name}"][i] / math.sqrt(SPLITS - 1)


print(
    f"{'n_components':>12} {'lambd':>5} {'alpha':>5}" + "".join(f"{n:>26}" for n in metrics.__all__)
)
for parameters in results["params"]:
    cells = [value(name, **parameters)[0] for name in metrics.__all__]
    head = f"{parameters['n_components']:12} {parameters['lambd']:5} {parameters['alpha']:5}"
    print(head + "".join(f"{cell:26.4f}" for cell in cells))
print()
print("best alpha at lambd = 10, the first of equals")
for d in DIMENSIONS:
    best = {n: max(ALPHAS, key=lambda a: value(n, a, 10, d)[0]) for n in metrics.__all__}
    print(f"{d:2} components: " + ", ".join(f"{name} {alpha:g}" for name, alpha in best.items()))


# %%
# A picture of each: on the left against alpha, on the right against lambd. Higher is better, a star
# is the best of its line where one is; bars are standard errors over the splits.
def draw(name, label, title, note=None):
    """Two panels of one metric; `note` may add to them."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
    lines = [(left, d, ALPHAS, [(alpha, 10, d) for alpha in ALPHAS]) for d in DIMENSIONS]
    lines += [(right, f"{a:g}", LAMBDS, [(a, lambd, 8) for lambd in LAMBDS]) for a in FEW_ALPHAS]
    for k, (ax, line, places, candidates) in enumerate(lines):
        mean, error = np.transpose([value(name, *candidate) for candidate in candidates])
        ax.errorbar(places, mean, error, color=f"C{k}", marker="o", ms=5, capsize=3, label=line)
        best = mean.argmax()
        if np.isclose(mean, mean[best], rtol=1e-4).sum() == 1:
            ax.plot(places[best], mean[best], "*", ms=17, color=f"C{k}", mec="white", zorder=3)
    left.set(xlabel="alpha", ylabel=label, title="lambd = 10")
    right.set(xlabel="lambd", xscale="log", title="8 components")
    right.set_xticks(LAMBDS, [f"{lambd:,}" for lambd in LAMBDS])
    right.minorticks_off()
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 3, "frameon": False}
    left.legend(title="components", **below)
    right.legend(title="alpha", **below)
    if note is not None:
        note(left, right)
    figure.suptitle(title)
    path = OUTPUT / f"criteria_{name}.png"
    figure.savefig(path, dpi=110)
    print(f"picture: {path}")


def cap(left, right):
    """The line that no estimate of mutual information can cross."""
    most = math.log(N_TEST)
    for ax in (left, right):
        ax.axhline(most, color="0.35", ls=":", zorder=0)
        ax.set_ylim(4, most + 0.25)
    left.text(0, most + 0.06, f"log n = {most:.2f}", va="bottom", color="0.35")


def without_the_fall(left, right):
    """Leave out what 24 components come to at alpha = 1."""
    left.set_ylim(-156, -110)
    worst = value("elbo", 1.0, 10, 24)[0]
    left.text(0.86, -153, f"24 components: {worst:.0f} at alpha = 1", ha="right", color="C2")


def powers_of_ten(left, right):
    """Most of what lambd does happens near 0."""
    right.set_yscale("symlog", linthresh=3e-4, linscale=0.3)
    right.set_ylim(-0.04, 0)
    ticks = [-0.03, -0.01, -0.003, -0.001, -0.0003, 0]
    right.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    right.minorticks_off()


def dimensions(left, right):
    """How many dimensions there are."""
    for d in DIMENSIONS:
        left.axhline(d, color="0.35", ls=":", lw=1, zorder=0)
    right.axhline(8, color="0.35", ls=":", lw=1, zorder=0)
    left.set(ylim=(0, 26), yticks=[0, *DIMENSIONS, 16])
    right.set_ylim(0, 8.7)


draw("log_likelihood", "log p(x), nats per sample", "log_likelihood: the model of the data")
draw("elbo", "ELBO, nats per sample", "elbo: it leans to alpha = 0", without_the_fall)
draw(
    "neg_reconstruction_error",
    "minus error, standard deviations",
    "neg_reconstruction_error: the larger the code the better",
)
draw(
    "reconstruction_r2",
    "R2, mean over pixels",
    "reconstruction_r2: the same question in parts of the variance",
)
draw(
    "mutual_information",
    "I(x; z), nats per sample",
    "mutual_information: up to log n, which says no more",
    cap,
)
draw(
    "neg_mmd",
    "minus squared MMD",
    "neg_mmd: the codes as a whole against the prior",
    powers_of_ten,
)
draw("active_units", "active dimensions", "active_units: how many dimensions are used", dimensions)
draw(
    "trustworthiness",
    "trustworthiness",
    "trustworthiness: are neighbours in the code neighbours in the table",
)


# %%
# One dimension of many. Codes of a good model; then one dimension at a time is squeezed to a
# point, or its q(z|x) is replaced by the prior, whatever x is. What does the squared MMD say, in
# comparison with the deviation that it would have for as many rows drawn from the prior? The kernel
# is the default of `MMD`, Gaussian with s^2 = n_components.
def squared_mmd(mean, variance):
    """Between the mixture of the N(mean, diag variance) of all rows and N(0, I)."""
    n, d = mean.shape

    def kernel_mean(difference, total):
        terms = np.log1p(total / d) + difference**2 / (d + total)
        return np.exp(-0.5 * terms.sum(-1))

    pairs = kernel_mean(mean[:, None] - mean, variance[:, None] + variance)
    apart = (pairs.sum() - np.trace(pairs)) / (n * (n - 1))
    return apart - 2 * kernel_mean(mean, variance + 1).mean() + (d / (d + 2)) ** (d / 2)


def null_deviation(n, d):
    """Standard deviation of the estimate for n draws from the prior."""
    second = (d / (d + 4)) ** (d / 2)
    mixed = (d / (d + 1)) ** d * ((d + 3) / (d + 1)) ** (-d / 2)
    first = (d / (d + 2)) ** d
    return math.sqrt(2 / (n * (n - 1)) * (second - 2 * mixed + first))


train, test = train_test_split(X, test_size=0.25, random_state=0)
MANY = [1, 2, 4, 8, 16, 32]
rise = np.empty((len(MANY), 2))
for i, d in enumerate(MANY):
    vae = InfoVAETransformer(d, alpha=0.9, lambd=100, random_state=0).fit(train)
    mean, std = (part.astype(float) for part in vae.posterior(test))
    before = squared_mmd(mean, std**2)
    for j, dead in enumerate((0.0, 1.0)):
        after = []
        for dimension in range(d):
            m, v = mean.copy(), std**2
            m[:, dimension], v[:, dimension] = 0.0, dead
            after.append(squared_mmd(m, v))
        rise[i, j] = np.mean(after) - before
null = [null_deviation(len(test), d) for d in MANY]
print("\ncomponents   squeezed to a point   made the prior   null deviation")
for d, (point, prior), deviation in zip(MANY, rise, null, strict=True):
    print(f"{d:10}   {point:19.5f}   {prior:14.5f}   {deviation:14.5f}")

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
ax.plot(MANY, rise[:, 0], "o-", color="C3", label="one dimension squeezed to a point")
ax.plot(MANY, rise[:, 1], "s-", color="C0", label="one dimension made the prior, whatever x is")
ax.fill_between(
    MANY, -2 * np.array(null), 2 * np.array(null), color="0.85", label="2 null deviations"
)
ax.axhline(0, color="0.35", lw=1, zorder=0)
ax.set_xscale("log", base=2)
ax.set_yscale("symlog", linthresh=1e-3)
ax.set_xticks(MANY, MANY)
ax.set_ylim(-1e-2, 2)
ax.set(
    xlabel="components",
    ylabel="rise of the squared MMD",
    title="What the MMD hears of one dimension among many",
)
ax.legend()
path = OUTPUT / "criteria_lone_dimension.png"
figure.savefig(path, dpi=110)
print(f"\npicture: {path}")

# %%
# Only the score and the reconstruction have a best alpha inside; the ELBO and the MMD end at 0, the
# mutual information at 1, and the MMD hardly hears of one dead dimension among many.
