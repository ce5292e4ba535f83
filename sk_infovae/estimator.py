"""`InfoVAETransformer`: validates, assembles, delegates."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import check_is_fitted

from sk_infovae._base.compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    with_callbacks,
)
from sk_infovae._base.links import Documented
from sk_infovae._base.seeds import draw_seed
from sk_infovae._base.threads import mind_a_fork
from sk_infovae._base.warn import warn_user
from sk_infovae._files.persistence import Persistent
from sk_infovae._inference.imputation import impute_table
from sk_infovae._inference.information import Information
from sk_infovae._inference.table_model import TableModel
from sk_infovae._model.domain import check_values
from sk_infovae._model.networks import ACTIVATIONS
from sk_infovae._table.reading import TableLike, check_table, parts_of, read_table, to_cpu
from sk_infovae._table.schema import is_frame
from sk_infovae._table.sources import mapped
from sk_infovae._table.texts import left_out_message
from sk_infovae._training.fitting import FITTED, fit_table
from sk_infovae.divergences import DIVERGENCES, Divergence
from sk_infovae.likelihoods import LIKELIHOODS, Likelihood

NO_SHARE_OF_VARIANCE = (
    "A share of variance, None and 'mle' (PCA's) have no counterpart here. Start from "
    "PCA(0.95).fit(X).n_components_, say, or search over n_components by the score with "
    "InfoVAEGridSearchCV; information(X).active_units counts the dimensions that are used."
)


class InfoVAETransformer(
    Documented,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    Persistent,
):
    r"""Embed a table with an information-maximising variational autoencoder.

    Trains an encoder q(z|x) and a decoder p(x|z), prior p(z) = N(0, I), to maximise ([1]_, eq. 6)

    .. math::

        E \log p(x|z) - (1 - \alpha)\, KL(q(z|x) \| p(z))
        - (\alpha + \lambda - 1)\, D(q(z), p(z)),

    every term summed over columns or latent dimensions and averaged over rows. alpha = 0 and
    lambd = 1 make a plain VAE; alpha = 1 a WAE / MMD-VAE; alpha = 1 - lambd a beta-VAE.

    Reads arrays, and DataFrames of pandas and polars with numbers, booleans, strings, categories
    and times. NaN (None, NaT or NA in a DataFrame) is a missing cell: it is left out of the
    likelihood, and the encoder is told about it in columns that had missing cells in fit. Numbers
    are standardised inside and come back in their own units, dtypes and names. There is no
    ``sample_weight``: under minibatches a weight and a repetition of a row can't agree.

    Parameters
    ----------
    n_components : int, default=2
        Latent dimension.
    alpha : float, default=0.5
        At most 1. Weight, in nats, of the information that the code keeps: 1 - alpha penalises
        KL(q(z|x) || p(z)).
    lambd : float, default=10.0
        Positive, and alpha + lambd at least 1. Together they weigh D, in D's own units: grids go
        by powers of ten, up to 1e4 for "mmd".
    divergence : str or Divergence, default="mmd"
        D(q(z), p(z)): "mmd", "kl", "sliced_wasserstein", "ksd" or "adversarial", see
        `sk_infovae.divergences`. An instance's parameters can be searched
        (``divergence__bandwidth``).
    neighbor_weight : float, default=0.0
        Not negative. Weight, in nats, of the information that the codes of neighbouring rows have
        in common, at most log(batch_size): the objective gains ``neighbor_weight * I``, an InfoNCE
        bound ([2]_). It keeps near rows near in maps of two or three dimensions (try 10 to 50, and
        wider networks), and moves q(z) away from the prior.
    n_neighbors : int, default=15
        Rows that count as near: the nearest by standardised numbers and indicators of levels (on
        the first 64 principal axes of more). Only with a neighbor_weight. Beyond 50,000 rows
        pynndescent finds them where it is installed, else scikit-learn, in time that grows with
        the square of the rows.
    likelihood : str, Likelihood or dict, default="auto"
        Of x given z: "gaussian", "student_t", "lognormal", "bernoulli", "categorical", "ordinal",
        "poisson" or "negative_binomial", see `sk_infovae.likelihoods`. "auto" takes gaussian for
        numbers and times, bernoulli for booleans, categorical for strings and categories, by
        dtype. A dict names it by column (integers for an array); columns left out are "auto".
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns to read as categories, besides strings and categories: a boolean mask, names or
        positions, as in `sklearn.ensemble.HistGradientBoostingClassifier`. None allows none.
    handle_unknown : {"missing", "error"}, default="missing"
        What becomes of a category that fit did not see.
    text_features : {"drop", "error"}, default="drop"
        What becomes of free text: string columns of 20 or more cells that all differ, or with
        more than 50 levels, where most cells hold a string that occurs nowhere else. "drop" leaves
        them out with a warning: they are missing in ``inverse_transform`` and ``sample``,
        untouched by ``impute``, and not in the score. A column that ``likelihood`` or
        ``categorical_features`` names is read as levels.
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the encoder; the decoder mirrors them. Beside each perceptron stands a linear map
        that begins as PCA's. Empty for a linear encoder and decoder, which with alpha = 0 and
        lambd = 1 is probabilistic PCA, and factor analysis for ``likelihood=Gaussian("learned")``.
    activation : {"silu", "relu", "gelu", "elu", "tanh", "softplus"} or callable, default="silu"
        Activation between layers, or a class that makes one.
    encoder : callable, default=None
        A class or factory ``encoder(n_inputs, n_components)`` that makes a module from
        ``(batch, n_inputs)`` to ``(batch, 2 * n_components)``, mean and log-variance (2 at most
        is used). Replaces hidden_layer_sizes. ``n_inputs`` counts one for each column of numbers,
        one for each level of the others (16 for a column of more than 64), and one for each column
        that has missing cells in fit.
    decoder : callable, default=None
        A class or factory ``decoder(n_components, n_outputs)`` that makes a module from
        ``(batch, n_components)`` to ``(batch, n_outputs)``.
    max_epochs : int or "auto", default="auto"
        Passes over the rows. The learning rate falls to 0 over them, along half a cosine. "auto" is
        100 for up to 20,000 training rows, for more as many as see 2,000,000 rows, 10 at least.
    batch_size : int, default=128
        Rows a step. A last batch of one row joins the batch before it.
    lr : float, default=5e-3
        Learning rate of Adam.
    early_stopping : bool, default=True
        Whether to hold out rows, stop when their loss stands still, and restore the best weights.
    validation_fraction : float, default=0.1
        Part of the rows held out; fewer than 2 rows are not, and training goes on to the end.
    n_iter_no_change : int, default=10
        Epochs without a better validation loss before training stops.
    tol : float, default=1e-3
        What counts as better, in nats per sample.
    n_importance_samples : int, default=512
        Most draws of a row for the score, and all for impute, a power of 2 for the least error. A
        row takes fewer where these tell its score well enough; more allow a smaller error.
    memory : str, Path or None, default=None
        Folder in which ``fit`` keeps its training while it goes on. A fit with the same data and
        parameters that was killed goes on from there to the same bits; one that ended is not
        trained again. The files are pickles: keep the folder to yourself, and remove it when you
        are done. ``partial_fit`` keeps nothing.
    warm_start : bool, default=False
        Whether fit goes on from the fitted weights, optimizer state and scaling.
    random_state : int, RandomState or None, default=None
        An int gives the same bits at an equal number of threads.
    device : str or torch.device, default="auto"
        "auto" is "cuda" where there is one, "cpu" elsewhere.
    verbose : int, default=0
        1 shows a progress line with the terms of the objective.
    net_params : dict, default=None
        Any argument of `skorch.NeuralNet`: ``callbacks``, ``optimizer``,
        ``optimizer__weight_decay``, ``iterator_train__num_workers``, ``compile`` and so on.
        Cloned before use.

    Attributes
    ----------
    net_ : InfoVAENet
        The skorch net.
    module_ : VAE
        Its torch module.
    history_ : list of dict
        For each epoch: epoch, loss, reconstruction (E log p(x|z), standardised columns), kl,
        divergence, neighbors (with a neighbor_weight), and valid_loss and so on for the held-out
        rows. Nats per sample, averaged.
    n_iter_ : int
        Number of epochs in ``history_``.
    noise_variance_ : ndarray of shape (n_features,)
        Variance of p(x_j|z), units of X squared, where it is the same for every row (gaussian and
        student_t columns); NaN for others.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance, each column's weighed alike, that each dimension of the code carries,
        by which ``fit`` orders the dimensions of its own networks. They add up to the share that
        ``inverse_transform(transform(X))`` explains, and go by the squares of what the expected x
        moves as the dimension moves by a standard deviation. On (at most 1024) training rows.
    loadings_ : ndarray of shape (n_features, n_components)
        What a column moves, in standard deviations of its own, as the dimension moves by one: mean
        over rows. For a column with several levels the root of the sum of squares over their
        probabilities, without a sign. NaN for columns left out.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of str
        Column names seen in fit, where all are strings.

    References
    ----------
    .. [1] S. Zhao, J. Song, S. Ermon, "InfoVAE: Balancing Learning and Inference in Variational
       Autoencoders", AAAI 2019, arXiv 1706.02262.
    .. [2] A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive Predictive
       Coding", arXiv 1807.03748, eq. 4, with t-SNE's kernel: J. N. Boehm, P. Berens, D. Kobak,
       "Unsupervised visualization of image datasets using contrastive learning", ICLR 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> X = load_iris().data
    >>> vae = InfoVAETransformer(n_components=2, max_epochs=5, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    >>> vae.inverse_transform(vae.transform(X)).shape
    (150, 4)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Real],
        "lambd": [Real],
        "divergence": [StrOptions(set(DIVERGENCES)), Divergence],
        "neighbor_weight": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "likelihood": [StrOptions({"auto", *LIKELIHOODS}), Likelihood, dict],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "handle_unknown": [StrOptions({"missing", "error"})],
        "text_features": [StrOptions({"drop", "error"})],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS)), callable],
        "encoder": [callable, None],
        "decoder": [callable, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_importance_samples": [Interval(Integral, 2, None, closed="left")],
        "memory": [str, PathLike, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "net_params": [dict, None],
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        alpha: float = 0.5,
        lambd: float = 10.0,
        divergence: str | Divergence = "mmd",
        neighbor_weight: float = 0.0,
        n_neighbors: int = 15,
        likelihood: str | Likelihood | Mapping[Any, str | Likelihood] = "auto",
        categorical_features: str | Sequence[Any] | None = "from_dtype",
        handle_unknown: str = "missing",
        text_features: str = "drop",
        hidden_layer_sizes: tuple[int, ...] = (128, 128),
        activation: str | Callable[[], torch.nn.Module] = "silu",
        encoder: Callable[[int, int], torch.nn.Module] | None = None,
        decoder: Callable[[int, int], torch.nn.Module] | None = None,
        max_epochs: int | str = "auto",
        batch_size: int = 128,
        lr: float = 5e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-3,
        n_importance_samples: int = 512,
        memory: str | PathLike[str] | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device = "auto",
        verbose: int = 0,
        net_params: Mapping[str, Any] | None = None,
    ):
        self.n_components = n_components
        self.alpha = alpha
        self.lambd = lambd
        self.divergence = divergence
        self.neighbor_weight = neighbor_weight
        self.n_neighbors = n_neighbors
        self.likelihood = likelihood
        self.categorical_features = categorical_features
        self.handle_unknown = handle_unknown
        self.text_features = text_features
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.encoder = encoder
        self.decoder = decoder
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.n_importance_samples = n_importance_samples
        self.memory = memory
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
        self.net_params = net_params

    def _validate_params(self) -> None:
        """Refuse parameters of the wrong kind; PCA's ways of saying n_components with a mend."""
        try:
            super()._validate_params()
        except ValueError as error:
            if "'n_components'" not in str(error) or isinstance(self.n_components, Integral):
                raise
            raise type(error)(f"{error} {NO_SHARE_OF_VARIANCE}") from None

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: TableLike, y: Any = None, *, X_val: TableLike | None = None) -> Self:
        """Train the model.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame, CPU torch tensor} of shape (n_samples, n_features)
            At least 2 rows; NaN and None are missing cells. Also a path (Parquet, CSV, Feather), a
            pyarrow Dataset, a polars LazyFrame, a table of dask, or a torch IterableDataset. A
            memmap or such a table of more than 2^24 cells is read in shuffled pieces, once an
            epoch, and never held as a whole.
        y : ignored
            Only for scikit-learn's conventions.
        X_val : like X, default=None
            Rows to validate on instead of a part of X.

        Returns
        -------
        self : InfoVAETransformer
            The fitted estimator.

        Raises
        ------
        ValueError
            For infinite values, a single row, weights outside their region, and with a ``memory``
            for what can't be kept.
        SchemaError
            For nested cells and other columns that can't be read, and where no column is left
            beside free text.
        TrainingDivergedError
            When the loss became NaN, infinite or exploded, and no epoch before was better than the
            start; the estimator is then as it was before. Where one was, fit goes back to the best
            of them, with a ConvergenceWarning.
        """
        this_fit = {"estimator": self, "X": X, "y": y}
        n_epochs = None if self.max_epochs == "auto" else self.max_epochs
        context = self._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(**this_fit)
        self._fit(X, X_val, resume=self.warm_start, watched=(context, this_fit))
        context.call_on_fit_task_end(**this_fit, reconstruction_attributes=dict)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: TableLike, y: Any = None) -> Self:
        """Train for one pass over the rows, going on from where the last call stopped.

        The first call fixes scaling, columns and shapes. Nothing is held out.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        y : ignored
            Only for scikit-learn's conventions.

        Returns
        -------
        self : InfoVAETransformer
            The fitted estimator.
        """
        self._fit(X, resume=True, one_pass=True)
        return self

    def _fit(self, X: TableLike, X_val: Any = None, **how: Any) -> None:
        """Fit, and take over what that gives: the estimator is as it was unless all of it works."""
        ahead = self.__dict__.get("_trained_ahead")
        fitted = fit_table(self, X, X_val, ahead=ahead, **how)
        left_out = fitted.layout.schema.left_out
        if left_out and ahead is None and fitted.layout is not getattr(self, "_layout", None):
            warn_user(left_out_message(left_out), UserWarning)
        for one in fitted.warnings if ahead is None else ():  # a search gives one for all
            warn_user(str(one), type(one))
        for name in FITTED:
            self.__dict__.pop(name, None)
        self.__dict__.update(fitted.attributes)
        if fitted.net.interrupted_:
            warn_user(
                "Training was interrupted; the model stands as epoch "
                f"{len(fitted.net.history)} left it.",
                ConvergenceWarning,
            )
            raise KeyboardInterrupt

    def transform(self, X: TableLike) -> NDArray[np.float32]:
        """Embed rows: the mean of q(z|x).

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components), float32
            In units of the prior's standard deviation. Deterministic; a row's embedding does not
            depend on the other rows. Of a dask DataFrame or Array, one of dask.
        """
        check_is_fitted(self)
        lazy = mapped(X, self.transform, self.get_feature_names_out)
        return self.posterior(X)[0] if lazy is None else lazy

    def posterior(self, X: TableLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of q(z|x) for each row.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)

        Returns
        -------
        mean, std : ndarray of shape (n_samples, n_components), float32
            In units of the prior's standard deviation.
        """
        check_is_fitted(self)
        tables = (read_table(self, self._layout, part, by_blocks=True) for part in parts_of(X))
        mean, std = zip(*map(self._model().posterior, tables), strict=True)
        return _joined(mean), _joined(std)

    def inverse_transform(self, Z: TableLike) -> Any:
        """Decode codes: the expected x for numbers, the most probable level of a category.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Codes, as transform returns them.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            In the units, columns and dtypes of the X seen in fit; a float ndarray for an array or
            a CSR matrix. A pandas Z keeps its index. Integers are rounded, and a DataFrame's
            column without negative numbers in fit has none.
        """
        check_is_fitted(self)
        index = Z.index if is_frame(Z) and hasattr(Z, "index") else None
        Z = np.array(check_array(to_cpu(Z), dtype=np.float32, input_name="Z"), order="C")
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z must have n_components={self._n_features_out} columns, as transform returns "
                f"them; got {Z.shape[1]}."
            )
        return self._layout.schema.decode(self._model().expect(Z), index)

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

        Importance sampling with the score's proposal. Observed cells come back as they were, also
        categories that fit did not see.

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
        drawing = None if n_draws is None else (n_draws, draw_seed(random_state))
        return impute_table(
            self._model().sampler(self.n_importance_samples),
            self._layout,
            check_table(self, X),
            self.handle_unknown,
            drawing,
        )

    def score_samples(self, X: TableLike, return_ess: bool = False) -> Any:
        """Estimate log p(x) of each row, in nats and in the units of X.

        Importance sampling with a proposal from the decoder; missing cells are integrated out. It
        compares with ``PCA.score_samples`` and ``GaussianMixture.score_samples``, and between all
        values of alpha, lambd and D.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        return_ess : bool, default=False
            Whether to return the effective sample size too.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,), float64
            Log density of numbers (of times, per day) plus log probability of counts, booleans
            and categories. The noise of the estimate is the same for all rows, and fixed by fit.
        ess : ndarray of shape (n_samples,), float64
            Of the draws that a row took, n_importance_samples at most, how many count. Only with
            return_ess.
        """
        check_is_fitted(self)
        layout, found = self._layout, []
        for part in parts_of(X):
            table = read_table(self, layout, part, by_blocks=True)
            check_values(table, layout.architecture.likelihoods, layout.schema.names, scored=True)
            found.append(self._model().score(table, self.n_importance_samples))
        scores, ess = map(_joined, zip(*found, strict=True))
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
        X = read_table(self, self._layout, X, min_rows=2, by_blocks=True)
        check_values(X, self._layout.architecture.likelihoods, self._layout.schema.names)
        return self._model().information(
            X, self.net_.criterion_, self.n_importance_samples, self._plan.n_neighbors
        )

    def _model(self) -> TableModel:
        mind_a_fork()
        return TableModel(self._layout, self.module_, self.net_.device)

    @property
    def _n_features_out(self) -> int:
        return self._layout.architecture.n_components

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __sklearn_clone__(self) -> Any:
        twin = super().__sklearn_clone__()
        if "_trained_ahead" in vars(self):  # a search runs, see `TrainedAhead`
            twin._trained_ahead = self._trained_ahead
        return twin


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One array of those of all blocks."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
