"""Put a skorch net around a module and train it."""

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.base import clone
from skorch.callbacks import LRScheduler
from skorch.helper import predefined_split
from skorch.history import History

from sk_infovae._model.domain import check_values
from sk_infovae._model.layout import TableLayout
from sk_infovae._model.objective import InfoVAELoss
from sk_infovae._model.vae import VAE
from sk_infovae._training.hooks import (
    BestEpoch,
    LastEpoch,
    ProgressLine,
    SklearnCallbacks,
    cosine_schedule,
    load_optimizer_state,
    optimizer_state,
)
from sk_infovae._training.net import InfoVAENet, private_rng, spread
from sk_infovae._training.rows import Rows, hold_out, make_rows
from sk_infovae.divergences import DIVERGENCES, Divergence

OWN_KEYS = {
    "alpha", "batch_size", "criterion", "dataset", "device", "lambd", "lr", "max_epochs",
    "module", "n_components", "seed", "train_split", "verbose", "warm_start",
}  # fmt: skip
"""skorch arguments that the estimator's own parameters set."""


START_ROWS = 100_000
"""Rows, evenly spaced, on which is measured where training starts."""


class LossFactory:
    """Makes the criterion; a class, so that it survives pickling."""

    def __init__(self, alpha: float, lambd: float, divergence: Divergence, n_components: int):
        self.weights = (alpha, lambd)
        self.divergence = divergence
        self.n_components = n_components

    @property
    def description(self) -> dict[str, Any]:
        """The estimator's parameters that make this loss."""
        alpha, lambd = self.weights
        return {
            "alpha": alpha,
            "lambd": lambd,
            "divergence": self.divergence,
            "n_components": self.n_components,
        }

    @property
    def is_custom(self) -> bool:
        """Whether the divergence is the user's own."""
        return type(self.divergence) not in DIVERGENCES.values()

    def __call__(self, seed: int) -> InfoVAELoss:
        """Return a new loss; the seed is for what the divergence itself learns."""
        generator = torch.Generator().manual_seed(seed)
        parameters = self.divergence.init_parameters(self.n_components, generator)
        return InfoVAELoss(*self.weights, self.divergence, parameters)


@dataclass(frozen=True)
class TrainingPlan:
    """How to train, from the estimator's parameters and what the call asks for.

    Attributes
    ----------
    loss : LossFactory
        Makes the criterion.
    n_components, lr, batch_size, device, verbose, net_params
        As in `InfoVAETransformer`; device resolved.
    max_epochs : int
        Passes over the rows.
    patience : int or None
        Epochs without a better validation loss before training stops; None never stops.
    tol : float
        What counts as better, in nats.
    anneal : bool
        Whether the learning rate follows half a cosine to 0 over the epochs.
    """

    loss: LossFactory
    n_components: int
    lr: float
    batch_size: int
    device: str
    verbose: int
    net_params: Mapping[str, Any]
    max_epochs: int
    patience: int | None
    tol: float
    anneal: bool

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *, one_pass: bool = False) -> "TrainingPlan":
        """Read the plan off the estimator's parameters; ``one_pass`` is partial_fit's."""
        divergence = params["divergence"]
        if isinstance(divergence, str):
            divergence = DIVERGENCES[divergence]()
        return cls(
            loss=LossFactory(
                params["alpha"], params["lambd"], clone(divergence), params["n_components"]
            ),
            n_components=params["n_components"],
            lr=params["lr"],
            batch_size=params["batch_size"],
            device=resolve_device(params["device"]),
            verbose=int(params["verbose"]),
            net_params=params["net_params"] or {},
            max_epochs=1 if one_pass else params["max_epochs"],
            patience=params["n_iter_no_change"] if params["early_stopping"] else None,
            tol=params["tol"],
            anneal=not one_pass,
        )

    def make_net(self, module: VAE, seed: int, own: list[Any] | None = None) -> InfoVAENet:
        """Compose and initialize the net around the module.

        Callbacks run in the order schedule, those of net_params, our own. What net_params holds is
        cloned, never changed.
        """
        given = {key: clone(value, safe=False) for key, value in self.net_params.items()}
        extra = given.pop("callbacks", None) or []
        extra = [] if extra == "disable" else extra
        schedule = []
        if self.anneal and not any(_is_schedule(callback) for callback in extra):
            schedule = [("lr_schedule", cosine_schedule(self.max_epochs))]
        if "optimizer" not in given:
            given = {"optimizer": torch.optim.Adam, "optimizer__fused": True, **given}
        net = InfoVAENet(
            module=module,
            criterion=self.loss,
            criterion__seed=seed,
            n_components=self.n_components,
            seed=seed,
            earlier=[],
            lr=self.lr,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            device=self.device,
            verbose=self.verbose,
            train_split=None,
            callbacks=[*schedule, *extra, *(own or [])],
            **given,
        )
        return net.initialize()

    def train(
        self,
        module: VAE,
        seed: int,
        rows: Rows,
        valid: Rows | None,
        previous: InfoVAENet | None = None,
        watcher: SklearnCallbacks | None = None,
    ) -> InfoVAENet:
        """Train the module on the rows and return its net.

        ``previous`` lends its history and the state of its optimizer. After a Ctrl-C the net
        stands where the last finished epoch left it, and ``net.interrupted_`` is True.
        """
        last_epoch = LastEpoch()
        own: list[Any] = [("last_epoch", last_epoch)]
        if valid is not None and self.patience is not None:
            own.append(("best_epoch", BestEpoch(last_epoch, self.patience, self.tol)))
        if watcher is not None:
            own.append(("sklearn_callbacks", watcher))
        if self.verbose:
            own.append(("progress_line", ProgressLine()))
        net = self.make_net(module, seed, own)
        if previous is not None:
            net.earlier = previous.epochs()
            net.load_weights(previous.weights())
            if type(previous.optimizer_) is type(net.optimizer_):
                load_optimizer_state(net, optimizer_state(previous))
        net.train_split = None if valid is None else predefined_split(valid)
        net.partial_fit(rows)
        if net.interrupted_:
            last_epoch.restore(net)
        net.drop_batches()
        net.history_, net.earlier = History(net.epochs()), []
        # These hold rows, or copies of the weights.
        net.train_split, net.callbacks = None, []
        net.callbacks_ = [pair for pair in net.callbacks_ if pair not in own]
        net._set_training(False)
        return net


def _is_schedule(callback: Any) -> bool:
    callback = callback[1] if isinstance(callback, tuple) else callback
    return isinstance(callback, LRScheduler) or callback is LRScheduler


@dataclass(frozen=True, eq=False)
class Training:
    """All that one fit needs, ready to start: alone by `run`, or with others in a stack.

    Attributes
    ----------
    plan : TrainingPlan
    module : VAE
        Freshly drawn, or a copy of a trained one.
    seed : int
        Of shuffling and noise.
    rows, valid : Rows
        Training and validation rows (or None).
    draws_globally : bool
        Whether a part of the user's own may draw from torch's global generators, dropout say.
    """

    plan: TrainingPlan
    module: VAE
    seed: int
    rows: Rows
    valid: Rows | None
    draws_globally: bool

    def run(
        self, previous: InfoVAENet | None = None, watcher: SklearnCallbacks | None = None
    ) -> InfoVAENet:
        """Train the module; ``previous`` and ``watcher`` as in `TrainingPlan.train`."""
        with private_rng(self.seed, self.plan.device) if self.draws_globally else nullcontext():
            return self.plan.train(self.module, self.seed, self.rows, self.valid, previous, watcher)


def encode_rows(layout: TableLayout, table: Any) -> Rows:
    """Rows of a validated ndarray or CSR matrix in the model's units, their values checked."""
    likelihoods = layout.architecture.likelihoods
    check_values(table, likelihoods, layout.schema.names)
    return make_rows(table, layout.standardizer)


def prepare_training(
    layout: TableLayout,
    params: Mapping[str, Any],
    rows: Rows,
    valid: Rows | None,
    previous: InfoVAENet | None = None,
    *,
    one_pass: bool = False,
) -> Training:
    """Hold out rows, build or copy the module, and say how to train it.

    Parameters
    ----------
    layout : TableLayout
    params : mapping
        The estimator's parameters.
    rows, valid : Rows
        Without valid, a part of rows is held out where params ask for it.
    previous : InfoVAENet or None
        A net to go on from; it is copied, so that a failure leaves it alone.
    one_pass : bool
        partial_fit: one epoch, nothing held out, constant learning rate.
    """
    if valid is None and params["early_stopping"] and not one_pass:
        rows, valid = hold_out(rows, params["validation_fraction"], layout.seed_for("split"))
    if previous is None:
        n_epochs = 0
        with private_rng(layout.seed_for("weights"), "cpu"):
            module = layout.architecture.build()
        if module.is_measured:
            some = rows.__getitems__(spread(len(rows), START_ROWS))
            module.init_from_data(some.x, some.mask)
    else:
        n_epochs = len(previous.history)
        module = copy.deepcopy(previous.plain_module)
    plan = TrainingPlan.from_params(params, one_pass=one_pass)
    custom = layout.architecture.is_custom or plan.loss.is_custom
    return Training(plan, module, layout.seed_for("train", n_epochs), rows, valid, custom)


def check_net_params(net_params: Mapping[str, Any]) -> None:
    """Refuse keys that double a parameter of the estimator.

    Raises
    ------
    ValueError
        Naming the keys and the mend.
    """
    doubled = sorted(key for key in net_params if key.split("__")[0] in OWN_KEYS)
    if doubled:
        raise ValueError(
            f"net_params must not hold {doubled}: the estimator sets them itself. Use its own "
            "parameters (lr, batch_size, max_epochs, device, verbose, warm_start; "
            "early_stopping, validation_fraction and X_val for the split; encoder, decoder, "
            "alpha, lambd and divergence for module and criterion)."
        )


def resolve_device(device: str | torch.device) -> str:
    """Name of the device; "auto" is "cuda" where there is one and "cpu" elsewhere.

    Raises
    ------
    ValueError
        For a device that torch does not know or that this machine does not have.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be 'auto' or a torch device that is present, got {device!r}: {error}"
        ) from error
    return str(device)
