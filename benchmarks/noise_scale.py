"""Noise of gaussian columns: calibrated after training, learned, batch-optimal, or fixed.

For each column, or shared. Held-out score in nats per sample, mean and standard error of the mean
over random splits of data that scikit-learn brings. Constant columns are left out, digits get
uniform noise over each grey level. Run it with ``python benchmarks/noise_scale.py``; about five
minutes on one core.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import ShuffleSplit, cross_val_score
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae.likelihoods import Gaussian

N_SPLITS = 5
NOISES = {
    "calibrated (default)": Gaussian(),
    "learned": Gaussian("learned"),
    "optimal": Gaussian("optimal"),
    "fixed, 1": Gaussian(1.0),
    "fixed, 0.5": Gaussian(0.5),
    "calibrated, shared": Gaussian(shared=True),
    "learned, shared": Gaussian("learned", shared=True),
    "optimal, shared": Gaussian("optimal", shared=True),
}
TABLES = {
    "digits, 8": (load_digits, 8),
    "breast cancer, 4": (load_breast_cancer, 4),
    "wine, 3": (load_wine, 3),
    "diabetes, 3": (load_diabetes, 3),
}


def read(load):
    """Standardised columns that vary."""
    X = load().data
    if load is load_digits:
        X = X + np.random.default_rng(0).uniform(size=X.shape)
        X = X[:, X.std(0) > 0.42]  # a constant pixel has the noise's own 0.29
    return StandardScaler().fit_transform(X)


def main():
    """Print the table."""
    splits = ShuffleSplit(N_SPLITS, test_size=0.25, random_state=0)
    tables = {name: (read(load), n_components) for name, (load, n_components) in TABLES.items()}
    print(f"{'noise':20}" + "".join(f"{name:>20}" for name in tables))
    for noise, likelihood in NOISES.items():
        cells = []
        for X, n_components in tables.values():
            vae = InfoVAETransformer(n_components, likelihood=likelihood, random_state=0)
            scores = cross_val_score(vae, X, cv=splits)
            cells.append(f"{scores.mean():.2f} +- {scores.std() / N_SPLITS**0.5:.2f}")
        print(f"{noise:20}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
