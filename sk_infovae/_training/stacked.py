"""Train many models of one shape as one batched network.

alpha, lambd, learning rates, bandwidths of D, seeds and rows change no shape, so the candidates and
folds of a search can take each step together: `torch.func.vmap` turns the layers of all models into
batched products. Module, objective, order of the rows, noise, schedule and stopping rule are those
of a single fit; a model that stops or diverges leaves the stack and touches no other.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from skorch.history import History
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from sk_infovae._model.objective import InfoVAELoss, Terms, coefficients
from sk_infovae._training.adam import StackedAdam
from sk_infovae._training.net import BROKEN, EXPLODED, InfoVAENet, diverged
from sk_infovae._training.plan import Training
from sk_infovae._training.rows import Batch, Rows, SparseRows, WholeBatches
from sk_infovae.exceptions import TrainingDivergedError

COMPACT = 0.75
"""The stack is made smaller when no more than this part of it is still training."""


def stack_key(training: Training) -> Any:
    """What two trainings must share to be one stack; None for one that must train alone."""
    plan, module, divergence = training.plan, training.module, training.plan.loss.divergence
    own_ways = training.draws_globally or plan.net_params
    if own_ways or isinstance(training.rows, SparseRows) or module.likelihood.has_closed_form:
        return None
    shapes = tuple((name, tuple(p.shape)) for name, p in module.named_parameters())
    sets = [training.rows, training.valid]
    return (
        shapes,
        str(module),
        repr(module.likelihood._likelihoods),
        repr(divergence.replaced(dict.fromkeys(divergence.stackable_values(), ...))),
        tuple(module.inputs.holes.tolist()),
        tuple(None if rows is None else (len(rows), rows.mask is None) for rows in sets),
        (plan.batch_size, plan.device, plan.max_epochs, plan.anneal),
    )


Numbers = tuple[Tensor, dict[str, Tensor]]
"""Of each model: its weights ``(2,)`` of KL and D, and its parameters of D by name."""


class Objective(nn.Module):
    """Module and loss in one, so that torch.func reaches the parameters of both."""

    criterion: InfoVAELoss

    def __init__(self, module: nn.Module, criterion: InfoVAELoss):
        super().__init__()
        self.module = module
        self.criterion = criterion

    def forward(self, numbers: Numbers, x: Tensor, mask: Tensor | None, noise: Tensor, n: int):
        """The terms, for a model with numbers of its own."""
        weights, values = numbers
        divergence = self.criterion.divergence.replaced(values) if values else None
        return self.criterion(self.module, x, mask, noise, n, weights.unbind(), divergence)


@dataclass(eq=False)
class Member:
    """A training and what has become of it so far."""

    training: Training
    objective: Objective
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float = math.inf
    to_beat: float = math.inf
    misses: int = 0
    best_weights: dict[str, Tensor] | None = None
    loss_limit: float | None = None
    lowest: dict[str, float] = field(default_factory=dict)
    error: TrainingDivergedError | None = None
    done: bool = False

    def judge(self, prefix: str, terms: list[float], sound: bool, n_batches: int) -> None:
        """Record an epoch's terms, and look for an explosion as `InfoVAENet` does."""
        record, loss = self.history[-1], terms[0]
        record[f"{prefix}_batch_count"] = n_batches
        record |= {f"{prefix}_{name}": v for name, v in zip(Terms._fields, terms, strict=True)}
        exploded = prefix == "train" and abs(loss) > (self.loss_limit or math.inf)
        if not math.isfinite(loss) or exploded or not sound:
            plan = self.training.plan
            lambd = plan.loss.weights[1]
            self.error = diverged(len(self.history), prefix, plan.lr, plan.batch_size, lambd)
            self.done = True
            return
        record[f"{prefix}_loss_best"] = loss < self.lowest.get(prefix, math.inf)
        self.lowest[prefix] = min(loss, self.lowest.get(prefix, math.inf))

    def watch(self, loss: float) -> bool:
        """Count epochs without a better validation loss; True where this one is the best."""
        plan = self.training.plan
        is_best = loss < self.best
        self.best = min(loss, self.best)
        if loss < self.to_beat:
            self.to_beat, self.misses = loss - plan.tol, 0
        else:
            self.misses += 1
        self.done = self.misses == plan.patience
        return is_best


def make_member(training: Training) -> Member:
    """A training that has not begun."""
    device, loss = training.plan.device, training.plan.loss(training.seed)
    return Member(training, Objective(training.module.to(device), loss.to(device)))


class Stream:
    """Batches and noise that some members share: the same rows in the same order."""

    def __init__(self, training: Training, noise_rows: Any):
        plan, self.device = training.plan, training.plan.device
        self.rows, self.valid, self.seed = training.rows, training.valid, training.seed
        self.n_components, self.noise_rows = plan.n_components, noise_rows
        self.noise = torch.Generator(self.device).manual_seed(self.seed)
        shuffle = torch.Generator().manual_seed(self.seed)
        self.train_batches = WholeBatches(len(self.rows), plan.batch_size, generator=shuffle)
        if self.valid is not None:
            self.valid_batches = WholeBatches(len(self.valid), plan.batch_size)

    @staticmethod
    def key(training: Training) -> Any:
        """What two trainings must share to be fed by one stream."""
        rows = training.rows
        valid = None if training.valid is None else training.valid.chosen.numpy().tobytes()
        return id(rows.x), rows.chosen.numpy().tobytes(), valid, training.seed

    def batches(self, training: bool) -> Iterator[tuple[Batch, Tensor]]:
        """One epoch of batches with their noise."""
        generator = self.noise
        if not training:
            generator = torch.Generator(self.device).manual_seed(self.seed)
        rows: Rows = self.rows if training else self.valid  # type: ignore[assignment]
        for indices in self.train_batches if training else self.valid_batches:
            batch = rows.__getitems__(indices)
            shape = (self.noise_rows(len(indices)), self.n_components)
            noise = torch.randn(shape, generator=generator, device=self.device)
            yield batch, noise


class Stack:
    """The members still training: their parameters side by side, and one optimizer for all."""

    def __init__(self, members: Sequence[Member]):
        self.members = list(members)
        self.device = members[0].training.plan.device
        self.streams: list[Stream] = []
        self.objective = members[0].objective
        first: dict[Any, int] = {}
        of_member = []
        for member in members:
            key = Stream.key(member.training)
            if key not in first:
                first[key] = len(self.streams)
                self.streams.append(Stream(member.training, member.objective.criterion.noise_rows))
            of_member.append(first[key])
        self.stream_of_member = torch.tensor(of_member)
        stacked, _ = stack_module_state([member.objective for member in members])
        self.parameters = {
            name: value.detach().requires_grad_(param.requires_grad)
            for (name, param), value in zip(
                self.objective.named_parameters(), stacked.values(), strict=True
            )
        }
        self.numbers = numbers_of([member.training for member in members])
        self.optimizer = StackedAdam(self._learned(), [m.training.plan.lr for m in members])

    def _learned(self) -> list[Tensor]:
        return [value for value in self.parameters.values() if value.requires_grad]

    def terms(self, x: Tensor, mask: Tensor | None, noise: Tensor, n_rows: int) -> Terms:
        """Every member's terms on its own batch, each ``(n_members,)``."""

        def one(parameters: Any, numbers: Numbers, x: Tensor, mask: Any, noise: Tensor) -> Terms:
            return functional_call(self.objective, parameters, (numbers, x, mask, noise, n_rows))

        axes = (0, 0, 0, None if mask is None else 0, 0)
        return vmap(one, in_dims=axes)(self.parameters, self.numbers, x, mask, noise)

    def epoch(self, training: bool) -> tuple[Tensor, Tensor, int]:
        """One pass over the rows: mean terms ``(n_members, 4)``, first losses, batches."""
        self.objective.train(training)
        totals, n_seen, n_batches, first = 0.0, 0, 0, None
        rows = self.streams[0].rows if training else self.streams[0].valid
        assert rows is not None
        for parts in zip(*(stream.batches(training) for stream in self.streams), strict=True):
            terms = self.step(parts, len(rows), training)
            size = len(parts[0][0].x)
            values = torch.stack([term.detach() for term in terms], -1).double()
            first = values[:, 0] if first is None else first
            totals = totals + size * values
            n_seen, n_batches = n_seen + size, n_batches + 1
        assert isinstance(totals, Tensor)
        assert first is not None
        return totals / n_seen, first, n_batches

    def step(self, parts: Sequence[Any], n_rows: int, training: bool) -> Terms:
        """Every member's terms on one batch; in training, they then move."""
        x, mask, noise = self._gather(parts)
        with torch.set_grad_enabled(training):
            terms = self.terms(x, mask, noise, n_rows)
        if training:
            self.optimizer.zero_grad()
            terms.loss.sum().backward()
            self.optimizer.step()
        return terms

    def _gather(self, parts: Sequence[Any]) -> tuple[Tensor, Tensor | None, Tensor]:
        """The streams' batches side by side, one for each member."""
        pick = self.stream_of_member
        x = torch.stack([batch.x for batch, _ in parts])[pick].to(self.device)
        noise = torch.stack([noise for _, noise in parts])[pick.to(self.device)]
        if parts[0][0].mask is None:
            return x, None, noise
        mask = torch.stack([batch.mask for batch, _ in parts])[pick].to(self.device, x.dtype)
        return x, mask, noise

    def sound(self) -> list[bool]:
        """Whether each member's weights are of a size that makes sense."""
        norms = [value.detach().flatten(1).norm(dim=1) for value in self.parameters.values()]
        return (torch.stack(norms) < BROKEN).all(0).tolist()

    def weights_of(self, k: int) -> dict[str, Tensor]:
        """A copy of one member's weights by name, as `InfoVAENet.weights` gives them."""
        own = {name: value[k].detach().clone() for name, value in self.parameters.items()}
        return {**self.members[k].objective.state_dict(), **own}

    def keep(self, chosen: list[int]) -> None:
        """Go on with some of the members only."""
        self.members = [self.members[k] for k in chosen]
        self.parameters = {
            name: value.detach()[chosen].clone().requires_grad_(value.requires_grad)
            for name, value in self.parameters.items()
        }
        weights, values = self.numbers
        self.numbers = weights[chosen], {name: value[chosen] for name, value in values.items()}
        self.stream_of_member = self.stream_of_member[chosen]
        self.optimizer = self.optimizer.keep(self._learned(), chosen)


def numbers_of(trainings: Sequence[Training]) -> Numbers:
    """What each model weighs its terms by; parameters of D only where the models differ in them."""
    losses, device = [training.plan.loss for training in trainings], trainings[0].plan.device
    weights = [coefficients(*loss.weights) for loss in losses]
    each = [loss.divergence.stackable_values() for loss in losses]
    values = {name: [one[name] for one in each] for name in each[0]}
    differing = {name: v for name, v in values.items() if len(set(v)) > 1}
    return (
        torch.tensor(weights, device=device),
        {name: torch.tensor(v, device=device) for name, v in differing.items()},
    )


def train_stacked(
    trainings: Sequence[Training], watch: Callable[[int, int], None] | None = None
) -> list[InfoVAENet | TrainingDivergedError]:
    """Train models that share a `stack_key`, each as `Training.run` would train it alone.

    A training that diverges yields its error instead of a net. ``watch`` is told after each epoch
    how many models took part, and how many epochs all models together have left at most.
    """
    members = list(map(make_member, trainings))
    # Freeing a block of this size makes glibc keep the pages of large tensors from one step to the
    # next; to get them anew each time costs a fifth of the time.
    torch.empty(31 * 2**20, dtype=torch.uint8)
    stack, plan = Stack(members), trainings[0].plan
    results: dict[int, InfoVAENet | TrainingDivergedError] = {}
    for epoch in range(plan.max_epochs):
        n_active = len(members) - len(results)
        if plan.anneal:
            stack.optimizer.follow(0.5 * (1 + math.cos(math.pi * epoch / plan.max_epochs)))
        _run_epoch(stack, epoch)
        finished = [k for k, member in enumerate(stack.members) if member.done]
        for k in finished:
            member = stack.members[k]
            if id(member) not in results:
                results[id(member)] = member.error or finish(member, stack, k)
        if watch is not None:
            watch(n_active, (len(members) - len(results)) * (plan.max_epochs - epoch - 1))
        if len(finished) == len(stack.members):
            break
        if len(finished) >= (1 - COMPACT) * len(stack.members):
            stack.keep([k for k in range(len(stack.members)) if k not in set(finished)])
    for k, member in enumerate(stack.members):
        if id(member) not in results:
            results[id(member)] = member.error or finish(member, stack, k)
    return [results[id(member)] for member in members]


def seconds_per_epoch(trainings: Sequence[Training]) -> float:
    """What an epoch of one model takes in the stack of these, by a step that is then forgotten."""
    stack = Stack(list(map(make_member, trainings)))
    stack.objective.train()
    batches, n_rows = stack.streams[0].train_batches, len(trainings[0].rows)
    parts = [next(stream.batches(training=True)) for stream in stack.streams]
    seconds = []
    for _ in range(3):  # the first one also warms up
        start = time.perf_counter()
        stack.step(parts, n_rows, training=True).loss.tolist()
        seconds.append(time.perf_counter() - start)
    return min(seconds) * len(batches) / len(trainings)


def _run_epoch(stack: Stack, epoch: int) -> None:
    """Train and validate once; every member that is not done records, judges and watches."""
    active = [(k, member) for k, member in enumerate(stack.members) if not member.done]
    for _, member in active:
        member.history.append({"batches": [], "epoch": epoch + 1})
    means, first, n_batches = stack.epoch(training=True)
    sound = stack.sound()
    for k, member in active:
        if member.loss_limit is None:
            member.loss_limit = EXPLODED * (1 + abs(first[k].item()))
        member.judge("train", means[k].tolist(), sound[k], n_batches)
    if stack.streams[0].valid is None:
        return
    means, _, n_batches = stack.epoch(training=False)
    for k, member in active:
        if not member.done:
            member.judge("valid", means[k].tolist(), True, n_batches)
        if not member.done and member.training.plan.patience is not None:
            if member.watch(means[k, 0].item()):
                member.best_weights = stack.weights_of(k)


def finish(member: Member, stack: Stack, k: int) -> InfoVAENet:
    """The net that a single fit would have left, but for the optimizer's moments."""
    training = member.training
    net = training.plan.make_net(training.module, training.seed)
    net.load_weights(member.best_weights or stack.weights_of(k))
    net.history_ = History(member.history)
    net.callbacks = []
    net._set_training(False)
    return net
