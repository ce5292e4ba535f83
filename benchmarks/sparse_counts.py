"""Sparse counts of single cells: our negative binomial beside scVI, in quality, seconds and memory.

    python benchmarks/sparse_counts.py                    # 5,000 x 20,000, simulated: an epoch
    python benchmarks/sparse_counts.py --cells            # 700 real cells: labels and densities

Needs ``pip install scvi-tools`` for the second (its scanpy brings the cells), and for scVI's rows
of the first, which are left out without it. The cells are 700 x 765 counts of "pbmc68k_reduced"
with ten labels of cell types, from logarithms of normalised counts: a cell's smallest is one count.
Five folds; 10 components everywhere; scVI as it comes, with "zinb" and with "nb".

nats: mean log p(x | its total) of held-out cells, of both by importance sampling. 5-NN and
logistic: accuracy of the cell type from the held-out code.
"""

import argparse
import resource
import statistics
import time
import warnings

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae.likelihoods import NegativeBinomial

N_COMPONENTS = 10


def simulated(n_rows, n_columns, seed=0):
    """CSR of counts, a tenth of them positive: six factors, totals that differ, dispersion 2."""
    rng = np.random.default_rng(seed)
    slopes = 0.5 * rng.normal(size=(6, n_columns))
    level = rng.normal(-3.2, 1.2, n_columns)
    parts = []
    for start in range(0, n_rows, 500):
        n = min(500, n_rows - start)
        size = 0.4 * rng.normal(size=(n, 1))
        rate = np.exp(size + rng.normal(size=(n, 6)) @ slopes + level)
        counts = rng.poisson(rng.gamma(2.0, rate / 2.0)).astype(np.float32)
        parts.append(sparse.csr_matrix(counts))
    return sparse.vstack(parts).tocsr()


def ours(offset, **params):
    """With defaults, but for the likelihood."""
    likelihood = NegativeBinomial(offset=offset)
    return InfoVAETransformer(N_COMPONENTS, likelihood=likelihood, random_state=0, **params)


def scvi_model(X, **params):
    """An scVI model of these rows, before training."""
    import anndata
    import scvi

    scvi.settings.verbosity = 40
    scvi.settings.seed = 0
    data = anndata.AnnData(X)
    scvi.model.SCVI.setup_anndata(data)
    return scvi.model.SCVI(data, n_latent=N_COMPONENTS, **params)


def train_scvi(model, max_epochs=None):
    """Quietly, on the CPU."""
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    model.train(max_epochs=max_epochs, accelerator="cpu", **quiet)
    return model


def has_scvi():
    """Whether scvi-tools is there."""
    try:
        import scvi  # noqa: F401
    except ImportError:
        return False
    return True


def print_seconds(n_rows, n_columns, repeats):
    """Seconds an epoch as the difference of fits of one and of three, interleaved."""
    X = simulated(n_rows, n_columns)
    print(
        f"{n_rows} x {n_columns}, {X.nnz / np.prod(X.shape):.1%} positive, {X.data.nbytes >> 20} MB"
    )
    fits = {
        "ours": lambda n: ours("total", max_epochs=n, early_stopping=False).fit(X),
    }
    if has_scvi():
        fits["scVI, nb"] = lambda n: train_scvi(scvi_model(X, gene_likelihood="nb"), n)
        fits["scVI, zinb"] = lambda n: train_scvi(scvi_model(X), n)
    found = {name: [] for name in fits}
    for _ in range(repeats):
        for name, fit in fits.items():
            spent = []
            for n_epochs in (1, 3):
                start = time.perf_counter()
                fit(n_epochs)
                spent.append(time.perf_counter() - start)
            found[name].append((spent[0], (spent[1] - spent[0]) / 2))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(f"  {name}: {spent[0]:.1f} s for one epoch, peak so far {peak} MB", flush=True)
    for name, pairs in found.items():
        epoch = statistics.median(epoch for _, epoch in pairs)
        print(f"| {name} | {epoch:.2f} s an epoch |")


def real_cells():
    """Counts and labels of pbmc68k_reduced."""
    import scanpy

    cells = scanpy.datasets.pbmc68k_reduced()
    normalised = np.expm1(cells.raw.X.toarray().astype(np.float64))
    smallest = np.where(normalised > 0, normalised, np.inf).min(axis=1, keepdims=True)
    counts = np.rint(normalised / smallest).astype(np.float32)
    return sparse.csr_matrix(counts), cells.obs["bulk_labels"].to_numpy()


def logarithms(X):
    """log(1 + counts brought to the same total)."""
    totals = np.asarray(X.sum(axis=1))
    return np.log1p(X.toarray() / totals * np.median(totals))


def of_ours(offset):
    """Codes and nats of our model."""

    def embed(train, test):
        vae = ours(offset).fit(train)
        return vae.transform(train), vae.transform(test), vae.score(test)

    return embed


def of_scvi(likelihood):
    """Codes and nats of scVI."""

    def embed(train, test):
        import anndata

        model = train_scvi(scvi_model(train, gene_likelihood=likelihood))
        new = anndata.AnnData(test)
        nats = model.get_marginal_ll(new, n_mc_samples=1000, n_mc_samples_per_pass=100)
        return model.get_latent_representation(), model.get_latent_representation(new), nats

    return embed


def of_pca(train, test):
    """Codes of PCA on logarithms of normalised counts, as is usual."""
    pca = make_pipeline(FunctionTransformer(logarithms), PCA(N_COMPONENTS, random_state=0))
    return pca.fit_transform(train), pca.transform(test), np.nan


def print_cells():
    """Accuracy of the cell type, nats and seconds of each model, over five folds."""
    X, y = real_cells()
    models = {
        'ours, offset="total"': of_ours("total"),
        "ours, no offset": of_ours(None),
        "scVI, zinb (default)": of_scvi("zinb"),
        "scVI, nb": of_scvi("nb"),
        "PCA of logarithms": of_pca,
    }
    print("| | 5-NN | logistic | nats | seconds a fold |\n| --- | --- | --- | --- | --- |")
    for name, embed in models.items():
        rows = []
        for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
            start = time.perf_counter()
            fitted, held_out, nats = embed(X[train], X[test])
            spent = time.perf_counter() - start
            logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            rows.append(
                [
                    KNeighborsClassifier(5).fit(fitted, y[train]).score(held_out, y[test]),
                    logistic.fit(fitted, y[train]).score(held_out, y[test]),
                    nats,
                    spent,
                ]
            )
        near, line, nats, seconds = np.mean(rows, axis=0)
        print(f"| {name} | {near:.3f} | {line:.3f} | {nats:.1f} | {seconds:.1f} |", flush=True)


def main():
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", action="store_true", help="real cells, beside scVI")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--columns", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.cells:
        print_cells()
    else:
        print_seconds(arguments.rows, arguments.columns, arguments.repeats)


if __name__ == "__main__":
    main()
