"""5-NN accuracy of embeddings of digits, InfoVAE at alpha = 0.9 against PCA.

    python benchmarks/digits_knn.py [--splits 5] [--defaults]

Mean and standard error over random splits, three quarters for training. Pixels are grey values in
[0, 1] under the bernoulli likelihood; it, the widths and the full number of epochs were chosen by
cross-validation inside the training rows of the first split. --defaults leaves them alone.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier

from sk_infovae import InfoVAETransformer


def accuracy(embedding, X, y, train, test):
    """Held-out accuracy of a 5-nearest-neighbour vote in the embedding."""
    Z = embedding.fit_transform(X[train])
    return KNeighborsClassifier(5).fit(Z, y[train]).score(embedding.transform(X[test]), y[test])


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--defaults", action="store_true")
    arguments = parser.parse_args()
    n_splits = arguments.splits
    chosen = {
        "likelihood": "bernoulli",
        "hidden_layer_sizes": (256, 256),
        "early_stopping": False,
    }
    X, y = load_digits(return_X_y=True)
    X = X / 16
    splits = list(ShuffleSplit(n_splits, test_size=0.25, random_state=0).split(X))
    print("n_components   InfoVAE          PCA              paired difference")
    for d in (2, 4, 8):
        ours = InfoVAETransformer(
            d, alpha=0.9, random_state=0, **({} if arguments.defaults else chosen)
        )
        pairs = np.array(
            [
                [accuracy(e, X, y, *split) for e in (ours, PCA(d, random_state=0))]
                for split in splits
            ]
        )
        columns = np.column_stack([pairs, pairs[:, 0] - pairs[:, 1]])
        means, errors = columns.mean(0), columns.std(0, ddof=1) / np.sqrt(n_splits)
        cells = [f"{m:+.3f} +- {e:.3f}" for m, e in zip(means, errors, strict=True)]
        print(f"{d:12}   " + "   ".join(cells))


if __name__ == "__main__":
    main()
