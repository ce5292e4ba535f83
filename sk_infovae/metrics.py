"""Scorers for scikit-learn's searches and for ``cross_val_score``.

Each is a plain function ``(estimator, X, y=None) -> float``, the higher the better, to be passed as
``scoring`` alone or in a dict. The estimator is a fitted `sk_infovae.InfoVAETransformer`, or a
Pipeline with one as a step: the steps before it are applied to X, those behind it are ignored. A
fitted search stands for its ``best_estimator_``. Whatever has units has those of the X that
reaches the transformer, so that steps which change units or columns change the value too. Missing
cells are left out. The same model and rows give the same value at every call.

>>> from sklearn.datasets import load_iris
>>> from sk_infovae import InfoVAETransformer, metrics
>>> from sk_infovae.model_selection import InfoVAEGridSearchCV
>>> scoring = {"score": metrics.log_likelihood, "mmd": metrics.neg_mmd}
>>> vae = InfoVAETransformer(max_epochs=3, n_importance_samples=64, random_state=0)
>>> search = InfoVAEGridSearchCV(vae, {"alpha": [0, 0.5]}, scoring=scoring, refit="score", cv=3)
>>> search.fit(load_iris().data).cv_results_["mean_test_mmd"].shape
(2,)
"""

import copy
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import manifold
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from sk_infovae._base.threads import mind_a_fork
from sk_infovae._fitted import (
    cells_and_decoded,
    columns_of_levels,
    columns_with_distance,
    some_rows,
    vae_and_table,
    with_distances,
)
from sk_infovae._inference.information import (
    DRAWS,
    MOST_DRAWS_A_ROW,
    MOST_ROWS,
    RowTerms,
    active_dimensions,
    decompose,
    mean_divergence,
    row_terms,
)
from sk_infovae._model.domain import check_values
from sk_infovae._model.objective import InfoVAELoss
from sk_infovae._table.reading import TableLike, read_table
from sk_infovae.divergences import MMD
from sk_infovae.estimator import InfoVAETransformer

__all__ = [
    "active_units",
    "elbo",
    "log_likelihood",
    "median_log_likelihood",
    "mutual_information",
    "neg_mmd",
    "neg_reconstruction_error",
    "neighborhood_preservation",
    "reconstruction_r2",
    "trustworthiness",
]

N_NEIGHBORS = 5
MOST_ROWS_OF_NEIGHBORS = 2_000
"""Rows among which neighbours are looked for: time and memory go by their square."""


def log_likelihood(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """Importance-weighted log p(x): `InfoVAETransformer.score`.

    It compares between all values of alpha, lambd, D and n_components, but not between pipelines
    whose earlier steps differ: these change the units, and a density changes with its units.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        Nats per sample, in the units of the X that reaches the transformer.
    """
    vae, X = vae_and_table(estimator, X)
    return vae.score(X)


def median_log_likelihood(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """Importance-weighted log p(x) of the middle row.

    A mean of log densities is ruled by the worst row: one cell far out under a Gaussian, at a
    thousand standard deviations say, costs half a million nats. The median keeps half of the rows
    from being heard, whatever they hold; so use it to choose among models of tables with wrong
    cells, and the mean where rare rows count.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        Nats per sample, in the units of the X that reaches the transformer.
    """
    vae, X = vae_and_table(estimator, X)
    return float(np.median(vae.score_samples(X)))


def elbo(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """E log p(x|z) - KL(q(z|x)||p(z)), the bound that a plain VAE maximises.

    Equals ``information(X).elbo``. The gap to log p(x) grows with alpha, so it prefers alpha = 0
    whatever the decoder is worth.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score, at least 2; of more than 10,000 a random part is measured.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        Nats per sample, in the units of the X that reaches the transformer.
    """
    posterior, noise, reconstruction = _terms(*vae_and_table(estimator, X))
    z = posterior.rsample(noise)
    kl = 0.5 * (z.square() - noise.square() - posterior.log_variance).sum(-1)
    return (reconstruction.mean() - kl.mean()).item()


def neg_reconstruction_error(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """Minus the error of ``inverse_transform(transform(X))``, averaged over the columns.

    A column of numbers counts by its root mean squared error in units of its standard deviation in
    fit, a column of booleans or categories by the part of its cells that come back wrong. Numbers
    that the likelihood does not standardise (bernoulli, ``standardised=False``) count in units of
    their own.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score. Missing cells are left out, and so are columns without any other.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        At most 0, which is a perfect reconstruction.
    """
    vae, X = vae_and_table(estimator, X)
    cells, decoded = cells_and_decoded(vae, X)
    observed = ~np.isnan(cells)
    kept = _columns_to_compare(observed.sum(axis=0) >= 1)
    levels = columns_of_levels(vae)
    off = np.where(levels, cells != decoded, (cells - decoded) / vae._layout.standardizer.scale)
    means = np.mean(off[:, kept] ** 2, axis=0, where=observed[:, kept])
    return float(-np.where(levels[kept], means, np.sqrt(means)).mean())


def reconstruction_r2(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """Part of the variance that ``inverse_transform(transform(X))`` explains, mean over columns.

    `sklearn.metrics.r2_score` of each column over its observed cells. Booleans count as 0 and 1,
    categories not at all. A column that is constant in X counts 1 where it comes back exactly, and
    0 elsewhere, as there.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score. Columns with fewer than 2 observed cells are left out.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        At most 1; 0 for a model that knows the mean of each column in X, and no more.
    """
    vae, X = vae_and_table(estimator, X)
    cells, decoded = cells_and_decoded(vae, X)
    observed = ~np.isnan(cells)
    kept = _columns_to_compare((observed.sum(axis=0) >= 2) & columns_with_distance(vae))
    cells, decoded, observed = cells[:, kept], decoded[:, kept], observed[:, kept]
    squares = np.sum((cells - decoded) ** 2, axis=0, where=observed)
    spread = np.var(cells, axis=0, where=observed) * observed.sum(axis=0)
    constant = np.nanmin(cells, axis=0) == np.nanmax(cells, axis=0)
    unexplained = squares / np.where(constant, 1.0, spread)
    return float(np.where(constant, squares == 0, 1 - unexplained).mean())


def mutual_information(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """I_q(x;z), what a code tells about its row.

    Equals ``information(X).mutual_information``. No estimate on n rows can exceed log n (4.6 for
    100 rows, 9.2 for 10,000): codes that tell all rows apart can't be told from each other by it.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score, at least 2; of more than 10,000 a random part is measured.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        Nats per sample, between 0 and log n up to the noise of the estimate.
    """
    terms = _terms(*vae_and_table(estimator, X))
    return decompose(terms.posterior, terms.noise).mutual_information.mean().item()


def neg_mmd(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """Minus the squared MMD between q(z), the codes of all rows, and the prior N(0, I).

    Always the library's default kernel, a Gaussian with bandwidth n_components, whatever
    divergence was trained, so that candidates compare. q(z) is the mixture of the Gaussians q(z|x)
    and both sides are in closed form: nothing is drawn. The estimate has no bias and may be
    slightly above 0.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score, at least 2; of more than 10,000 a random part is measured, in blocks of
        about 4096 / sqrt(n_components) rows.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        Minus the squared MMD, no unit; at least -2.
    """
    vae, X = vae_and_table(estimator, X)
    posterior = _terms(vae, X).posterior
    loss = InfoVAELoss(1, 1, MMD(estimator="mixture"))
    generator = torch.Generator().manual_seed(vae._layout.seed_for("information"))
    return -mean_divergence(loss, posterior, posterior.mean, generator)[0]


def active_units(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """Number of latent dimensions whose posterior means vary by more than 0.01 over the rows.

    Equals ``information(X).active_units``.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score, at least 2; of more than 10,000 a random part is measured.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        From 0 to n_components.
    """
    posterior = _terms(*vae_and_table(estimator, X)).posterior
    return float(active_dimensions(posterior).sum())


def trustworthiness(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """Whether the 5 nearest neighbours of an embedded row are near in the table too.

    `sklearn.manifold.trustworthiness` by Euclidean distances, between the columns as the model
    standardises them (a missing cell counts as its column's mean; two levels of a category are 1
    apart) and the embedding.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score, at least 11; of more than 2,000 a random part is measured, the same one for
        all estimators.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        From 0 to 1, which is an embedding without false neighbours.
    """
    cells, Z = _places(estimator, X, "trustworthiness")
    return float(manifold.trustworthiness(cells, Z, n_neighbors=N_NEIGHBORS))


def neighborhood_preservation(estimator: BaseEstimator, X: TableLike, y: Any = None) -> float:
    """What part of a row's 5 nearest neighbours in the table are among its 5 nearest codes.

    The recall of neighbours, averaged over rows; distances and rows are those of
    `trustworthiness`, which forgives a neighbour that is nearly one.

    Parameters
    ----------
    estimator : InfoVAETransformer, Pipeline with one, or a search over either
        Fitted.
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows to score, at least 11; of more than 2,000 a random part is measured, the same one for
        all estimators.
    y : ignored
        Only for scikit-learn's conventions.

    Returns
    -------
    score : float
        From 0 to 1; 5 / (n_samples - 1) by chance.
    """
    places = _places(estimator, X, "neighborhood_preservation")
    nearest = NearestNeighbors(n_neighbors=N_NEIGHBORS)
    one, two = (nearest.fit(each).kneighbors(return_distance=False) for each in places)
    return float((one[:, :, None] == two[:, None, :]).any(-1).mean())


def _places(
    estimator: BaseEstimator, X: TableLike, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Rows as points whose distances mean something, and their codes."""
    vae, X = vae_and_table(estimator, X)
    check_is_fitted(vae)
    X = some_rows(read_table(vae, vae._layout, X), MOST_ROWS_OF_NEIGHBORS, seed=0)
    if X.shape[0] <= 2 * N_NEIGHBORS:
        raise ValueError(
            f"{name} needs more than {2 * N_NEIGHBORS} rows, twice its {N_NEIGHBORS} "
            f"neighbours; got n_samples={X.shape[0]}. Score on more rows, with fewer folds in a "
            "cross-validation."
        )
    cells = with_distances(vae, vae._layout.standardizer.encode(X, np.float64)[0])
    return cells, vae._model().posterior(X)[0]


def _terms(vae: InfoVAETransformer, X: TableLike) -> RowTerms:
    """q(z|x), its draws and E log p(x|z), float64, of the rows and draws of `information`."""
    check_is_fitted(vae)
    mind_a_fork()
    X = read_table(vae, vae._layout, X, min_rows=2)
    layout = vae._layout
    check_values(X, layout.architecture.likelihoods, layout.schema.names)
    seed = layout.seed_for("information")
    X = some_rows(X, MOST_ROWS, seed)
    n_draws = min(MOST_DRAWS_A_ROW, math.ceil(DRAWS / X.shape[0]))
    module = copy.deepcopy(vae.module_).double().eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        return row_terms(module, X, layout.standardizer, n_draws, generator)


def _columns_to_compare(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The columns kept, of which there must be one."""
    if not kept.any():
        raise ValueError(
            "No column of X can be compared with its reconstruction: none has enough observed "
            f"cells of a kind that this score knows (0 of {len(kept)}). Score on more rows, or by "
            "log_likelihood."
        )
    return kept
