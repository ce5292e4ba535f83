"""
The plane of alpha and lambd
============================

Where the family's members lie, and which weights are refused. It trains nothing.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
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

print(f"picture: {OUTPUT / 'weights_map.png'}")

# %%
# Every autoencoder of the family is a point of one plane, so that one search can choose among them.
