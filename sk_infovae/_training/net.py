"""The skorch net that trains the model: skorch's loop, with whole batches and every term kept."""

import math
import threading
from contextlib import contextmanager
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sk_infovae._model.objective import Terms
from sk_infovae._model.vae import VAE
from sk_infovae._table.standardizer import BLOCK_CELLS
from sk_infovae._training.interrupts import CtrlC, watch_ctrl_c
from sk_infovae._training.rows import Batch, Rows, WholeBatches, WholeBatchLoader
from sk_infovae.exceptions import TrainingDivergedError

EXPLODED = 1e4
"""An epoch's mean loss this many times the first batch's counts as diverged."""

REFIT_ROWS = 4096
"""Training rows on which a likelihood sets parameters as an epoch ends."""

BROKEN = 1e10
"""Weights of this norm are no model of standardised columns."""


class StopTraining(KeyboardInterrupt):
    """A callback asked to stop: no Ctrl-C, but skorch's loop ends in the same way."""


class InfoVAENet(NeuralNet):
    """`skorch.NeuralNet` on the InfoVAE objective.

    It differs from its parent in what a batch is (`Batch`: cells and mask), in the noise (drawn
    here from generators of its own, and handed to the module), and in the history: the epoch
    means of every term stand there as ``train_loss``, ``train_reconstruction``, ``train_kl`` and
    ``train_divergence``, with ``valid_`` likewise; the records of single batches go when the
    next epoch begins.

    Parameters
    ----------
    n_components : int
        Latent dimension, the width of the noise.
    seed : int
        Seeds the shuffling and the noise.
    earlier : list of dict
        Epochs of the fits that this one goes on from. They stand apart while it trains, where
        skorch's schedules and others count the epochs of one fit.
    """

    def __init__(self, *args: Any, n_components: int, seed: int, earlier: list[Any], **kwargs: Any):
        self.n_components = n_components
        self.seed = seed
        self.earlier = earlier
        super().__init__(*args, **kwargs)

    def epochs(self) -> list[dict[str, Any]]:
        """Every epoch that saw a row, those of earlier fits first."""
        begun = [*self.earlier, *(self.history or [])]
        trained = [epoch for epoch in begun if epoch.get("train_batch_count")]
        return [{**epoch, "epoch": number} for number, epoch in enumerate(trained, start=1)]

    def initialize(self) -> "InfoVAENet":
        """Initialize as skorch does, and seed the generators."""
        super().initialize()
        self._shuffle = torch.Generator().manual_seed(self.seed)
        self._train_noise = torch.Generator(self.device).manual_seed(self.seed)
        self._valid_noise = torch.Generator(self.device)
        self._ctrl_c = CtrlC()
        self.interrupted_ = False
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
        if not (isinstance(loader, type) and issubclass(loader, DataLoader)):
            return loader(dataset, batch_size=batch_size, **kwargs)
        if "sampler" in kwargs:
            kwargs["batch_size"] = batch_size
        elif "batch_sampler" not in kwargs:
            kwargs["batch_sampler"] = WholeBatches(
                len(dataset),
                batch_size,
                generator=self._shuffle if kwargs.pop("shuffle", training) else None,
                drop_last=kwargs.pop("drop_last", False),
            )
        # A generator of our own: DataLoader would draw its workers' seeds from the global one.
        workers = torch.Generator().manual_seed(self.seed)
        loader = WholeBatchLoader if loader is DataLoader else loader
        return loader(dataset, **{"collate_fn": _keep, "generator": workers, **kwargs})

    def terms(self, batch: Batch, generator: torch.Generator) -> Terms:
        """The objective on one batch, with fresh noise from the generator."""
        return self.criterion_(self.module_, *self._inputs(batch, generator), self._n_rows)

    def _inputs(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Cells and mask on the device, and fresh noise from the generator."""
        x = batch.x.to(self.device)
        mask = None if batch.mask is None else batch.mask.to(x.device, x.dtype)
        shape = self.criterion_.noise_rows(len(x)), self.n_components
        noise = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        return x, mask, noise

    def train_step_single(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """Forward and backward on one batch."""
        terms = self.terms(batch, self._train_noise)
        terms.loss.backward()
        return {"loss": terms.loss, "y_pred": terms}

    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
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
        self._valid_noise.manual_seed(self.seed)
        # An iterator of the user's own may draw from anything.
        rows = getattr(iterator, "dataset", None)
        self._n_rows = len(rows) if isinstance(rows, Rows) else None
        totals, n_rows, n_batches = [0.0] * len(Terms._fields), 0, 0
        try:
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch, **fit_params)
                values = [term.item() for term in step["y_pred"]]
                self._check_loss(values[0], prefix)
                size = len(batch.x)
                totals = [total + size * v for total, v in zip(totals, values, strict=True)]
                n_rows, n_batches = n_rows + size, n_batches + 1
                self.history.record_batch(prefix + "_loss", values[0])
                self.history.record_batch(prefix + "_batch_size", size)
                self.notify("on_batch_end", batch=batch, training=training, **step)
        finally:  # an epoch that a callback stops half-way counts as far as it went
            self.history.record(prefix + "_batch_count", n_batches)
            for name, total in zip(Terms._fields, totals, strict=True):
                self.history.record(f"{prefix}_{name}", total / max(n_rows, 1))
        if training and self.plain_module.likelihood.has_closed_form:
            self._refit(evenly_spaced(rows, batch.x.shape) if isinstance(rows, Rows) else batch)
        self._check_epoch(totals[0] / n_rows, prefix)

    def _refit(self, batch: Batch) -> None:
        """Let likelihoods set what they do not learn by gradient, for all but the training step."""
        self._set_training(False)
        x, mask, noise = self._inputs(batch, self._train_noise)
        with torch.no_grad():
            outputs = self.module_(x, mask, noise[: len(x)]).outputs
            self.plain_module.likelihood.closed_form_update(x, outputs, mask)

    def _check_epoch(self, loss: float, prefix: str) -> None:
        """Look for an explosion, and for weights that the last step broke; mark the best epoch.

        A validation loss may be as large as it likes: a row far outside is no fault of training.
        """
        weights = torch.stack([p.detach().norm() for p in self.module_.parameters()])
        exploded = prefix == "train" and abs(loss) > self._loss_limit
        sound = bool((weights < BROKEN).all()) and not exploded
        self._check_loss(loss if sound else math.inf, prefix)
        # skorch's Checkpoint and others ask which epochs were the best so far.
        self.history.record(f"{prefix}_loss_best", loss < self._best.get(prefix, math.inf))
        self._best[prefix] = min(loss, self._best.get(prefix, math.inf))

    def _check_loss(self, loss: float, prefix: str) -> None:
        if self._loss_limit is None:
            self._loss_limit = EXPLODED * (1 + abs(loss))
        if math.isfinite(loss):
            return
        raise diverged(len(self.history), prefix, self.lr, self.batch_size, self.criterion_.lambd)

    def partial_fit(self, X: Rows, y: Any = None, classes: Any = None, **kwargs: Any) -> Any:
        """skorch's own, which a callback may stop at any moment; a Ctrl-C sets interrupted_."""
        with watch_ctrl_c() as self._ctrl_c:
            try:
                return super().partial_fit(X, y, classes, **kwargs)
            except KeyboardInterrupt as interrupt:  # as training begins or ends
                self.interrupted_ |= not isinstance(interrupt, StopTraining)
                return self

    def fit_loop(self, X: Rows, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Any:
        """skorch's loop; skorch ends it quietly at any KeyboardInterrupt."""
        self._loss_limit: Any = None
        self._best: dict[str, float] = {}
        try:
            return super().fit_loop(X, y, epochs, **kwargs)
        except KeyboardInterrupt as interrupt:
            self.interrupted_ = not isinstance(interrupt, StopTraining)
            raise

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call every callback; one that stops training does not hide the moment from the others."""
        getattr(self, method_name)(self, **cb_kwargs)
        stop = None
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except KeyboardInterrupt as interrupt:
                if self._ctrl_c.pressed:
                    raise
                stop = interrupt
        if stop is not None:
            raise StopTraining from stop

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Open a record for the epoch and drop the last one's batches."""
        self.drop_batches()
        super().on_epoch_begin(net, **kwargs)

    def drop_batches(self) -> None:
        """Forget the single batches of the last epoch."""
        if self.history:
            self.history[-1]["batches"].clear()

    def get_default_callbacks(self) -> list[Any]:
        """None: the estimator names every callback, the history needs no help."""
        return []


def diverged(
    epoch: int, prefix: str, lr: float, batch_size: int, lambd: float
) -> TrainingDivergedError:
    """The error of a training that went astray."""
    return TrainingDivergedError(
        f"Training diverged in epoch {epoch}: the {prefix} loss became NaN, infinite or "
        f"{EXPLODED:g} times as large as at the start (lr={lr:g}, batch_size={batch_size}, "
        f'lambd={lambd:g}). Lower lr; clip gradients with net_params={{"callbacks": '
        "[skorch.callbacks.GradientNormClipping(gradient_clip_value=1)]}; lower lambd; look for "
        "extreme values in X; or check an encoder or decoder of your own."
    )


def evenly_spaced(rows: Rows, batch_shape: tuple[int, ...]) -> Batch:
    """All rows of a data set, or as many as `REFIT_ROWS` and the memory allow."""
    batch_size, n_columns = batch_shape
    most = min(len(rows), REFIT_ROWS, max(batch_size, BLOCK_CELLS // n_columns))
    return rows.__getitems__(spread(len(rows), most))


def spread(n_rows: int, most: int) -> Tensor:
    """Positions of at most so many rows, evenly spaced."""
    return torch.linspace(0, n_rows - 1, min(n_rows, most), dtype=torch.float64).long()


def _keep(batch: Batch) -> Batch:
    return batch


ONE_AT_A_TIME = threading.RLock()


@contextmanager
def private_rng(seed: int, device: str):
    """Seed torch's global generators inside, and put them back as they were.

    Initialisation of the networks and dropout draw from them. Threads take turns, or each would
    draw from the other's seed.
    """
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with ONE_AT_A_TIME, torch.random.fork_rng(devices=devices):
        # torch.manual_seed would walk the stack for each kind of device that is not there.
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield


def detached_copy(tensors: dict[str, Any]) -> dict[str, Any]:
    """Copy of a flat dict of tensors, cut off from the originals."""
    return {
        key: value.detach().clone() if isinstance(value, Tensor) else value
        for key, value in tensors.items()
    }


def tidy_history(epochs: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Epoch number and every term, train terms by their own names, ``valid_`` ones as they are."""
    return [
        {"epoch": epoch["epoch"]}
        | {name: epoch[f"train_{name}"] for name in Terms._fields}
        | {
            f"valid_{name}": epoch[f"valid_{name}"]
            for name in Terms._fields
            if f"valid_{name}" in epoch
        }
        for epoch in epochs
    ]
