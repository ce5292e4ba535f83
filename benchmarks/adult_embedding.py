"""Linear probe of unsupervised embeddings of Adult.

    python benchmarks/adult_embedding.py [--components 8 4] [--epochs 60] [--rows N]
        [--weights ALPHA LAMBD]

Prints accuracy and AUC on the official test rows of a logistic regression on standardised
embeddings: of InfoVAE, of PCA on standardised numbers and indicators, and of those columns as they
are. No embedding sees the income. alpha and lambd are chosen by the probe's AUC on a fifth of the
training rows, held out, unless --weights gives them. --rows trains on the first N rows.
"""

import argparse
import time

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import adult

from sk_infovae import InfoVAETransformer
from sk_infovae.preprocessing import TabularPreprocessor

GRID = [(0.0, 1.0), (0.0, 10.0), (0.5, 10.0), (0.9, 10.0)]


def probe(Z_train, y_train, Z_test, y_test):
    """Accuracy and AUC of a logistic regression on standardised columns."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(Z_train, y_train)
    positive = model.predict_proba(Z_test)[:, 1]
    return model.score(Z_test, y_test), roc_auc_score(y_test, positive)


def embed(embedding, train, test):
    """Fit on train; return both embedded."""
    return embedding.fit_transform(train), embedding.transform(test)


def infovae(n_components, weights, epochs):
    """Our embedding."""
    alpha, lambd = weights
    return InfoVAETransformer(
        n_components, alpha=alpha, lambd=lambd, max_epochs=epochs, batch_size=256, random_state=0
    )


def choose(n_components, epochs, train, y):
    """The pair of weights whose probe has the largest AUC on held-out training rows."""
    part, rest, y_part, y_rest = train_test_split(train, y, test_size=0.2, random_state=0)
    found = {}
    for weights in GRID:
        Z, Z_rest = embed(infovae(n_components, weights, epochs), part, rest)
        found[weights] = probe(Z, y_part, Z_rest, y_rest)[1]
        print(f"  held out: alpha {weights[0]}, lambd {weights[1]}: AUC {found[weights]:.4f}")
    return max(found, key=found.get)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", nargs="+", type=int, default=(8, 4))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--weights", nargs=2, type=float)
    arguments = parser.parse_args()
    train, y = adult("train", arguments.rows, income=False)
    test, y_test = adult("test", income=False)
    raw = embed(TabularPreprocessor(), train, test)
    report(f"raw, {raw[0].shape[1]} columns", probe(raw[0], y, raw[1], y_test), 0.0)
    for d in arguments.components:
        pca = embed(PCA(d, random_state=0), *raw)
        report(f"PCA, {d} components", probe(pca[0], y, pca[1], y_test), 0.0)
        weights = arguments.weights or choose(d, arguments.epochs, train, y)
        start = time.perf_counter()
        Z, Z_test = embed(infovae(d, weights, arguments.epochs), train, test)
        seconds = time.perf_counter() - start
        name = f"InfoVAE, {d} components, alpha {weights[0]}, lambd {weights[1]}"
        report(name, probe(Z, y, Z_test, y_test), seconds)


def report(name, scores, seconds):
    """Print one line."""
    print(f"{name:55} {scores[0]:.4f} / {scores[1]:.4f}   {seconds:6.0f} s", flush=True)


if __name__ == "__main__":
    main()
