"""
The plane of alpha and lambd, and what alpha does
=================================================

Where the family's members lie, and which weights are refused; then, on digits, the information
that the code keeps and the divergence from the prior against alpha, three seeds. About two minutes
on one core.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_infovae import InfoVAETransformer
from sk_infovae.likelihoods import Gaussian

OUTPUT = Path(globals().get("__file__", "examples/plot_weights.py")).parent / "output"
OUTPUT.mkdir(exist_ok=True)

# %%
# KL(q(z|x) || p(z)) is weighed by 1 - alpha, D(q(z), p(z)) by alpha + lambd - 1. A negative weight
# would reward a mismatch; with lambd <= 0 nothing ties the codes as a whole to the prior. Up to
# lambd = 2 the axis is linear, above it goes by powers of ten.
figure, ax = plt.subplots(figsize=(9, 6.2), layout="constrained")
LEFT, RIGHT, LOW, HIGH = -1.5, 1.7, -0.9, 2e4
ax.set(xlim=(LEFT, RIGHT), xlabel="alpha", ylabel="lambd")
ax.set_yscale("symlog", linthresh=2, linscale=1.6)
ax.set_ylim(LOW, HIGH)

alpha = np.linspace(LEFT, 1, 200)
ax.fill_between(alpha, 1 - alpha, HIGH, color="C0", alpha=0.13, lw=0)
ax.fill_between(alpha, 0, 1 - alpha, color="C3", alpha=0.16, lw=0)
ax.fill_between([LEFT, 1], LOW, 0, color="0.5", alpha=0.3, lw=0)
ax.fill_between([1, RIGHT], LOW, HIGH, color="C1", alpha=0.18, lw=0)

ax.plot(alpha, 1 - alpha, color="C3", lw=2.5)
ax.plot([1, 1], [0, HIGH], color="C1", lw=2.5)
ax.plot([0], [1], "o", color="k", ms=9, zorder=3)
ax.plot([1], [1], "s", color="k", ms=9, zorder=3)
ax.plot([0.5], [10], "*", color="C0", mec="k", ms=16, zorder=3)

middle = {"ha": "center", "va": "center"}
ax.text(-0.4, 600, "InfoVAE", color="C0", size=20, weight="bold", **middle)
ax.text(
    -0.4,
    180,
    "alpha up: more information in the code\nlambd up: codes closer to the prior",
    **middle,
)
ax.text(-0.7, 0.6, "alpha + lambd < 1\na negative weight on D", color="C3", **middle)
ax.text(-0.25, -0.45, "lambd <= 0: nothing ties q(z) to the prior", color="0.25", **middle)
ax.text(1.36, 60, "alpha > 1\na negative weight\non KL(q(z|x) || p(z))", color="#a85400", **middle)

arrow = {"arrowprops": {"arrowstyle": "-", "color": "0.3", "shrinkB": 6}}
ax.annotate("VAE, the ELBO\n(0, 1)", (0, 1), (0.12, 2.4), **middle, **arrow)
ax.annotate("adversarial\nautoencoder\n(1, 1), D = JS", (1, 1), (1.38, 1.6), **middle, **arrow)
ax.annotate("the default\n(0.5, 10)", (0.5, 10), (0.1, 22), **middle, **arrow)
ax.annotate(
    "beta-VAE, beta = lambd = 1 - alpha", (-0.8, 1.8), (-0.8, 4.6), color="C3", **middle, **arrow
)
ax.text(0.93, 1200, "MMD-VAE, WAE: alpha = 1", rotation=90, color="#a85400", **middle)
ax.set_yticks([0, 1, 2, 10, 100, 1000, 10_000], ["0", "1", "2", "10", "100", "1000", "10,000"])
ax.minorticks_off()
ax.set_title("Which weights are allowed, and what they are called")
figure.savefig(OUTPUT / "weights_map.png", dpi=110)

# %%
# Digits, 2 components, lambd = 10, one noise for all pixels; measured on the half that was not
# trained on. The mutual information of n rows with their codes is log n at most: a row can't say
# more than which one it is. D is the squared MMD.
X = load_digits().data / 16
X_train, X_test = train_test_split(X, test_size=0.5, random_state=0)
ALPHAS, SEEDS = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0], range(3)
FIELDS = ("mutual_information", "marginal_kl", "kl", "divergence")
table = np.empty((len(ALPHAS), len(SEEDS), len(FIELDS)))
print("alpha   " + "   ".join(f"{field:>18}" for field in FIELDS))
for i, alpha in enumerate(ALPHAS):
    for j, seed in enumerate(SEEDS):
        vae = InfoVAETransformer(
            2,
            alpha=alpha,
            lambd=10,
            likelihood=Gaussian(shared=True, standardised=False),
            random_state=seed,
        ).fit(X_train)
        found = vae.information(X_test)
        table[i, j] = [getattr(found, field) for field in FIELDS]
    pairs = zip(table[i].mean(0), table[i].std(0), strict=True)
    print(f"{alpha:5}   " + "   ".join(f"{m:9.4f} +- {s:5.4f}" for m, s in pairs), flush=True)
cap = found.mutual_information_cap
print(f"mean and standard deviation over {len(SEEDS)} seeds; {found.n_rows} rows, cap {cap:.2f}")

# %%
# On the left nats, on the right D; a dot is a seed, a line their mean.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax, field, colour, label in [
    (left, 0, "C0", "mutual information of row and code"),
    (left, 1, "C3", "KL(q(z) || p(z)), codes against prior"),
    (right, 3, "C2", "D, the squared MMD"),
]:
    ax.plot(ALPHAS, table[:, :, field].mean(1), color=colour, label=label)
    ax.plot(ALPHAS, table[:, :, field], "o", color=colour, ms=5, alpha=0.6)
left.axhline(cap, color="0.4", ls=":")
left.text(0, cap, f" log n = {cap:.2f}, the most that can be measured", va="bottom", color="0.4")
left.set(xlabel="alpha", ylabel="nats per row", ylim=(0, 1.12 * cap))
left.legend(loc="upper left", bbox_to_anchor=(0, 0.86))
right.set(xlabel="alpha", ylabel="D(q(z), p(z)), at most 2")
right.set_ylim(bottom=0)
right.legend(loc="upper left")
figure.suptitle("Digits, 2 components, lambd = 10: held-out rows, three seeds")
figure.savefig(OUTPUT / "information_alpha.png", dpi=110)
print(f"\npictures: {OUTPUT / 'weights_map.png'}, {OUTPUT / 'information_alpha.png'}")
