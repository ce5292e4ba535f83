"""
Counts of rows that were counted for different lengths
======================================================

Words of texts, molecules of cells, visits of customers: some rows are counted longer than others,
and a code of counts then holds the length before anything else. With an offset by the row's total
it holds shares. The texts are made up: three subjects, lengths from a few dozen words to thousands.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor

from sk_infovae import InfoVAETransformer
from sk_infovae.inspection import LatentDisplay
from sk_infovae.likelihoods import NegativeBinomial

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
OUTPUT.mkdir(exist_ok=True)

# %%
# Each subject has words of its own, and each text a mixture of subjects.
rng = np.random.default_rng(0)
subject = rng.integers(3, size=900)
mixture = rng.dirichlet([0.4] * 3, size=900) + 3 * np.eye(3)[subject]
words = rng.dirichlet([0.1] * 60, size=3)
length = np.exp(rng.normal(5, 1, size=900))
mixture /= mixture.sum(axis=1, keepdims=True)
X = rng.poisson(length[:, None] * mixture @ words)
names = np.array(["cooking", "football", "law"])[subject]
print(f"{X.shape[0]} texts of {X.sum(1).min()} to {X.sum(1).max()} words")

# %%
# The same model without and with the offset. What the code says of the length, and of the mixture
# of subjects, is the R2 of the five nearest texts' mean, in five folds.
figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
found = {}
for row, offset in zip(axes, (None, "total"), strict=True):
    likelihood = NegativeBinomial(offset=offset)
    vae = InfoVAETransformer(2, likelihood=likelihood, random_state=0).fit(X)
    codes = vae.transform(X)
    of_length, of_mixture = (
        cross_val_score(KNeighborsRegressor(5), codes, target, cv=5).mean()
        for target in (np.log(length), mixture)
    )
    found[offset] = of_length, of_mixture
    LatentDisplay.from_codes(codes, names, ax=row[0])
    row[0].set_title(f"offset={offset!r}, by subject; mixture R2 {of_mixture:.2f}")
    LatentDisplay.from_codes(codes, np.log10(length), ax=row[1])
    row[1].set_title(f"by log10 of the length; R2 {of_length:.2f}")
figure.savefig(OUTPUT / "counts.png", dpi=150)

# %%
# Without the offset one direction is the length, and the mixtures are squeezed into what is left.
for offset, (of_length, of_mixture) in found.items():
    print(f"offset={offset!r}: R2 of the length {of_length:.2f}, of the mixture {of_mixture:.2f}")
