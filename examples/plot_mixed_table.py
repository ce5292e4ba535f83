"""
A mixed table in, an embedding and a whole table out
====================================================

Titanic: numbers, categories and holes in one DataFrame. It is embedded as it is, its missing ages
are filled, and new passengers are drawn. Reads ``titanic/train.csv`` in the folder
``SK_INFOVAE_DATA``, or else fetches the table from openml.org, or else draws passengers at random.
About a quarter of a minute on one core.
"""

import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import fetch_openml

from sk_infovae import InfoVAETransformer

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"


def draw_passengers(n=891):
    """Passengers that never were, by some of the laws of the real ones."""
    random = np.random.default_rng(0)
    pclass, female = random.choice([1, 2, 3], n, p=[0.24, 0.21, 0.55]), random.random(n) < 0.35
    age = random.gamma(6, np.choose(pclass - 1, [38, 30, 25]) / 6).round().clip(1, 80)
    sibsp, parch = random.poisson(0.5, n), random.poisson(0.2 + 0.4 * female)
    fare = np.choose(pclass - 1, [60, 18, 9]) * (1 + 0.5 * (sibsp + parch))
    saved = random.logistic(size=n) < 1.2 + 2.6 * female - 1.1 * pclass - 0.02 * (age - 30)
    cabin = np.where(pclass == 1, random.choice(list("ABCDE"), n), random.choice(list("DEFG"), n))
    return pd.DataFrame(
        {
            "survived": saved.astype(int),
            "pclass": pclass,
            "sex": np.where(female, "female", "male"),
            "age": np.where(random.random(n) < 0.2, np.nan, age),
            "sibsp": sibsp,
            "parch": parch,
            "fare": (fare * np.exp(0.3 * random.standard_normal(n))).round(2),
            "embarked": random.choice(["S", "C", "Q"], n, p=[0.72, 0.19, 0.09]),
            "cabin": np.where(
                random.random(n) < np.choose(pclass - 1, [0.2, 0.9, 0.97]), None, cabin
            ),
        }
    )


def load_titanic():
    """The passengers, and where they are from."""
    path = Path(os.environ.get("SK_INFOVAE_DATA", "nowhere"), "titanic", "train.csv")
    if path.is_file():
        return pd.read_csv(path).rename(columns=str.lower), "titanic/train.csv of SK_INFOVAE_DATA"
    try:
        with warnings.catch_warnings(action="ignore"):  # of the retry
            table = fetch_openml(
                "titanic", version=1, as_frame=True, parser="auto", n_retries=1, delay=0.1
            )
    except OSError:
        return draw_passengers(), "drawn at random, since openml.org can't be reached"
    return table.frame, "titanic of openml.org"


# %%
# The class is an ordered category that is written as a number, the fare is positive but for a few
# free passages, relatives are counts. Every other column is read by its dtype.
df, source = load_titanic()
print(f"passengers: {source}\n")
df["deck"] = df.pop("cabin").astype(object).str[0]
survived = df["survived"].to_numpy().astype(int) == 1
# Name and ticket are free text.
df = df[["pclass", "sex", "age", "sibsp", "parch", "fare", "embarked", "deck"]]
print(df.dtypes.to_string())
vae = InfoVAETransformer(
    2,
    likelihood={"pclass": "ordinal", "sibsp": "poisson", "parch": "poisson"},
    max_epochs=200,
    random_state=0,
)
Z = vae.fit_transform(df)

# %%
# Missing ages, given everything else that is known of a passenger.
filled = vae.impute(df)
missing = df["age"].isna().to_numpy()
print(f"\n{missing.sum()} ages filled; medians by class:")
print(
    pd.DataFrame({"seen": df["age"], "filled": filled["age"].where(missing)})
    .groupby(df["pclass"])
    .median()
    .round(1)
    .to_string()
)

# %%
# New passengers, in the same columns and dtypes.
drawn = vae.sample(len(df), random_state=0)
print("\nFive of the drawn passengers:")
print(drawn.head().to_string())

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
for value, color, label in [(False, "tab:gray", "died"), (True, "tab:green", "survived")]:
    rows = survived == value
    axes[0].scatter(*Z[rows].T, s=9, color=color, alpha=0.7, label=label)
axes[0].set(title="The embedding", xlabel="$z_1$", ylabel="$z_2$")
axes[0].legend(title="not shown to the model", loc="upper left")
axes[0].set_ylim(top=6)
bins = np.linspace(0, 80, 25)
axes[1].hist(df["age"], bins, density=True, color="tab:gray", alpha=0.6, label="seen")
axes[1].hist(filled.loc[missing, "age"], bins, density=True, histtype="step", lw=2, label="filled")
axes[1].hist(drawn["age"], bins, density=True, histtype="step", lw=2, label="sampled")
axes[1].set(title="Age", xlabel="years", ylabel="density")
axes[1].legend()
share = pd.DataFrame(
    {
        name: table["embarked"].str.cat(table["sex"], sep=" ").value_counts(normalize=True)
        for name, table in [("seen", df), ("sampled", drawn)]
    }
)
share.plot.bar(ax=axes[2], rot=60, color=["tab:gray", "tab:green"], width=0.8)
axes[2].set(title="Harbour and sex", xlabel="", ylabel="share")
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "mixed_table.png", dpi=120)

# %%
# One model embeds the passengers, fills their missing ages by what else is known of them, and draws
# new ones in the same columns and dtypes.
