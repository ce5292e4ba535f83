"""How to train: the estimator's parameters about training, read once and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Number
from typing import Any, Self

import torch
from sklearn.base import clone
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import Tensor

from sk_infovae._model.objective import InfoVAELoss, check_weights
from sk_infovae._model.vae import VAE
from sk_infovae._training.clipping import ModelwiseClipping
from sk_infovae._training.flat_adam import FLAT_OPTIONS, FlatAdam
from sk_infovae._training.hooks import cosine_schedule
from sk_infovae._training.net import InfoVAENet
from sk_infovae.divergences import DIVERGENCES, Divergence

OWN_KEYS = {
    "alpha", "batch_size", "criterion", "dataset", "device", "lambd", "lr", "max_epochs",
    "module", "n_components", "seeds", "rates", "earlier", "records_batches", "train_split",
    "verbose", "warm_start",
}  # fmt: skip
"""skorch arguments that the estimator's own parameters set."""

ELEMENTWISE = (
    torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.NAdam,
    torch.optim.RAdam, torch.optim.Adamax, torch.optim.Adagrad, torch.optim.Adadelta,
)  # fmt: skip
"""Optimizers that treat each number by itself, and so each model of a stack."""

EPOCHS, ROWS_SEEN = (10, 100), 2_000_000
"""Of max_epochs="auto": fewest and most, and how many rows they see in between."""


@dataclass(frozen=True)
class TrainingPlan:
    """How to train, from the estimator's parameters and what the call asks for.

    Attributes
    ----------
    alpha, lambd, divergence
        The objective; the divergence an instance of the plan's own.
    lr, batch_size, device, verbose, net_params, tol, neighbor_weight, n_neighbors
        As in `InfoVAETransformer`; device resolved.
    max_epochs : int
        Passes over the rows; "auto" until `for_rows`.
    patience : int or None
        Epochs without a better validation loss before training stops; None never stops.
    validation_fraction : float
        Part of the rows that is held out; 0 for none.
    anneal : bool
        Whether the learning rate follows half a cosine to 0 over the epochs.
    """

    alpha: float
    lambd: float
    divergence: Divergence
    lr: float
    batch_size: int
    device: str
    verbose: int
    net_params: Mapping[str, Any]
    max_epochs: Any
    patience: int | None
    tol: float
    validation_fraction: float
    anneal: bool
    neighbor_weight: float
    n_neighbors: int

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *, one_pass: bool = False) -> Self:
        """Read the plan off the estimator's parameters; ``one_pass`` is partial_fit's.

        Raises
        ------
        ValueError
            For weights outside their region, keys of net_params that double a parameter, and a
            device that this machine does not have.
        """
        check_weights(params["alpha"], params["lambd"])
        check_net_params(params["net_params"] or {})
        divergence, stops = params["divergence"], params["early_stopping"]
        if isinstance(divergence, str):
            divergence = DIVERGENCES[divergence]()
        return cls(
            alpha=float(params["alpha"]),
            lambd=float(params["lambd"]),
            divergence=clone(divergence),
            lr=float(params["lr"]),
            batch_size=params["batch_size"],
            device=resolve_device(params["device"]),
            verbose=int(params["verbose"]),
            net_params={
                key: clone(v, safe=False) for key, v in (params["net_params"] or {}).items()
            },
            max_epochs=1 if one_pass else params["max_epochs"],
            patience=params["n_iter_no_change"] if stops else None,
            tol=float(params["tol"]),
            validation_fraction=params["validation_fraction"] if stops and not one_pass else 0.0,
            anneal=not one_pass,
            neighbor_weight=float(params["neighbor_weight"]),
            n_neighbors=params["n_neighbors"],
        )

    def for_rows(self, n_rows: int) -> Self:
        """The plan for so many training rows: a number for max_epochs="auto"."""
        if self.max_epochs != "auto":
            return self
        fewest, most = EPOCHS
        return replace(self, max_epochs=max(fewest, min(most, ROWS_SEEN // n_rows)))

    @property
    def is_custom(self) -> bool:
        """Whether the divergence is the user's own."""
        return type(self.divergence) not in DIVERGENCES.values()

    @property
    def can_stack(self) -> bool:
        """Whether other models can train in the same step: all but callbacks, loaders and such."""
        optimizer = self.net_params.get("optimizer", torch.optim.Adam)
        settings = {k: v for k, v in self.net_params.items() if k not in ("optimizer", "callbacks")}
        return (
            not self.is_custom
            and optimizer in ELEMENTWISE
            and all(k.startswith("optimizer__") and is_plain(v) for k, v in settings.items())
            and all(map(can_clip, self.callbacks))
        )

    @property
    def has_flat_adam(self) -> bool:
        """Whether the optimizer is the default one, with settings that it knows."""
        settings = {key for key in self.net_params if key.startswith("optimizer")}
        return settings <= {f"optimizer__{name}" for name in FLAT_OPTIONS}

    @property
    def callbacks(self) -> list[Any]:
        """Those of net_params."""
        return callbacks_of(self.net_params)

    @property
    def comparable(self) -> "TrainingPlan":
        """The plan in a form that equals every other that trains alike, on whatever device."""
        callbacks = [vars(one) if can_clip(one) else one for one in self.callbacks]
        net_params = {**self.net_params, "callbacks": callbacks}
        return replace(self, verbose=0, device="", net_params=net_params)

    @property
    def shared(self) -> "TrainingPlan":
        """What the plans of a stack have in common; all else is each model's own."""
        numbers = dict.fromkeys(self.divergence.stackable_values(), ...)
        return replace(
            self.comparable,
            device=self.device,
            alpha=0.0,
            lambd=0.0,
            divergence=self.divergence.replaced(numbers),
            # A rate of a model's own is the default optimizer's art.
            lr=0.0 if self.has_flat_adam else self.lr,
            patience=None,
            tol=0.0,
            validation_fraction=0.0,
            neighbor_weight=float(self.neighbor_weight > 0),
            n_neighbors=0,
        )

    def make_loss(
        self, n_components: int, seed: int, learned: Mapping[str, Tensor] | None = None
    ) -> InfoVAELoss:
        """A new loss, with what the divergence has learned or, by the seed, where that begins."""
        parameters = learned
        if parameters is None:
            generator = torch.Generator().manual_seed(seed)
            parameters = self.divergence.init_parameters(n_components, generator)
        return InfoVAELoss(
            self.alpha, self.lambd, self.divergence, parameters, self.neighbor_weight
        )

    def make_net(self, module: VAE, loss: InfoVAELoss, n_components: int, **own: Any) -> InfoVAENet:
        """Compose and initialize the net around module and loss, which may be stacks.

        Callbacks run in the order schedule, those of net_params, our own. What net_params holds is
        cloned, never changed.
        """
        given = {key: clone(value, safe=False) for key, value in self.net_params.items()}
        given.pop("callbacks", None)
        extra, hooks = clone(self.callbacks, safe=False), own.pop("hooks", [])
        if len(own.get("rates", ())) > 1:
            extra = [ModelwiseClipping(**one.get_params()) for one in extra]
        schedule = []
        if self.anneal and not any(_is_schedule(callback) for callback in extra):
            schedule = [("lr_schedule", cosine_schedule(self.max_epochs))]
        if "optimizer" not in given:
            default = FlatAdam if self.has_flat_adam else torch.optim.Adam
            given = {"optimizer": default, **given}
        net = InfoVAENet(
            module=module,
            criterion=loss,
            n_components=n_components,
            lr=self.lr,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            device=self.device,
            verbose=self.verbose,
            train_split=None,
            callbacks=[*schedule, *extra, *hooks],
            records_batches=bool(extra),
            **own,
            **given,
        )
        return net.initialize()


def callbacks_of(net_params: Mapping[str, Any]) -> list[Any]:
    """The callbacks among skorch's arguments."""
    given = net_params.get("callbacks") or []
    return [] if given == "disable" else list(given)


def can_clip(callback: Any) -> bool:
    """Whether a callback only clips gradients, which a stack can do for each model."""
    return type(callback) is GradientNormClipping


def is_plain(value: Any) -> bool:
    """A number, a name, or a tuple of such: what compares by value."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, Number | str)


def _is_schedule(callback: Any) -> bool:
    callback = callback[1] if isinstance(callback, tuple) else callback
    return isinstance(callback, LRScheduler) or callback is LRScheduler


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
