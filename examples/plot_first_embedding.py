"""
First embedding: PCA beside InfoVAE
===================================

The six lines of the README, nothing set but a seed: digits in two dimensions, and new rows placed
by ``transform``. About ten seconds on one core.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sk_infovae import InfoVAETransformer
from sk_infovae.inspection import LatentDisplay

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"

# %%
# 1797 pictures of 8 x 8 pixels; a quarter of them is new to the models.
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %%
# Both learn from the pixels alone. How often do the five nearest training rows on the map tell the
# digit of a new row?
figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for ax, model in zip(axes, (PCA(2), InfoVAETransformer(2, random_state=0)), strict=True):
    Z = model.fit_transform(X_train)
    new = model.transform(X_test)
    accuracy = KNeighborsClassifier(5).fit(Z, y_train).score(new, y_test)
    LatentDisplay.from_codes(new, y_test, ax=ax, prior=False, label="digit")
    low, high = np.quantile(new, [0.01, 0.99], axis=0)  # two per cent lie outside the frame
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="auto")
    ax.set_title(f"{type(model).__name__}: 5-NN accuracy of new rows {accuracy:.2f}")
    print(f"{type(model).__name__:20} {accuracy:.3f}")
axes[0].get_legend().remove()
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "first_embedding.png", dpi=100)
print(f"picture: {OUTPUT / 'first_embedding.png'}")

# %%
# The plane of PCA lays digits over each other that the curved sheet of the network keeps apart.
