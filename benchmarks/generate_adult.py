"""Rows drawn from the model of Adult: how useful they are, and how easily told from real ones.

    python benchmarks/generate_adult.py [--components 16] [--weights ALPHA LAMBD] [--epochs 50]
        [--rows N] [--levels]

Fits all 15 columns, income included, on the official training rows, draws as many new rows (z
from the prior N(0, I)), and prints what follows. --levels gives numbers of at most 256 distinct
values (all but fnlwgt, which is lognormal) the categorical likelihood: most of them have spikes,
hours at 40 and gains at 0, which no normal noise can make. The setting of `GRID` is taken whose
new rows train the best classifiers (accuracy + F1) for a fifth of the training rows, held out;
--weights takes the default widths with these.

- accuracy and F1 of income over 50K on the official test rows, of a decision tree, AdaBoost, a
  logistic regression and a multilayer perceptron that were trained on the new rows; the same
  trained on the real ones, and their means;
- the AUC of a gradient boosting that tells new rows from real test rows, on held-out rows of both
  (0.5: it can't), and of the five columns that it tells them by most easily, each alone;
- levels of 1 % or more of the training rows that no new row has, and the largest difference of a
  level's share.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from tables import adult

from sk_infovae import InfoVAETransformer
from sk_infovae.preprocessing import TabularPreprocessor

GRID = [
    {"alpha": alpha, "lambd": lambd, "hidden_layer_sizes": widths}
    for widths in [(128, 64), (512,)]
    for alpha, lambd in [(0.0, 1.0), (0.25, 10.0), (0.5, 10.0)]
]
CLASSIFIERS = {
    "decision tree": DecisionTreeClassifier(max_depth=15, class_weight="balanced", random_state=0),
    "AdaBoost": AdaBoostClassifier(random_state=0),
    "logistic": LogisticRegression(class_weight="balanced", max_iter=1000),
    "perceptron": MLPClassifier((50,), max_iter=50, random_state=0),
}


def train_and_test(rows, test):
    """Accuracy and F1 of every classifier, trained on rows, on test rows."""
    warnings.simplefilter("ignore")
    numbers = make_pipeline(TabularPreprocessor(), StandardScaler())
    X, y = numbers.fit_transform(rows.drop(columns="income")), rows["income"] == ">50K"
    X_test, y_test = numbers.transform(test.drop(columns="income")), test["income"] == ">50K"
    scores = []
    for classifier in CLASSIFIERS.values():
        guess = classifier.fit(X, y).predict(X_test)
        scores.append(((guess == y_test).mean(), f1_score(y_test, guess)))
    return np.array(scores)


def fit(train, setting, arguments):
    """The model of these rows."""
    likelihood = "auto"
    if arguments.levels:
        numbers = train.select_dtypes("number")
        likelihood = {
            n: "categorical" if numbers[n].nunique() <= 256 else "lognormal" for n in numbers
        }
    return InfoVAETransformer(
        arguments.components,
        likelihood=likelihood,
        max_epochs=arguments.epochs,
        batch_size=256,
        random_state=0,
        **setting,
    ).fit(train)


def choose(train, arguments):
    """The setting whose new rows are most useful for held-out training rows."""
    part, rest = train_test_split(train, test_size=0.2, random_state=0)
    found = []
    for setting in GRID:
        new = fit(part, setting, arguments).sample(len(part), random_state=0)
        accuracy, f1 = train_and_test(new, rest).mean(0)
        print(f"held out: {accuracy:.3f} / {f1:.3f}   {setting}", flush=True)
        found.append(accuracy + f1)
    return GRID[int(np.argmax(found))]


def two_sample_auc(real, new):
    """AUC of a gradient boosting that tells new rows from real ones, on rows held out."""
    table = pd.concat([real, new.head(len(real))], ignore_index=True)
    for name in table.columns[[not pd.api.types.is_numeric_dtype(t) for t in table.dtypes]]:
        table[name] = table[name].astype("category")
    is_new = np.arange(len(table)) >= len(real)
    parts = train_test_split(table, is_new, test_size=0.5, random_state=0)
    judge = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    judge.fit(parts[0], parts[2])
    return roc_auc_score(parts[3], judge.predict_proba(parts[1])[:, 1])


def level_shares(real, new):
    """Lost levels of 1 % or more, and the largest difference of a share."""
    lost, furthest = [], (0.0, "")
    for name in real.columns:
        if pd.api.types.is_numeric_dtype(real[name]):
            continue
        shares = real[name].value_counts(normalize=True)
        found = new[name].value_counts(normalize=True).reindex(shares.index).fillna(0)
        lost += [f"{name}={level}" for level in shares.index[(shares >= 0.01) & (found == 0)]]
        level = (found - shares).abs().idxmax()
        gap = abs(found[level] - shares[level])
        furthest = max(furthest, (gap, f"{name}={level} {shares[level]:.3f}, {found[level]:.3f}"))
    return lost, furthest[1]


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, default=16)
    parser.add_argument("--weights", nargs=2, type=float)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--levels", action="store_true")
    arguments = parser.parse_args()
    train, _ = adult("train", arguments.rows)
    test, _ = adult("test")
    if arguments.weights:
        setting = dict(zip(("alpha", "lambd"), arguments.weights, strict=True))
    else:
        setting = choose(train, arguments)
    start = time.perf_counter()
    model = fit(train, setting, arguments)
    seconds = time.perf_counter() - start
    new = model.sample(len(train), random_state=0)
    print(f"{setting}; {len(train)} rows, {model.n_iter_} epochs, {seconds:.0f} s")
    tables = {"real": train, "new": new}
    scores = {name: train_and_test(rows, test) for name, rows in tables.items()}
    print("trained on        " + "   ".join(f"{name:13}" for name in [*CLASSIFIERS, "mean"]))
    for name, found in scores.items():
        cells = [f"{one[0]:.3f} / {one[1]:.3f}" for one in [*found, found.mean(0)]]
        print(f"{name:16}  " + "   ".join(cells))
    print(f"two-sample AUC: all columns {two_sample_auc(test, new):.3f}")
    alone = {name: two_sample_auc(test[[name]], new[[name]]) for name in test.columns}
    for name in sorted(alone, key=alone.get)[:-6:-1]:
        print(f"  {name:16} alone {alone[name]:.3f}")
    lost, furthest = level_shares(train, new)
    print(f"lost levels of 1 % or more: {', '.join(lost) or 'none'}")
    print(f"largest difference of a level's share, real and new: {furthest}")


if __name__ == "__main__":
    main()
