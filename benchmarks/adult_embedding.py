"""Linear probe of unsupervised embeddings of Adult.

    python benchmarks/adult_embedding.py [--components 8 4] [--rows N] [--defaults]

Prints accuracy and AUC on the official test rows of a logistic regression on standardised
embeddings: of InfoVAE, of PCA on standardised numbers and indicators, and of those columns as they
are. No embedding sees the income. Of the fits in `GRID` on four fifths of the training rows, the
one is kept whose probe has the largest AUC on the others; --defaults makes one fit with defaults,
to all training rows. --rows takes the first N of them.
"""

import argparse

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import adult

from sk_infovae import InfoVAETransformer
from sk_infovae.preprocessing import TabularPreprocessor

GRID = [
    {"alpha": alpha, "lambd": lambd, "max_epochs": max_epochs, "random_state": seed}
    for alpha, lambd in [(-0.5, 1.5), (-1.0, 2.0)]
    for max_epochs in (5, 10, 20)
    for seed in range(3)
]
CHOSEN_FOR_ALL = {"hidden_layer_sizes": (1024,), "batch_size": 256}


def probe(Z_train, y_train, Z_test, y_test):
    """Accuracy and AUC of a logistic regression on standardised columns."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(Z_train, y_train)
    positive = model.predict_proba(Z_test)[:, 1]
    return model.score(Z_test, y_test), roc_auc_score(y_test, positive)


def embed(embedding, train, test):
    """Fit on train; return both embedded."""
    return embedding.fit_transform(train), embedding.transform(test)


def choose(n_components, train, y):
    """The fit whose probe has the largest AUC on held-out training rows."""
    part, rest, y_part, y_rest = train_test_split(train, y, test_size=0.2, random_state=0)
    best, most = None, 0.0
    for setting in GRID:
        vae = InfoVAETransformer(n_components, **CHOSEN_FOR_ALL, **setting)
        Z, Z_rest = embed(vae, part, rest)
        auc = probe(Z, y_part, Z_rest, y_rest)[1]
        print(f"  held out: AUC {auc:.4f}   {setting}", flush=True)
        if auc > most:
            best, most = vae, auc
    return best


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", nargs="+", type=int, default=(8, 4))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--defaults", action="store_true")
    arguments = parser.parse_args()
    train, y = adult("train", arguments.rows, income=False)
    test, y_test = adult("test", income=False)
    raw = embed(TabularPreprocessor(), train, test)
    report(f"raw, {raw[0].shape[1]} columns", probe(raw[0], y, raw[1], y_test))
    for d in arguments.components:
        pca = embed(PCA(d, random_state=0), *raw)
        report(f"PCA, {d} components", probe(pca[0], y, pca[1], y_test))
        if arguments.defaults:
            vae = InfoVAETransformer(d, random_state=0).fit(train)
        else:
            vae = choose(d, train, y)
        report(
            f"InfoVAE, {d} components", probe(vae.transform(train), y, vae.transform(test), y_test)
        )
        print(f"  {vae}", flush=True)


def report(name, scores):
    """Print one line."""
    print(f"{name:25} {scores[0]:.4f} / {scores[1]:.4f}", flush=True)


if __name__ == "__main__":
    main()
