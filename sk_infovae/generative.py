"""What a fitted model says of tables: new rows, missing cells, log-likelihood, information."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from sk_infovae._base.seeds import draw_seed
from sk_infovae._inference.imputation import impute_draws, impute_mean
from sk_infovae._inference.information import Information
from sk_infovae._inference.table_model import TableModel
from sk_infovae._model.domain import check_values
from sk_infovae._table.reading import TableLike, check_table, finite, read_table


class GenerativeMixin:
    """The methods of `InfoVAETransformer` that use the decoder's distribution, not its mean."""

    module_: Any
    net_: Any
    n_importance_samples: int
    handle_unknown: str
    _layout: Any

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> Any:
        """Draw new rows from the model: z from the prior, x from p(x|z).

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            An int gives the same rows again.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            As inverse_transform returns it, each column within the range seen in fit.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        values = self._model().sample(n_samples, draw_seed(random_state))
        return self._layout.schema.decode(values)

    def impute(
        self,
        X: TableLike,
        n_draws: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Fill missing cells by what the observed cells of their row say.

        Importance sampling with the score's proposal. Observed cells
        come back as they were, also categories that fit did not see.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
            NaN and None are missing; a row may be missing as a whole.
        n_draws : int or None, default=None
            None fills in the conditional mean of a number, the most probable level of a category.
            A number asks for so many tables, each with draws of p(missing | observed): multiple
            imputations, or with 1 a conditional sample.
        random_state : int, RandomState or None, default=None
            For draws. An int gives the same ones again.

        Returns
        -------
        filled : like X, or list of n_draws such
            In the columns and dtypes of X.
        """
        check_is_fitted(self)
        if n_draws is not None:
            check_scalar(n_draws, "n_draws", Integral, min_val=1)
        table, schema = check_table(self, X), self._layout.schema
        table = schema.as_fitted(table)
        holes = schema.holes(table)
        rows = np.flatnonzero(holes.any(axis=1))
        cells = finite(schema.encode(table, self.handle_unknown))[rows]
        drawn = np.empty((n_draws or 1, *cells.shape))
        if len(rows):
            check_values(cells, self._layout.architecture.likelihoods, schema.names)
            sampler = self._model().sampler(self.n_importance_samples)
            if n_draws is None:
                drawn = impute_mean(sampler, cells)[None]
            else:
                drawn = impute_draws(sampler, cells, n_draws, draw_seed(random_state))
        filled = [schema.fill(table, holes, rows, part) for part in drawn]
        return filled[0] if n_draws is None else filled

    def score_samples(self, X: TableLike, return_ess: bool = False) -> Any:
        """Estimate log p(x) of each row, in nats and in the units of X.

        Importance sampling with a proposal from the decoder; missing
        cells are integrated out. It compares with ``PCA.score_samples`` and
        ``GaussianMixture.score_samples``, and between all values of alpha, lambd and D.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        return_ess : bool, default=False
            Whether to return the effective sample size too.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,), float64
            Log density of numbers (of times, per day) plus log probability of counts, booleans
            and categories. The noise of the estimate is
            the same for all rows, and fixed by fit.
        ess : ndarray of shape (n_samples,), float64
            Of n_importance_samples draws, how many count. Only with return_ess.
        """
        check_is_fitted(self)
        X = read_table(self, X)
        layout = self._layout
        check_values(X, layout.architecture.likelihoods, layout.schema.names, scored=True)
        scores, ess = self._model().score(X, self.n_importance_samples)
        return (scores, ess) if return_ess else scores

    def score(self, X: TableLike, y: Any = None) -> float:
        """Mean of `score_samples`: log-likelihood in nats per sample.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        y : ignored
            Only for scikit-learn's conventions.

        Returns
        -------
        score : float
            The higher, the better the model explains the rows.
        """
        return float(np.mean(self.score_samples(X)))

    def information(self, X: TableLike) -> Information:
        """Take the objective apart on X: what the code knows, and how far q(z) is from the prior.

        ``kl == mutual_information + marginal_kl`` holds, as the three share their draws.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
            At least 2 rows. Of more than 10,000 rows a random part is measured, as ``n_rows``
            and ``n_rows_given`` say; the choice and the draws are fixed by fit.

        Returns
        -------
        information : Information
            Reconstruction, KL, mutual information with its cap log n, D, ELBO, log-likelihood,
            amortisation gap, active units and more: see `sk_infovae.inspection.Information`.
        """
        check_is_fitted(self)
        X = read_table(self, X, min_rows=2)
        check_values(X, self._layout.architecture.likelihoods, self._layout.schema.names)
        return self._model().information(X, self.net_.criterion_, self.n_importance_samples)

    def _model(self) -> TableModel:
        return TableModel(self._layout, self.module_, self.net_.device)
