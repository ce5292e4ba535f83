"""The skorch net that trains models: skorch's loop, with whole batches and every term kept.

One loop serves a lone model and a stack of K. A stack's parameters are ``(K, ...)``, its batches
``(K, n, n_columns)`` and its terms ``(K,)``; what is counted, judged and kept for each model stands
in its `Member`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.utils import TeeGenerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sk_infovae._model.cells import Cells
from sk_infovae._model.networks import share_of_rate
from sk_infovae._model.objective import Terms, keep_models
from sk_infovae._model.shares import CURRENT
from sk_infovae._model.vae import VAE
from sk_infovae._table.standardizer import BLOCK_CELLS
from sk_infovae._training.flat_adam import FlatAdam, thin_out
from sk_infovae._training.interrupts import CtrlC, watch_ctrl_c
from sk_infovae._training.rows import (
    DiskRows,
    Rows,
    Shuffled,
    SideBySide,
    StackedRows,
    WholeBatches,
    WholeBatchLoader,
)
from sk_infovae._training.written_out import WrittenOut

REFIT_ROWS = 4096
"""Training rows on which a likelihood sets parameters as an epoch ends."""

BROKEN = 1e10
"""Weights of this norm are no model of standardised columns."""

NEIGHBORS_NEED_ORDER = (
    "neighbor_weight needs batches in which each row comes with a neighbour, got a loader, sampler "
    "or batch_sampler in net_params[{0!r}...]. Leave it out, or set neighbor_weight=0."
)


class StopTraining(KeyboardInterrupt):
    """A callback asked to stop: no Ctrl-C, but skorch's loop ends in the same way."""


class InfoVAENet(NeuralNet):
    """`skorch.NeuralNet` on the InfoVAE objective.

    It differs from its parent in what a batch is (`Cells`: x and mask), in the noise (drawn
    here from generators of its own, and handed to the module), and in the history: the epoch
    means of every term stand there as ``train_loss``, ``train_reconstruction``, ``train_kl`` and
    ``train_divergence``, with ``valid_`` likewise; the records of single batches go when the
    next epoch begins. Of a stack, skorch's own history is the first model's.

    Parameters
    ----------
    n_components : int
        Latent dimension, the width of the noise.
    seeds : tuple of int
        Seed the shuffling and the noise, of each stream of rows; one for a lone model.
    rates : tuple of float, default=()
        Learning rate of each model in a stack; empty for a lone model.
    earlier : list of dict, default=()
        Epochs of the fits that this one goes on from. They stand apart while it trains, where
        skorch's schedules and others count the epochs of one fit.
    records_batches : bool, default=False
        Whether callbacks find each batch's loss in the history.
    """

    def __init__(
        self,
        *args: Any,
        n_components: int,
        seeds: tuple[int, ...],
        rates: tuple[float, ...] = (),
        earlier: Sequence[Any] = (),
        records_batches: bool = False,
        **kwargs: Any,
    ):
        self.n_components = n_components
        self.seeds = seeds
        self.rates = rates
        self.earlier = earlier
        self.records_batches = records_batches
        super().__init__(*args, **kwargs)

    def epochs(self) -> list[dict[str, Any]]:
        """Every epoch that saw a row, those of earlier fits first."""
        begun = [*self.earlier, *(self.history or [])]
        trained = [epoch for epoch in begun if epoch.get("train_batch_count")]
        return [{**epoch, "epoch": number} for number, epoch in enumerate(trained, start=1)]

    def initialize(self) -> "InfoVAENet":
        """Initialize as skorch does, and seed the generators."""
        super().initialize()
        self._shuffle = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        self._train_noise = self._noise_generators()
        self._ctrl_c = CtrlC()
        self.interrupted_ = False
        self.warning_: Warning | None = None
        self.epochs_left: int | None = None
        return self

    def _noise_generators(self) -> list[torch.Generator]:
        return [torch.Generator(self.device).manual_seed(seed) for seed in self.seeds]

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "InfoVAENet":
        """skorch's own; `FlatAdam`, where that is asked for and all that is learned fits in."""
        if self.optimizer is not FlatAdam:
            return super().initialize_optimizer(triggered_directly)
        learned = [(n, p) for n, p in self.get_all_learnable_params() if p.requires_grad]
        _, options = self.get_params_for_optimizer("optimizer", learned)
        parameters = [parameter for _, parameter in learned]
        if len({(p.dtype, p.device) for p in parameters}) > 1:
            self.optimizer_ = torch.optim.Adam(parameters, **options)
            return self
        slow = share_of_rate(self.plain_module.encoder)
        options["shares"] = [slow.get(parameter, 1.0) for parameter in parameters]
        if self.rates:  # each model's own, which a schedule of a common 1 moves
            options |= {"lr": 1.0, "rates": self.rates}
        self.optimizer_ = FlatAdam(parameters, **options)
        return self

    @property
    def plain_module(self) -> VAE:
        """The module itself, also where skorch wrapped it in ``torch.compile``."""
        return getattr(self.module_, "_orig_mod", self.module_)

    def weights(self) -> dict[str, Tensor]:
        """Everything that is learned, by name: the module's, and the divergence's own."""
        return self._learned().state_dict()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take over what `weights` gave.

        The divergence may have been changed in between: what it learned is taken over whole, or
        not at all.
        """
        own = self.weights()
        critic = {name for name in own if name.startswith("criterion.")}
        given = {name for name in weights if name.startswith("criterion.")}
        if critic != given or any(weights[n].shape != own[n].shape for n in critic):
            weights = {name: v for name, v in weights.items() if name not in given}
            weights |= {name: own[name] for name in critic}
        self._learned().load_state_dict(weights)

    def _learned(self) -> nn.ModuleDict:
        return nn.ModuleDict({"module": self.plain_module, "criterion": self.criterion_})

    def torch_compile(self, module: Any, name: str) -> Any:
        """Compile the networks only: torch's compiler warns about MMD's autograd function."""
        return super().torch_compile(module, name) if name == "module" else module

    def get_iterator(self, dataset: Rows, training: bool = False) -> Any:
        """Loader of whole batches; ``iterator_train__*`` and ``iterator_valid__*`` reach it."""
        prefix = "iterator_train" if training else "iterator_valid"
        loader, kwargs = getattr(self, prefix), self.get_params_for(prefix)
        batch_size = kwargs.pop("batch_size", self.batch_size)
        batch_size = len(dataset) if batch_size == -1 else batch_size
        is_torchs = isinstance(loader, type) and issubclass(loader, DataLoader)
        orders = not is_torchs or not {"sampler", "batch_sampler"}.isdisjoint(kwargs)
        if dataset.neighbors is not None and orders:
            raise ValueError(NEIGHBORS_NEED_ORDER.format(prefix))
        if not is_torchs:
            return loader(dataset, batch_size=batch_size, **kwargs)
        if "sampler" in kwargs:
            kwargs["batch_size"] = batch_size
        elif "batch_sampler" not in kwargs:
            shuffle, drop_last = kwargs.pop("shuffle", training), kwargs.pop("drop_last", False)
            if isinstance(dataset, DiskRows) and loader is DataLoader and not kwargs:
                if dataset.neighbors is None:
                    order = self._shuffle[0] if shuffle else None
                    return Shuffled(dataset, batch_size, order, drop_last)
            stacked = isinstance(dataset, StackedRows)
            sets = dataset.parts if stacked else [dataset]
            samplers = [
                WholeBatches(
                    len(one), batch_size, generator if shuffle else None, drop_last, one.neighbors
                )
                for one, generator in zip(sets, self._shuffle, strict=True)
            ]
            kwargs["batch_sampler"] = SideBySide(samplers) if stacked else samplers[0]
        # A generator of our own: DataLoader would draw its workers' seeds from the global one.
        workers = torch.Generator().manual_seed(self.seeds[0])
        loader = WholeBatchLoader if loader is DataLoader else loader
        return loader(dataset, **{"collate_fn": _keep, "generator": workers, **kwargs})

    def terms(self, batch: Cells, generators: Sequence[torch.Generator]) -> Terms:
        """The objective on one batch, with fresh noise from the generators."""
        return self.criterion_(self.module_, *self._inputs(batch, generators), self._n_rows)

    def _inputs(
        self, batch: Cells, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Cells and mask on the device, and fresh noise: of each model, by its stream."""
        x = batch.x.to(self.device)
        mask = None if batch.mask is None else batch.mask.to(x.device, x.dtype)
        shape = self.criterion_.noise_rows(x.shape[-2]), self.n_components
        noise = [
            torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
            for generator in generators
        ]
        if not self.rates:
            return x, mask, noise[0]
        pick = self.stream_of_model_
        return x[pick], None if mask is None else mask[pick], torch.stack(noise)[pick]

    def write_out(self) -> None:
        """Look whether the step at hand can do without autograd."""
        plain, optimizer = self.module_ is self.plain_module, self.optimizer_
        self._written = None
        if CURRENT.get().size == 1 and plain and isinstance(optimizer, FlatAdam):
            self._written = WrittenOut.of(self.module_, self.criterion_, optimizer.gradients)

    def train_step(self, batch: Cells, **fit_params: Any) -> dict[str, Any]:
        """skorch's step, without the closure that only optimizers of another kind ask for."""
        if self._written is None:
            return super().train_step(batch, **fit_params)
        step = self.train_step_single(batch, **fit_params)
        if self._listeners("on_grad_computed"):
            learned = TeeGenerator(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=learned, batch=batch, training=True)
        self.optimizer_.step()
        return step

    def train_step_single(self, batch: Cells, **fit_params: Any) -> dict[str, Any]:
        """Terms and gradients on one batch."""
        if self._written is not None:
            inputs = self._inputs(batch, self._train_noise)
            terms = self._written.step(*inputs, self._n_rows)
            return {"loss": terms.loss, "y_pred": terms}
        terms = self.terms(batch, self._train_noise)
        # A model's loss does not touch another's parameters.
        (terms.loss.sum() if self.rates else terms.loss).backward()
        CURRENT.get().sum_gradients(self.module_.parameters(), self.criterion_.parameters())
        return {"loss": terms.loss, "y_pred": terms}

    def validation_step(self, batch: Cells, **fit_params: Any) -> dict[str, Any]:
        """Forward on one batch; the noise is the same in every epoch."""
        with torch.no_grad():
            terms = self.terms(batch, self._valid_noise)
        return {"loss": terms.loss, "y_pred": terms}

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """One pass over the batches; records the mean of every term, weighted by rows."""
        if iterator is None:
            return
        self._set_training(training)
        self._valid_noise = self._noise_generators()
        # An iterator of the user's own may draw from anything.
        rows = getattr(iterator, "dataset", None)
        self._n_rows = len(rows) if isinstance(rows, Rows) else None
        sizes, values, batch = [], [], None
        try:
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch, **fit_params)
                values.append(torch.stack([t.detach() for t in step["y_pred"] if t is not None]))
                sizes.append(self.criterion_.own_rows(batch.x.shape[-2]))
                if self.records_batches:
                    self.history.record_batch(f"{prefix}_loss", values[-1][0].mean().item())
                    self.history.record_batch(f"{prefix}_batch_size", sizes[-1])
                self.notify("on_batch_end", batch=batch, training=training, **step)
            if values:  # what stops a training stops it in all processes
                values = list(CURRENT.get().first_of(torch.stack(values)))
        finally:  # an epoch that a callback stops half-way counts as far as it went
            self._record(prefix, sizes, values)
        if training and batch is not None and self.plain_module.likelihood.has_closed_form:
            known = isinstance(rows, Rows)
            self._closed_form_update(evenly_spaced(rows, batch.x.shape) if known else batch)
        self._judge(prefix)

    def _record(self, prefix: str, sizes: Sequence[int], values: list[Tensor]) -> None:
        """Mean terms of the epoch, and the first batch's loss, of every model."""
        weights, names = torch.tensor(sizes, dtype=torch.float64), self.criterion_.term_names
        table = torch.zeros(1, len(names), len(self.members_), dtype=torch.float64)
        if values:
            table = torch.stack(values).cpu().double().view(len(values), len(names), -1)
        means = torch.einsum("b,btk->kt", weights, table[: len(sizes)]) / max(1, sum(sizes))
        for member, terms, first in zip(
            self.members_, means.tolist(), table[0, 0].tolist(), strict=True
        ):
            member.record(prefix, dict(zip(names, terms, strict=True)), len(sizes), first)

    def _judge(self, prefix: str) -> None:
        """Look for explosions, and for weights that the last step broke."""
        sound = [True] * len(self.members_)
        if prefix == "train":
            norms = [self._norms(parameter) for parameter in self.module_.parameters()]
            sound = (torch.stack(norms) < BROKEN).all(0).view(-1).tolist()
        for member, is_sound in zip(self.members_, sound, strict=True):
            member.judge(prefix, is_sound)
        first = self.members_[0]
        if not self.rates and first.error is not None:
            raise StopTraining if first.goes_back else first.error

    def _norms(self, parameter: Tensor) -> Tensor:
        return parameter.detach().flatten(1 if self.rates else 0).norm(dim=-1)

    def _closed_form_update(self, batch: Cells) -> None:
        """Let likelihoods set what they do not learn by gradient, for all but the training step."""
        self._set_training(False)
        x, mask, noise = self._inputs(batch, self._train_noise)
        with torch.no_grad():
            outputs = self.module_(x, mask, noise[..., : x.shape[-2], :]).outputs
            self.plain_module.likelihood.closed_form_update(x, outputs, mask)

    def weights_of(self, k: int) -> dict[str, Tensor]:
        """A copy of one model's weights by name, as `weights` gives those of a lone one."""
        learned = self._learned()
        own = {name for name, _ in learned.named_parameters()}
        return {
            name: (value[k] if self.rates and name in own else value).detach().clone()
            for name, value in learned.state_dict().items()
        }

    def keep_models(self, chosen: list[int]) -> None:
        """Go on with some models of the stack only."""
        thin_out(self.optimizer_, self._learned().parameters(), chosen)
        keep_models(self.criterion_, chosen)
        self.write_out()
        self.stream_of_model_ = self.stream_of_model_[chosen]
        self.members_ = [self.members_[k] for k in chosen]

    def partial_fit(self, X: Rows, y: Any = None, classes: Any = None, **kwargs: Any) -> Any:
        """skorch's own, which a callback may stop at any moment; a Ctrl-C sets interrupted_."""
        self._listening: dict[str, list[Any]] = {}
        with watch_ctrl_c() as self._ctrl_c:
            try:
                return super().partial_fit(X, y, classes, **kwargs)
            except KeyboardInterrupt as interrupt:  # as training begins or ends
                self.interrupted_ |= not isinstance(interrupt, StopTraining)
                return self

    def fit_loop(self, X: Rows, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Any:
        """skorch's loop; skorch ends it quietly at any KeyboardInterrupt."""
        self.write_out()
        epochs = self.epochs_left if epochs is None else epochs  # fewer, taken up half-way
        try:
            return super().fit_loop(X, y, epochs, **kwargs)
        except KeyboardInterrupt as interrupt:
            self.interrupted_ = not isinstance(interrupt, StopTraining)
            raise

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call every callback; one that stops training does not hide the moment from the others."""
        getattr(self, method_name)(self, **cb_kwargs)
        stop = None
        for callback in self._listeners(method_name):
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except KeyboardInterrupt as interrupt:
                if self._ctrl_c.pressed:
                    raise
                stop = interrupt
        if stop is not None:
            raise StopTraining from stop

    def _listeners(self, method_name: str) -> list[Any]:
        """The callbacks that do something then: most have nothing to do with each batch."""
        if method_name not in self._listening:
            idle = getattr(Callback, method_name)
            self._listening[method_name] = [
                callback
                for _, callback in self.callbacks_
                if getattr(type(callback), method_name, None) is not idle
            ]
        return self._listening[method_name]

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Open a record for the epoch and drop the last one's batches."""
        self.drop_batches()
        active = [member for member in self.members_ if not member.done]
        self.history_ = active[0].history
        for member in active:
            member.history.new_epoch()
            member.history.record("epoch", len(member.history))
        if self.records_batches:  # callbacks of the user's own may freeze a layer, say
            self.write_out()

    def drop_batches(self) -> None:
        """Forget the single batches of the last epoch."""
        if self.history:
            self.history[-1]["batches"].clear()

    def get_default_callbacks(self) -> list[Any]:
        """None: the estimator names every callback, the history needs no help."""
        return []


def evenly_spaced(rows: Rows, batch_shape: tuple[int, ...]) -> Cells:
    """All rows of a data set, or as many as `REFIT_ROWS` and the memory allow."""
    batch_size, n_columns = batch_shape[-2:]
    most = min(len(rows), REFIT_ROWS, max(batch_size, BLOCK_CELLS // n_columns))
    return rows.spread(most)


def _keep(batch: Cells) -> Cells:
    return batch


def detached_copy(tensors: dict[str, Any]) -> dict[str, Any]:
    """Copy of a flat dict of tensors, cut off from the originals."""
    return {
        key: value.detach().clone() if isinstance(value, Tensor) else value
        for key, value in tensors.items()
    }
