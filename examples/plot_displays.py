"""
Eight pictures of one model
===========================

The Displays of ``sk_infovae.inspection`` on wine: codes, training, information, reconstruction,
loadings, traversals, a search, drawn rows. Half a minute on one core.
"""

from pathlib import Path

from sklearn.datasets import load_wine

from sk_infovae import InfoVAETransformer
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

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
OUTPUT.mkdir(exist_ok=True)


def save(display, name):
    """Keep a picture."""
    display.figure_.savefig(OUTPUT / f"displays_{name}.png", dpi=100)
    print(f"picture: {OUTPUT / f'displays_{name}.png'}")


# %%
# The model: 178 wines, 13 measurements of each, three cultivars that it is not shown.
wine = load_wine(as_frame=True)
X, cultivar = wine.data, wine.target_names[wine.target]
vae = InfoVAETransformer(3, random_state=0).fit(X)

# %%
# Codes by cultivar, with the prior's circles and the spread of fifteen of them.
save(LatentDisplay.from_estimator(vae, X, cultivar, label="cultivar", n_ellipses=15), "latent")

# %%
# Every term of the objective, of training and of held-out rows.
save(HistoryDisplay.from_estimator(vae), "history")

# %%
# What the code knows; the same as a table.
save(InformationDisplay.from_estimator(vae, X), "information")
print(vae.information(X))

# %%
# Which columns come back: color intensity and flavanoids do well, magnesium and malic acid badly.
save(ReconstructionDisplay.from_estimator(vae, X), "reconstruction")

# %%
# What each dimension does to the columns.
save(LoadingsDisplay.from_estimator(vae), "loadings")
save(LatentTraversalDisplay.from_estimator(vae), "traversal")

# %%
# Rows that never were, beside the real ones.
save(GeneratedDisplay.from_estimator(vae, X, random_state=0), "generated")

# %%
# A search over the weights, by the score.
search = InfoVAEGridSearchCV(
    InfoVAETransformer(random_state=0),
    {"alpha": [0.0, 0.5, 0.9], "lambd": [1, 10, 100], "n_components": [2, 3]},
    cv=3,
).fit(X)
save(TradeoffDisplay.from_search(search), "tradeoff")
print(search.best_params_)

# %%
# Three dimensions keep seven tenths of the wines' variance: the first is flavanoids and phenols,
# the second colour and alcohol, the third ash.
