"""scikit-learn's searches, with the candidates trained together."""

import time
from collections.abc import Iterator
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv
from sklearn.utils import indexable

from sk_infovae.model_selection.candidates import CandidateFitter


class _TrainedTogether:
    """Overrides of a search class: everything but the training is scikit-learn's own.

    The search clones its estimator once before it starts, once for each candidate and split, in
    their order, and once for the refit. It is given an estimator whose clones, while candidates
    are evaluated, are the ones that were fitted in advance.
    """

    estimator: Any
    cv: Any
    verbose: int
    n_jobs: Any

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
        template, cv = self.estimator, self.cv
        self._ready, self._given = [], (X, y, params)
        # One splitter for the whole search, also where cv can be read only once.
        self.cv = check_cv(cv, y, classifier=is_classifier(template))
        self.estimator = handed = clone(template)
        handed.__sklearn_clone__ = lambda: handed
        try:
            return super().fit(X, y, **params)  # type: ignore[misc]
        finally:
            del handed.__sklearn_clone__  # the default scorer keeps this estimator
            self.estimator, self.cv = template, cv
            del self._ready, self._given

    def __getstate__(self) -> dict[str, Any]:
        """Without what is at hand while a search runs: workers are sent the search itself."""
        inherited: Any = super()
        state = dict(inherited.__getstate__())
        if state.pop("_given", None) is not None:
            del state["_ready"]
            state["estimator"] = clone_of(state["estimator"])
        return state

    def _run_search(self, evaluate_candidates: Any, *, callback_ctx: Any = None) -> None:
        handed, template = self.estimator, clone_of(self.estimator)
        X, y, params = self._given
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(params)  # type: ignore[attr-defined]
        splits = FixedSplits(list(self.cv.split(X, y, **routed.splitter.split)))
        handed.__sklearn_clone__ = lambda: self._ready.pop() if self._ready else clone_of(template)

        def evaluate(candidates: Any, **kwargs: Any) -> Any:
            candidates, start = list(candidates), time.perf_counter()
            # Parameters of the estimator's fit are for scikit-learn to route.
            if not routed.estimator.fit:
                shown = self.verbose > 0
                fitter = CandidateFitter(template, X, y, splits.splits, self.n_jobs, shown)
                self._ready = fitter.fit(candidates)[::-1]
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


def clone_of(estimator: Any) -> Any:
    """A clone by scikit-learn's own rules, whatever hangs on the instance."""
    return type(estimator).__sklearn_clone__(estimator)


class InfoVAEGridSearchCV(_TrainedTogether, GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` that trains its candidates as one batched network.

    Takes every parameter and has every attribute of scikit-learn's class, and gives the same
    ``cv_results_`` up to rounding (``mean_fit_time`` is each fit's share of the whole). Candidates
    and folds whose networks have the same shape (equal n_components, widths, number of rows, batch
    size, epochs and kind of divergence) take each step together, `torch.func.vmap` turning their
    layers into batched products. They may differ in alpha, lambd, lr, seed, stopping rule, and in
    numbers that only weigh D (``divergence__bandwidth`` of MMD and KSD, ``gradient_penalty`` of
    Adversarial). What can't be stacked is fitted as scikit-learn does, over ``n_jobs``: other
    estimators, ``net_params``, callbacks of scikit-learn, networks or divergences of the user's
    own, CSR tables, a refitted noise scale.

    The estimator is an `InfoVAETransformer`, or a Pipeline with one as a step: the steps before it
    are fitted once per split for all candidates that share them, the steps behind it per candidate
    over ``n_jobs``. Early stopping is each candidate's own; one that diverges costs itself only
    (``error_score``). A stack takes at most a gigabyte of memory; larger groups go in parts.

    Parameters
    ----------
    estimator : InfoVAETransformer or Pipeline
        What is searched; any other estimator is searched as by scikit-learn's class.
    param_grid : dict or list of dict
        As in `sklearn.model_selection.GridSearchCV`.
    scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in `sklearn.model_selection.GridSearchCV`. ``n_jobs`` is for scoring and for what is not
        trained together; under a joblib backend that is a cluster (dask), stacks go to its workers.
        ``verbose`` >= 1 also shows a line of progress over all that is: epochs of all models, and
        the time left, for which a step of each stack is timed first. ``verbose`` of the estimator
        shows the same line; its own is for fits that are not stacked.

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


class InfoVAERandomizedSearchCV(_TrainedTogether, RandomizedSearchCV):
    """`sklearn.model_selection.RandomizedSearchCV` that trains its candidates together.

    See `InfoVAEGridSearchCV`; parameters and attributes are those of scikit-learn's class.

    Parameters
    ----------
    estimator : InfoVAETransformer or Pipeline
        What is searched.
    param_distributions : dict or list of dict
        As in `sklearn.model_selection.RandomizedSearchCV`.
    n_iter, scoring, n_jobs, refit, cv, verbose, pre_dispatch, random_state, error_score, \
            return_train_score
        As in `sklearn.model_selection.RandomizedSearchCV`.
    """
