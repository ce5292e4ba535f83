"""scikit-learn's searches, with the candidates trained together."""

import time
from collections.abc import Hashable, Iterator
from os import PathLike
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv
from sklearn.utils import indexable

from sk_infovae._base.checkpoints import Checkpoints
from sk_infovae._base.links import Documented
from sk_infovae._base.warn import warn_user
from sk_infovae._model.shares import refuse_memory
from sk_infovae._table.texts import left_out_message
from sk_infovae._training.ahead import TrainedAhead
from sk_infovae.exceptions import PosteriorCollapseWarning
from sk_infovae.model_selection.candidates import CandidateTrainer, find_vae


class _TrainedTogether(Documented):
    """Overrides of a search class: everything but the training is scikit-learn's own.

    Before candidates are evaluated, those that can share a stack are trained, and laid out by what
    they were trained on. Clones of the transformer know where (`TrainedAhead`): a fit that finds
    its training there takes it, any other trains alone, whatever scikit-learn clones and when.
    """

    estimator: Any
    cv: Any
    verbose: int
    n_jobs: Any
    memory: Any

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Run the search.

        Parameters
        ----------
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            For steps and scorers that want it.
        **params : dict
            As in scikit-learn: ``groups`` for the splitter, and what metadata routing passes on.

        Returns
        -------
        self : object
            The search with ``cv_results_`` and, where refit asks for it, ``best_estimator_``.
        """
        self._validate_params()  # type: ignore[attr-defined]
        if self.memory is not None:
            refuse_memory()
        checkpoints = None if self.memory is None else Checkpoints(self.memory, "stack")
        template, cv, ahead = self.estimator, self.cv, TrainedAhead()
        left_out: dict[Any, None] = {}
        # One splitter for the whole search, also where cv can be read only once.
        self.cv = check_cv(cv, y, classifier=is_classifier(template))
        self.estimator = _carrying(template, ahead)
        self._given = (X, y, params, ahead, left_out, checkpoints)
        try:
            super().fit(X, y, **params)  # type: ignore[misc]
        finally:
            ahead.clear()
            self.estimator, self.cv = template, cv
            del self._given
        left_out |= dict.fromkeys(_put_down(getattr(self, "best_estimator_", None)))
        if left_out:
            warn_user(left_out_message(list(left_out)), UserWarning)
        for category, what in OF_ALL.items():
            found = [one for one in ahead.warnings if isinstance(one, category)]
            if found:
                warn_user(_summary(found, what), category)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without what is at hand while a search runs: workers are sent the search itself."""
        inherited: Any = super()
        state = dict(inherited.__getstate__())
        state.pop("_given", None)
        return state

    def _run_search(self, evaluate_candidates: Any, *, callback_ctx: Any = None) -> None:
        X, y, params, ahead, left_out, checkpoints = self._given
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(params)  # type: ignore[attr-defined]
        splits = FixedSplits(list(self.cv.split(X, y, **routed.splitter.split)))

        def evaluate(candidates: Any, **kwargs: Any) -> Any:
            candidates, start = list(candidates), time.perf_counter()
            # Parameters of the estimator's fit are for scikit-learn to route.
            if not routed.estimator.fit:
                shown = self.verbose > 0
                trainer = CandidateTrainer(
                    self.estimator, X, y, splits.splits, ahead, self.n_jobs, shown, checkpoints
                )
                trainer.train(candidates)
                left_out.update(trainer.left_out)
            share = (time.perf_counter() - start) / max(1, len(candidates) * len(splits.splits))
            results = evaluate_candidates(candidates, cv=splits, **kwargs)
            results["mean_fit_time"] += share
            return results

        # scikit-learn < 1.9 has no callbacks.
        context = {} if callback_ctx is None else {"callback_ctx": callback_ctx}
        super()._run_search(evaluate, **context)  # type: ignore[misc]


class FixedSplits:
    """A splitter that gives the same splits again, also where the one it stands for would not."""

    def __init__(self, splits: list[Any]):
        self.splits = splits

    def split(self, X: Any, y: Any = None, groups: Any = None, **_: Any) -> Iterator[Any]:
        """Training and test rows."""
        return iter(self.splits)


def _carrying(template: Any, ahead: TrainedAhead) -> Any:
    """A clone whose transformer, and every clone of it, looks for its training in ``ahead``."""
    estimator = clone(template)
    vae, _ = find_vae(estimator)
    if vae is not None:
        vae._trained_ahead = ahead
    return estimator


def _put_down(estimator: Any) -> list[Hashable]:
    """Let go of what a search laid out; the columns that the fit on all rows left out unsaid."""
    vae, _ = find_vae(estimator)
    ahead = None if vae is None else vae.__dict__.pop("_trained_ahead", None)
    return [] if vae is None or ahead is None else vae._layout.schema.left_out


OF_ALL = {
    PosteriorCollapseWarning: "left latent dimensions dead, or a decoder that ignores the code",
    ConvergenceWarning: "diverged, and went back to their best epoch",
}
"""What fits of a search did, by the kind of their warning."""


def _summary(found: list[Warning], what: str) -> str:
    """One warning for all fits of a search that have one of a kind."""
    return (
        f"{len(found)} fits of this search {what}. Their scores count as they are; the search has "
        f"weighed them. The first of them: {str(found[0]).split('. ')[0]}. Fit a candidate alone "
        "to see what would mend it."
    )


class InfoVAEGridSearchCV(_TrainedTogether, GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` that trains its candidates as one batched network.

    Takes every parameter and has every attribute of scikit-learn's class, and gives the same
    ``cv_results_`` up to rounding (``mean_fit_time`` is each fit's share of the whole). Candidates
    and folds whose networks have the same shape (equal n_components, widths, number of rows, batch
    size, epochs and kind of divergence) take each step together, layer by layer in one batched
    product. They may differ in alpha, lambd, lr, seed, stopping rule, and in numbers that only
    weigh D (``divergence__bandwidth`` of MMD and KSD, ``gradient_penalty`` of Adversarial). What
    can't be stacked is fitted as scikit-learn does, over ``n_jobs``: other estimators, networks or
    divergences of the user's own, callbacks, and ``net_params`` but for optimizers that treat each
    number by itself, their settings, and `skorch.callbacks.GradientNormClipping`.

    The estimator is an `InfoVAETransformer`, or a Pipeline with one as a step; the steps before and
    behind it are scikit-learn's to fit, over ``n_jobs``. Early stopping is each candidate's own;
    one that diverges costs itself only (``error_score``). A stack takes at most a gigabyte of
    memory; larger groups go in parts.

    Parameters
    ----------
    estimator : InfoVAETransformer or Pipeline
        What is searched; any other estimator is searched as by scikit-learn's class.
    param_grid : dict or list of dict
        As in `sklearn.model_selection.GridSearchCV`.
    scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score : object
        As in `sklearn.model_selection.GridSearchCV`. ``n_jobs`` is for scoring and for what is not
        trained together; under a joblib backend that is a cluster (dask), stacks go to its workers.
        ``verbose`` >= 1 also shows a line of progress over all that is: epochs of all models, and
        the time left, for which a step of each stack is timed first. ``verbose`` of the estimator
        shows the same line; its own is for fits that are not stacked.
    memory : str, Path or None, default=None
        Folder in which each stack is kept when it is trained. A search that was killed and is run
        again takes these up and trains the others, with the very same results. What is fitted one
        by one, scores and the refit are made anew. The files are pickles and named by data,
        parameters and versions: keep the folder to yourself, and remove it when you are done.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.model_selection import InfoVAEGridSearchCV
    >>> vae = InfoVAETransformer(2, max_epochs=5, random_state=0)
    >>> grid = {"alpha": [0, 0.5, 0.9], "lambd": [1, 10]}
    >>> search = InfoVAEGridSearchCV(vae, grid, cv=3).fit(load_iris().data)
    >>> sorted(search.best_params_)
    ['alpha', 'lambd']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GridSearchCV._parameter_constraints,
        "memory": [str, PathLike, None],
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        memory: str | PathLike[str] | None = None,
    ):
        super().__init__(
            estimator,  # type: ignore[call-arg]
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.memory = memory


class InfoVAERandomizedSearchCV(_TrainedTogether, RandomizedSearchCV):
    """`sklearn.model_selection.RandomizedSearchCV` that trains its candidates together.

    See `InfoVAEGridSearchCV`; parameters and attributes are those of scikit-learn's class.

    Parameters
    ----------
    estimator : InfoVAETransformer or Pipeline
        What is searched.
    param_distributions : dict or list of dict
        As in `sklearn.model_selection.RandomizedSearchCV`.
    n_iter : int, default=10
        How many candidates are drawn.
    scoring, n_jobs, refit, cv, verbose, pre_dispatch : object
        As in `InfoVAEGridSearchCV`.
    random_state : int, RandomState or None, default=None
        Of the draws of candidates.
    error_score, return_train_score, memory : object
        As in `InfoVAEGridSearchCV`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **RandomizedSearchCV._parameter_constraints,
        "memory": [str, PathLike, None],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        memory: str | PathLike[str] | None = None,
    ):
        super().__init__(
            estimator,  # type: ignore[call-arg]
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.memory = memory
