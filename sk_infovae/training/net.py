"""The skorch net that trains the model: skorch's loop, with whole batches and every term kept."""

import math
from contextlib import contextmanager
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor
from torch.utils.data import DataLoader

from sk_infovae.exceptions import TrainingDivergedError
from sk_infovae.module import VAE
from sk_infovae.objective import Terms
from sk_infovae.training.dataset import Batch, Rows, WholeBatches
from sk_infovae.training.interrupts import watch_ctrl_c

EXPLODED = 1e4
"""An epoch's mean loss this many times the first batch's counts as diverged."""


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
    """

    def __init__(self, *args: Any, n_components: int, seed: int, **kwargs: Any):
        self.n_components = n_components
        self.seed = seed
        super().__init__(*args, **kwargs)

    def initialize(self) -> "InfoVAENet":
        """Initialize as skorch does, and seed the generators."""
        super().initialize()
        self._shuffle = torch.Generator().manual_seed(self.seed)
        self._train_noise = torch.Generator(self.device).manual_seed(self.seed)
        self._valid_noise = torch.Generator(self.device)
        self.interrupted_ = False
        return self

    @property
    def plain_module(self) -> VAE:
        """The module itself, also where skorch wrapped it in ``torch.compile``."""
        return getattr(self.module_, "_orig_mod", self.module_)

    def get_iterator(self, dataset: Rows, training: bool = False) -> Any:
        """Loader of whole batches; ``iterator_train__*`` and ``iterator_valid__*`` reach it."""
        prefix = "iterator_train" if training else "iterator_valid"
        kwargs = self.get_params_for(prefix)
        iterator = getattr(self, prefix)
        if iterator is not DataLoader or {"sampler", "batch_sampler"} & set(kwargs):
            return super().get_iterator(dataset, training=training)
        batch_size = kwargs.pop("batch_size", self.batch_size)
        sampler = WholeBatches(
            len(dataset),
            len(dataset) if batch_size == -1 else batch_size,
            generator=self._shuffle if kwargs.pop("shuffle", training) else None,
            drop_last=kwargs.pop("drop_last", False),
        )
        kwargs.setdefault("collate_fn", _keep)
        return DataLoader(dataset, batch_sampler=sampler, **kwargs)

    def terms(self, batch: Batch, generator: torch.Generator) -> Terms:
        """The objective on one batch, with fresh noise from the generator."""
        x = batch.x.to(self.device)
        mask = None if batch.mask is None else batch.mask.to(x.device, x.dtype)
        noise = torch.randn(
            (len(x), self.n_components), generator=generator, device=x.device, dtype=x.dtype
        )
        return self.criterion_(self.module_, x, mask, noise)

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
        totals, n_rows, n_batches = [0.0] * len(Terms._fields), 0, 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            values = [term.item() for term in step["y_pred"]]
            self._check_finite(values[0], prefix)
            size = len(batch.x)
            self.history.record_batch(prefix + "_loss", values[0])
            self.history.record_batch(prefix + "_batch_size", size)
            self.notify("on_batch_end", batch=batch, training=training, **step)
            totals = [total + size * value for total, value in zip(totals, values, strict=True)]
            n_rows, n_batches = n_rows + size, n_batches + 1
        self.history.record(prefix + "_batch_count", n_batches)
        for name, total in zip(Terms._fields, totals, strict=True):
            self.history.record(f"{prefix}_{name}", total / n_rows)
        loss = totals[0] / n_rows
        self._check_finite(loss if abs(loss) < self._loss_limit else math.inf, prefix)
        # skorch's Checkpoint and others ask which epochs were the best so far.
        self.history.record(f"{prefix}_loss_best", loss < self._best.get(prefix, math.inf))
        self._best[prefix] = min(loss, self._best.get(prefix, math.inf))

    def _check_finite(self, loss: float, prefix: str) -> None:
        if self._loss_limit is None:
            self._loss_limit = EXPLODED * (1 + abs(loss))
        if math.isfinite(loss):
            return
        epoch = len(self.history)
        raise TrainingDivergedError(
            f"Training diverged in epoch {epoch}: the {prefix} loss became NaN, infinite or "
            f"{EXPLODED:g} times as large as at the start (lr={self.lr:g}, "
            f"batch_size={self.batch_size}, lambd={self.criterion_.lambd:g}). Lower lr; clip "
            'gradients with net_params={"callbacks": [skorch.callbacks.GradientNormClipping('
            "gradient_clip_value=1)]}; lower lambd; look for extreme values in X; or check an "
            "encoder or decoder of your own."
        )

    def fit_loop(self, X: Rows, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Any:
        """skorch's loop; tells a Ctrl-C from a callback that stops training."""
        self._loss_limit: Any = None
        self._best: dict[str, float] = {}
        self._stopped_by_callback = False
        with watch_ctrl_c() as ctrl_c:
            try:
                return super().fit_loop(X, y, epochs, **kwargs)
            except KeyboardInterrupt:
                self.interrupted_ = ctrl_c.pressed or not self._stopped_by_callback
                raise

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call every callback; remember that a KeyboardInterrupt came from one."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            self._stopped_by_callback = True
            raise

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Open a record for the epoch and drop the last one's batches."""
        self._drop_batches()
        super().on_epoch_begin(net, **kwargs)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Drop the last epoch's batches."""
        self._drop_batches()

    def _drop_batches(self) -> None:
        if self.history:
            self.history[-1]["batches"].clear()

    def get_default_callbacks(self) -> list[Any]:
        """None: the estimator names every callback, the history needs no help."""
        return []


def _keep(batch: Batch) -> Batch:
    return batch


@contextmanager
def private_rng(seed: int, device: str):
    """Seed torch's global generators inside, and put them back as they were.

    Initialisation of the networks and dropout draw from them.
    """
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
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


def tidy_history(history: Any) -> list[dict[str, float]]:
    """Epoch number and every term, train terms by their own names, ``valid_`` ones as they are."""
    return [
        {"epoch": number}
        | {name: epoch[f"train_{name}"] for name in Terms._fields}
        | {
            f"valid_{name}": epoch[f"valid_{name}"]
            for name in Terms._fields
            if f"valid_{name}" in epoch
        }
        for number, epoch in enumerate(history, start=1)
    ]
