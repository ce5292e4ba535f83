"""Train the candidates of a search in advance: those of one shape as one batched network."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any

import joblib
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sk_infovae._base.checkpoints import Checkpoints
from sk_infovae._base.compat import _safe_split, get_active_backend
from sk_infovae._model.shares import ProcessesDifferError
from sk_infovae._training.ahead import Ahead, TrainedAhead
from sk_infovae._training.fitting import FitAhead, prepare_fit
from sk_infovae._training.loop import seconds_per_epoch, train_together
from sk_infovae._training.plan import resolve_device
from sk_infovae._training.progress import SearchLine
from sk_infovae._training.training import StackKey, Training
from sk_infovae.estimator import InfoVAETransformer

STACK_BYTES = 2**30
"""Memory that one stack may take for parameters, gradients, moments and activations."""


@dataclass(eq=False)
class Candidate:
    """What one candidate of a search trains on one split.

    Attributes
    ----------
    fit : FitAhead
    device : str or torch.device
        As the user gave it: "auto" is each machine's own.
    verbose : int
    times : int
        Candidates that ask for this very training: they differ in other steps of a Pipeline.
    """

    fit: FitAhead
    device: Any
    verbose: int
    times: int = 1

    def is_that_of(self, other: "Candidate") -> bool:
        """Whether the training of another one, with a seed of the user's, will do for this."""
        seeded = isinstance(self.fit.random_state, Integral)
        return seeded and (self.fit.key, self.device) == (other.fit.key, other.device)

    @property
    def training(self) -> Training:
        """What is to be trained."""
        return self.fit.training


@dataclass(eq=False)
class Part:
    """Models that are trained as one stack, and travel to a worker in one piece."""

    trainings: list[Training]
    devices: list[Any]

    def __sizeof__(self) -> int:
        """With its tables: dask sends what is large by a way of its own."""
        return sum({id(t.rows.x): t.rows.x.nbytes for t in self.trainings}.values())


def train_part(part: Part, tell: Callable[[int, int], None] | None = None) -> list[Any] | None:
    """Each model's net, on the device that "auto" means on this machine, or its error.

    None where the divergence refuses its parameters: each fit will run into it.
    """
    trainings = [
        replace(training, plan=replace(training.plan, device=resolve_device(device)))
        for training, device in zip(part.trainings, part.devices, strict=True)
    ]
    try:
        return train_together(trainings, tell)
    except ProcessesDifferError:
        raise
    except ValueError:
        return None


def is_cluster() -> bool:
    """Whether stacks can be sent to a cluster that joblib works over, dask's say.

    Not to ray's: its backend keeps one pool of workers, which scikit-learn's own tasks have.
    """
    module = type(get_active_backend()[0]).__module__
    return module != "joblib._parallel_backends" and not module.startswith("ray.")


class CandidateTrainer:
    """Trains what the fits of a search will ask for.

    Parameters
    ----------
    template : estimator
        An `InfoVAETransformer`, a Pipeline with one as a step, or anything else, which is left as
        it is. Its transformer carries ``ahead``.
    X, y : array-like
        Of the whole search.
    splits : list of tuple
        Training and test rows.
    ahead : TrainedAhead
        Where the trainings go.
    n_jobs : int or None
        Of the search: over the workers of a cluster, stacks are spread too.
    verbose : bool
        Whether to show a line of progress; one is also shown where an `InfoVAETransformer` is
        verbose itself, in the place of its own.
    checkpoints : Checkpoints or None
        Where trained stacks are kept, and found again.

    Attributes
    ----------
    left_out : dict of str
        Columns of free text that the candidates leave out, as keys.
    """

    def __init__(
        self,
        template: Any,
        X: Any,
        y: Any,
        splits: list[Any],
        ahead: TrainedAhead,
        n_jobs: int | None = None,
        verbose: bool = False,
        checkpoints: Checkpoints | None = None,
    ):
        self.template, self.X, self.y, self.splits = template, X, y, splits
        self.ahead, self.n_jobs, self.verbose = ahead, n_jobs, verbose
        self.checkpoints = checkpoints
        self.left_out: dict[Any, None] = {}
        self._tables: dict[Any, Any] = {}

    def train(self, grid: Iterable[Mapping[str, Any]]) -> None:
        """Train the candidates that share a stack with others; the rest is scikit-learn's."""
        grid = list(grid)
        groups: list[tuple[StackKey, list[Candidate]]] = []
        for k in range(len(self.splits)):  # so that a part needs the rows of few splits
            for parameters in grid:
                candidate = self._prepare(parameters, k)
                if candidate is not None:
                    _sort_in(groups, candidate)
        self._tables.clear()
        stacks = [stack for _, group in groups for stack in self._stacks(group, groups)]
        if self.checkpoints is not None:
            stacks = [stack for stack in stacks if not self._found(stack)]
        if is_cluster():
            self._send(stacks)
        else:
            self._train(stacks)

    def _prepare(self, parameters: Mapping[str, Any], k: int) -> Candidate | None:
        """Everything that fit would do before training; its errors are left for fit to raise."""
        estimator = clone(self.template)
        try:
            estimator.set_params(**clone(parameters, safe=False))
            vae, before = find_vae(estimator)
            # A parameter that is a whole step brings one that will not look here.
            if vae is None or vars(vae).get("_trained_ahead") is not self.ahead:
                return None
            vae._validate_params()
            fit = prepare_fit(vae, *self._table(before, k))
        except Exception:
            return None
        self.left_out |= dict.fromkeys(fit.layout.schema.left_out)
        if fit.key is None or fit.training.key is None:
            return None
        return Candidate(fit, vae.device, vae.verbose)

    def _table(self, before: list[tuple[str, Any]], k: int) -> tuple[Any, dict[str, Any]]:
        """Training rows of split k behind the steps before the vae, and what they were read as."""
        key = (k, joblib.hash(before) if before else None)
        if key not in self._tables:
            X, y = _safe_split(self.template, self.X, self.y, self.splits[k][0])
            if before:
                X = Pipeline(before).fit_transform(X, y)
            self._tables[key] = X, {}
        return self._tables[key]

    def _stacks(self, group: list[Candidate], groups: Any) -> list[list[Candidate]]:
        """A group in parts that fit into memory and give every worker some; no part of one."""
        n_jobs = joblib.effective_n_jobs(self.n_jobs) if is_cluster() else 1
        share = -(-sum(len(one) for _, one in groups) // n_jobs)
        size = max(2, min(share, _stack_size(group[0].training)))
        parts = [group[start : start + size] for start in range(0, len(group), size)]
        for part in parts:
            if len(part) == 1 and part[0].times > 1:  # a stack has two models at least
                part[0].times -= 1
                part.append(replace(part[0], times=1))
        return [part for part in parts if len(part) > 1]

    def _train(self, stacks: list[list[Candidate]]) -> None:
        """Train stack after stack, under one line of progress."""
        epochs = [sum(one.training.plan.max_epochs for one in stack) for stack in stacks]
        shown = self.verbose or any(one.verbose for stack in stacks for one in stack)
        costs = [_cost(stack) if shown else 0.0 for stack in stacks]
        with SearchLine(epochs, costs, disable=not (stacks and shown)) as line:
            for k, stack in enumerate(stacks):
                results = train_part(_pack(stack), partial(line.advance, k))
                if results is None:
                    line.advance(k, 0, 0)
                self._keep(stack, results)
                stack.clear()

    def _send(self, stacks: list[list[Candidate]]) -> None:
        """Train stacks on the workers of a cluster; each is kept when it is back."""
        lazily = getattr(get_active_backend()[0], "supports_return_generator", False)
        how = {"batch_size": 1, "return_as": "generator" if lazily else "list"}
        parallel = joblib.Parallel(n_jobs=self.n_jobs, **how)
        tasks = (joblib.delayed(train_part)(_pack(stack)) for stack in stacks)
        for stack, results in zip(stacks, parallel(tasks), strict=True):
            self._keep(stack, results)

    def _keep(self, stack: list[Candidate], results: list[Any] | None) -> None:
        """Finish and lay out what the trainings brought, perhaps from another machine."""
        if results is None:
            return
        pairs = zip(stack, results, strict=True)
        fits = [candidate.fit.finished(result) for candidate, result in pairs]
        if self.checkpoints is not None:
            self.checkpoints.write(_key(stack), [fit.packed() for fit in fits])
        self._lay_out(stack, fits)

    def _found(self, stack: list[Candidate]) -> bool:
        """Whether an earlier run has trained this very stack; its fits are then laid out."""
        assert self.checkpoints is not None
        fits = self.checkpoints.read(_key(stack))
        if fits is not None:
            self._lay_out(stack, fits)
        return fits is not None

    def _lay_out(self, stack: list[Candidate], fits: list[Ahead]) -> None:
        for candidate, fit in zip(stack, fits, strict=True):
            assert candidate.fit.key is not None
            self.ahead.add(candidate.fit.key, fit)
            if candidate.times > 1:  # each of the others makes a net of its own of this
                for packed in [fit.packed()] * (candidate.times - 1):
                    self.ahead.add(candidate.fit.key, packed)


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


def _sort_in(groups: list[tuple[StackKey, list[Candidate]]], candidate: Candidate) -> None:
    """Put a candidate with those that it can share a stack with."""
    key = candidate.training.key
    assert key is not None
    for other, group in groups:
        if other == key:
            same = next((one for one in group if candidate.is_that_of(one)), None)
            if same is None:
                group.append(candidate)
            else:
                same.times += 1
            return
    groups.append((key, [candidate]))


def _key(stack: list[Candidate]) -> str:
    """What each of its models is trained of, and where."""
    return " ".join(f"{one.fit.key} {one.device}" for one in stack)


def _pack(stack: list[Candidate]) -> Part:
    """Trainings of a stack, and where they want to be trained."""
    return Part([one.training for one in stack], [one.device for one in stack])


def _cost(stack: list[Candidate]) -> float:
    """Seconds that an epoch of one model takes; 0 where training will be refused."""
    try:
        return seconds_per_epoch([one.training for one in stack])
    except ValueError:
        return 0.0


def _stack_size(training: Training) -> int:
    """How many such models fit into `STACK_BYTES`."""
    widths = [p.shape[0] for p in training.module.parameters()]
    learned = sum(p.numel() for p in training.module.parameters())
    n_rows = training.plan.batch_size * (2 if training.plan.neighbor_weight else 1)
    cells = 5 * learned + 4 * n_rows * sum(widths)
    return max(2, STACK_BYTES // (4 * cells))
