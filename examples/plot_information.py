"""
What alpha does
===============

On digits: the information that the code keeps and the divergence from the prior against alpha,
three seeds. About two minutes on one core.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_infovae import InfoVAETransformer
from sk_infovae.likelihoods import Gaussian

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
OUTPUT.mkdir(exist_ok=True)

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
print(f"\npicture: {OUTPUT / 'information_alpha.png'}")

# %%
# The higher alpha is, the more the code knows of a row, and the further the codes as a whole are
# from the prior.
