"""
A mixed table in, an embedding and a whole table out
====================================================

Titanic: numbers, categories and holes in one DataFrame. It is embedded as it is, its missing ages
are filled, and new passengers are drawn. Reads ``titanic/train.csv`` in the folder
``SK_INFOVAE_DATA``, or else fetches the table from openml.org. About a minute on two cores.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sk_infovae import InfoVAETransformer

OUTPUT = Path(globals().get("__file__", "examples/plot_mixed_table.py")).parent / "output"


def load_titanic():
    """Passengers without name and ticket, which are free text, and the label."""
    folder = os.environ.get("SK_INFOVAE_DATA")
    if folder:
        df = pd.read_csv(Path(folder) / "titanic" / "train.csv").rename(columns=str.lower)
        df["deck"] = df.pop("cabin").str[0]
    else:
        from sklearn.datasets import fetch_openml

        df = fetch_openml("titanic", version=1, as_frame=True, parser="auto").frame
        df["deck"] = df.pop("cabin").astype(object).str[0]
    survived = df["survived"].astype(int) == 1
    columns = ["pclass", "sex", "age", "sibsp", "parch", "fare", "embarked", "deck"]
    return df[columns], survived.to_numpy()


# %%
# The class is an ordered category that is written as a number, the fare is positive but for a few
# free passages, relatives are counts. Every other column is read by its dtype.
df, survived = load_titanic()
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
