"""Fit the candidates of a search: those of one shape as one batched network."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import joblib
from joblib.parallel import get_active_backend
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split

from sk_infovae._training.fitting import fitted_attributes, prepare_alone
from sk_infovae._training.hooks import SearchLine
from sk_infovae._training.plan import Training, resolve_device
from sk_infovae._training.stacked import seconds_per_epoch, stack_key, train_stacked
from sk_infovae.estimator import InfoVAETransformer
from sk_infovae.exceptions import TrainingDivergedError

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
class Part:
    """Models that are trained as one stack, and travel to a worker in one piece."""

    vaes: list[InfoVAETransformer]
    trainings: list[Training]

    def __sizeof__(self) -> int:
        """With its tables: dask sends what is large by a way of its own."""
        return sum({id(t.rows.x): t.rows.x.nbytes for t in self.trainings}.values())


def train_part(
    part: Part, watch: Callable[[int, int], None] | None = None
) -> list[InfoVAETransformer | TrainingDivergedError] | None:
    """Each vae fitted, on the device that "auto" means on this machine, or its error.

    None where the divergence refuses its parameters: each fit will run into it.
    """
    trainings = [
        replace(training, plan=replace(training.plan, device=resolve_device(vae.device)))
        for vae, training in zip(part.vaes, part.trainings, strict=True)
    ]
    try:
        results: list[Any] = train_stacked(trainings, watch)
    except ValueError:
        return None
    for k, vae in enumerate(part.vaes):
        if not isinstance(results[k], TrainingDivergedError):
            vae.__dict__.update(fitted_attributes(vae, results[k]))
            results[k] = vae
    return results


def is_cluster() -> bool:
    """Whether joblib works over a cluster (dask, ray, ...), and not by its own backends."""
    return type(get_active_backend()[0]).__module__ != "joblib._parallel_backends"


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
    n_jobs : int or None
        Of the search: over the workers of a cluster, stacks are spread too.
    verbose : bool
        Whether to show a line of progress; one is also shown where an `InfoVAETransformer` is
        verbose itself, in the place of its own.
    """

    def __init__(
        self,
        template: Any,
        X: Any,
        y: Any,
        splits: list[Any],
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.template, self.X, self.y, self.splits = template, X, y, splits
        self.n_jobs, self.verbose = n_jobs, verbose
        self._tables: dict[Any, Table] = {}

    def fit(self, grid: Iterable[Mapping[str, Any]]) -> list[Any]:
        """An estimator for each candidate and split; unfitted ones are for scikit-learn to fit."""
        candidates = [
            self._prepare(parameters, k) for parameters in grid for k in range(len(self.splits))
        ]
        groups: dict[Any, list[Candidate]] = {}
        for k in range(len(self.splits)):  # so that a part needs the rows of few splits
            for candidate in candidates[k :: len(self.splits)]:
                if candidate.training is not None:
                    groups.setdefault(stack_key(candidate.training), []).append(candidate)
        alone = groups.pop(None, [])
        n_jobs = joblib.effective_n_jobs(self.n_jobs) if is_cluster() else 1
        share = -(-sum(map(len, groups.values())) // n_jobs)
        stacks = []
        for group in groups.values():
            size = max(2, min(share, _stack_size(group[0])))
            stacks += [group[start : start + size] for start in range(0, len(group), size)]
        # Nothing to share: n_jobs may take it.
        self._leave([*alone, *(stack[0] for stack in stacks if len(stack) == 1)])
        stacks = [stack for stack in stacks if len(stack) > 1]
        self._tables.clear()
        if is_cluster():
            self._send(stacks)
        else:
            self._train(stacks)
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

    def _leave(self, candidates: list[Candidate]) -> None:
        """Leave candidates to scikit-learn, without the steps before the vae that they share."""
        for candidate in candidates:
            candidate.estimator, candidate.training = clone(self.template), None

    def _train(self, stacks: list[list[Candidate]]) -> None:
        """Train stack after stack, under one line of progress."""
        parts = list(map(_pack, stacks))
        epochs = [sum(one.plan.max_epochs for one in part.trainings) for part in parts]
        shown = self.verbose or any(vae.verbose for part in parts for vae in part.vaes)
        costs = [_cost(part.trainings) if shown else 0.0 for part in parts]
        with SearchLine(epochs, costs, disable=not (stacks and shown)) as line:
            for k, stack in enumerate(stacks):
                results = train_part(parts[k], partial(line.advance, k))
                if results is None:
                    line.advance(k, 0, 0)
                self._keep(stack, results)
                parts[k].trainings.clear()

    def _send(self, stacks: list[list[Candidate]]) -> None:
        """Train stacks on the workers of a cluster."""
        parallel = joblib.Parallel(n_jobs=self.n_jobs, batch_size=1)
        tasks = (joblib.delayed(train_part)(_pack(stack)) for stack in stacks)
        for stack, results in zip(stacks, parallel(tasks), strict=True):
            self._keep(stack, results)

    def _keep(self, stack: list[Candidate], results: list[Any] | None) -> None:
        """Give the candidates what their training brought, perhaps from another machine."""
        if results is None:
            self._leave(stack)
            return
        for candidate, result in zip(stack, results, strict=True):
            vae, error = candidate.vae, None
            assert vae is not None
            if isinstance(result, TrainingDivergedError):
                error = result
            elif result is not vae:
                vae.__dict__.update(vars(result))
            candidate.estimator.fit = FinishFit(candidate.estimator, vae, error)


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


def _pack(stack: list[Candidate]) -> Part:
    """Vaes and trainings of a stack; the candidates let go of their rows."""
    part = Part([], [])
    for candidate in stack:
        assert candidate.vae is not None
        assert candidate.training is not None
        part.vaes.append(candidate.vae)
        part.trainings.append(candidate.training)
        candidate.training = None
    return part


def _cost(trainings: list[Training]) -> float:
    """Seconds that an epoch of one model takes; 0 where training will be refused."""
    try:
        return seconds_per_epoch(trainings)
    except ValueError:
        return 0.0


def _stack_size(candidate: Candidate) -> int:
    """How many such models fit into `STACK_BYTES`."""
    training = candidate.training
    assert training is not None
    widths = [p.shape[0] for p in training.module.parameters()]
    learned = sum(p.numel() for p in training.module.parameters())
    cells = 5 * learned + 4 * training.plan.batch_size * sum(widths)
    return max(2, STACK_BYTES // (4 * cells))
