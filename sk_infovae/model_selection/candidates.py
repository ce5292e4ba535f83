"""Fit the candidates of a search: those of one shape as one batched network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import joblib
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split

from sk_infovae.estimator import InfoVAETransformer
from sk_infovae.exceptions import TrainingDivergedError
from sk_infovae.fitting import fitted_attributes, prepare_alone
from sk_infovae.training.plan import Training
from sk_infovae.training.stacked import stack_key, train_stacked

STACK_BYTES = 2**30
"""Memory that one stack may take for parameters, gradients, moments and activations."""


@dataclass(eq=False)
class Candidate:
    """One estimator of a search on one split, as far as it can be fitted in advance.

    Attributes
    ----------
    estimator : estimator
        A clone with the candidate's parameters. Once fitted in advance, its ``fit`` only does what
        is left to do.
    vae : InfoVAETransformer or None
        The estimator itself or a step of it; None where the whole is left to scikit-learn.
    training : Training or None
        What the vae is to learn.
    """

    estimator: Any
    vae: InfoVAETransformer | None = None
    training: Training | None = None


class FinishFit:
    """``fit`` of an estimator whose vae is fitted already: fits the steps behind it."""

    def __init__(self, estimator: Any, vae: InfoVAETransformer, error: Exception | None = None):
        self.estimator = estimator
        self.vae = vae
        self.error = error

    def __call__(self, X: Any, y: Any = None) -> Any:
        """Fit what is left, or raise what training raised."""
        if self.error is not None:
            raise self.error
        if self.estimator is not self.vae:
            names = [step for _, step in self.estimator.steps]
            position = next(k for k, step in enumerate(names) if step is self.vae)
            rest = self.estimator.steps[position + 1 :]
            if rest:
                done = Pipeline(self.estimator.steps[: position + 1])
                Pipeline(rest).fit(done.transform(X), y)
        return self.estimator


@dataclass(eq=False)
class Table:
    """Rows of one split as they reach the vae, and what is shared between candidates there."""

    X: Any
    steps: list[tuple[str, Any]]
    encoded: dict[Any, Any] = field(default_factory=dict)


class CandidateFitter:
    """Makes the estimators of a search, in the order of its tasks, fitted where that is faster.

    Parameters
    ----------
    template : estimator
        An `InfoVAETransformer`, a Pipeline with one as a step, or anything else, which is left as
        it is.
    X, y : array-like
        Of the whole search.
    splits : list of tuple
        Training and test rows.
    """

    def __init__(self, template: Any, X: Any, y: Any, splits: list[Any]):
        self.template, self.X, self.y, self.splits = template, X, y, splits
        self._tables: dict[Any, Table] = {}

    def fit(self, grid: Iterable[Mapping[str, Any]]) -> list[Any]:
        """An estimator for each candidate and split; unfitted ones are for scikit-learn to fit."""
        candidates = [
            self._prepare(parameters, k) for parameters in grid for k in range(len(self.splits))
        ]
        groups: dict[Any, list[Candidate]] = {}
        for candidate in candidates:
            if candidate.training is not None:
                groups.setdefault(stack_key(candidate.training), []).append(candidate)
        for candidate in groups.pop(None, []):
            candidate.estimator = clone(self.template)  # steps before it may be shared until here
        for group in groups.values():
            size = _stack_size(group[0].training)
            for start in range(0, len(group), size):
                self._train(group[start : start + size])
        self._tables.clear()
        return [candidate.estimator for candidate in candidates]

    def _prepare(self, parameters: Mapping[str, Any], k: int) -> Candidate:
        """Everything that fit would do before training; errors are left for fit to raise."""
        estimator = clone(self.template)
        try:
            estimator.set_params(**clone(parameters, safe=False))
            vae, before = find_vae(estimator)
            # A parameter that is a whole step would put an unfitted one back.
            steps = dict(getattr(estimator, "steps", []))
            if vae is None or not steps.keys().isdisjoint(parameters):
                return Candidate(clone(self.template))
            vae._validate_params()
            table = self._table(before, k)
            if before:
                estimator.steps[: len(before)] = table.steps
            return Candidate(estimator, vae, prepare_alone(vae, table.X, table.encoded))
        except Exception:
            # The fit itself will run into it, and scikit-learn knows what to do then.
            return Candidate(clone(self.template))

    def _table(self, before: list[tuple[str, Any]], k: int) -> Table:
        """The training rows of split k behind the steps before the vae, fitted once."""
        key = (k, joblib.hash(before) if before else None)
        if key not in self._tables:
            X, y = _safe_split(self.template, self.X, self.y, self.splits[k][0])
            if before:
                X = Pipeline(before).fit_transform(X, y)
            self._tables[key] = Table(X, before)
        return self._tables[key]

    def _train(self, group: list[Candidate]) -> None:
        if len(group) == 1:
            group[0].estimator = clone(self.template)  # nothing to share: n_jobs may take it
            return
        trainings = [candidate.training for candidate in group if candidate.training is not None]
        for candidate, net in zip(group, train_stacked(trainings), strict=True):
            vae, error = candidate.vae, None
            assert vae is not None
            if isinstance(net, TrainingDivergedError):
                error = net
            else:
                vars(vae).update(fitted_attributes(vae, net))
            candidate.estimator.fit = FinishFit(candidate.estimator, vae, error)
            candidate.training = None


def find_vae(estimator: Any) -> tuple[InfoVAETransformer | None, list[tuple[str, Any]]]:
    """The vae in an estimator and the steps before it; None where it can't be fitted alone."""
    if type(estimator) is InfoVAETransformer:
        return _plain(estimator), []
    if type(estimator) is not Pipeline or estimator.memory is not None:
        return None, []
    places = [k for k, (_, step) in enumerate(estimator.steps) if type(step) is InfoVAETransformer]
    if len(places) != 1:
        return None, []
    return _plain(estimator.steps[places[0]][1]), list(estimator.steps[: places[0]])


def _plain(vae: InfoVAETransformer) -> InfoVAETransformer | None:
    """The vae, unless scikit-learn's callbacks want to watch its epochs."""
    return None if getattr(vae, "_skl_callbacks", None) else vae


def _stack_size(training: Training | None) -> int:
    """How many such models fit into `STACK_BYTES`."""
    assert training is not None
    widths = [p.shape[0] for p in training.module.parameters()]
    learned = sum(p.numel() for p in training.module.parameters())
    cells = 4 * learned + 4 * training.plan.batch_size * sum(widths)
    return max(2, STACK_BYTES // (4 * cells))
