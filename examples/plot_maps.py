"""
Maps: PCA, UMAP, and InfoVAE without and with neighbours
========================================================

Three tables in two dimensions: digits, Letter and a mixed table (adult's census columns). Each
method learns its map from the training rows without a target, and places new rows. Those are what
the pictures show, with the accuracy of their five nearest training rows on the map and the seconds
of fit and both transforms in the titles. Letter and adult are read from ``SK_INFOVAE_DATA``, and
left out without it; UMAP is left out where umap-learn is not installed. Three minutes on two
cores.
"""

import importlib.util
import os
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae.preprocessing import TabularPreprocessor

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
DATA = Path(os.environ.get("SK_INFOVAE_DATA", "nowhere"))
MOST_ROWS = 8_000


# %%
# The tables, at most 8,000 rows of each.
def tables():
    """Rows and classes by name."""
    pixels, digit = load_digits(return_X_y=True)
    yield "digits", pixels / 16, digit
    letters = DATA / "letter" / "LetterRecognition.csv"
    if letters.is_file():
        table = pd.read_csv(letters).iloc[:MOST_ROWS]
        yield "Letter", table.iloc[:, 1:].to_numpy(float), table.iloc[:, 0].to_numpy()
    census = DATA / "adult" / "adult-train.csv"
    if census.is_file():
        names = ["age", "work", "weight", "education", "years", "marital", "occupation", "role",
                 "race", "sex", "gain", "loss", "hours", "country", "income"]  # fmt: skip
        table = pd.read_csv(census, header=None, names=names, skipinitialspace=True, na_values="?")
        table = table.drop(columns="weight").iloc[:MOST_ROWS]
        y = table.pop("income").to_numpy()
        yield "adult (mixed)", table, y


# %%
# The methods. PCA and UMAP take standardised numbers and indicators of levels, grey values as they
# are; InfoVAE takes grey values from 0 to 1 as they are under the bernoulli likelihood.
def is_grey(X):
    """Whether the columns are pixels."""
    return not isinstance(X, pd.DataFrame) and X.shape[1] == 64


def as_numbers(model, X):
    """PCA or UMAP behind what it needs."""
    if is_grey(X):
        return model
    numbers = make_pipeline(TabularPreprocessor(), SimpleImputer(keep_empty_features=True))
    return make_pipeline(numbers, model)


def methods(X):
    """Models by name."""
    found = {"PCA": as_numbers(PCA(2, random_state=0), X)}
    if importlib.util.find_spec("umap") is not None:
        from umap import UMAP

        found["UMAP"] = as_numbers(UMAP(n_components=2, random_state=0, n_jobs=1), X)
    found["InfoVAE"] = InfoVAETransformer(2, random_state=0)
    found["InfoVAE, neighbor_weight=50"] = InfoVAETransformer(
        2,
        neighbor_weight=50,
        n_neighbors=10,
        hidden_layer_sizes=(256, 256, 256, 256),
        batch_size=256,
        alpha=0.9,
        early_stopping=False,
        likelihood="bernoulli" if is_grey(X) else "auto",
        random_state=0,
    )
    return found


# %%
# A map of the training rows, new rows placed on it, and what their neighbours there say.
def draw(axes, name, model, X, y):
    """One picture; returns its accuracy."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    start = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):
        Z = model.fit(X_train).transform(X_train)
        Z_test = model.transform(X_test)
    seconds = time.perf_counter() - start
    scaler = StandardScaler().fit(Z)
    knn = KNeighborsClassifier().fit(scaler.transform(Z), y_train)
    accuracy = knn.score(scaler.transform(Z_test), y_test)
    classes, codes = np.unique(y_test, return_inverse=True)
    colours = plt.get_cmap("tab20" if len(classes) > 10 else "tab10")
    axes.scatter(*Z_test.T, s=4, c=colours(codes % colours.N), linewidths=0, alpha=0.7)
    low, high = np.quantile(Z_test, [0.002, 0.998], axis=0)
    margin = 0.05 * (high - low)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), xticks=[], yticks=[])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set_title(f"{name}\n5-NN {accuracy:.3f}, {seconds:.0f} s", fontsize=10)
    return accuracy, seconds


every = list(tables())
n_methods = len(methods(every[0][1]))
figure, grid = plt.subplots(
    len(every), n_methods, figsize=(3.1 * n_methods, 3.3 * len(every)), layout="constrained"
)
print(f"{'table':14} {'method':28} {'5-NN':>6} {'seconds':>8}")
for row, (table, X, y) in zip(np.atleast_2d(grid), every, strict=True):
    row[0].set_ylabel(table, fontsize=12)
    for axes, (name, model) in zip(row, methods(X).items(), strict=True):
        accuracy, seconds = draw(axes, name, model, X, y)
        print(f"{table:14} {name:28} {accuracy:6.3f} {seconds:8.1f}")
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "maps.png", dpi=110)
print(f"\npicture: {OUTPUT / 'maps.png'}")

# %%
# Without neighbours an autoencoder's map is behind UMAP's; with them it is close to it, and has a
# way back, a density and room for missing cells.
