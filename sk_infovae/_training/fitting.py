"""From an estimator's parameters and a table to what a fit leaves: values in, a value out.

Nothing here writes to an estimator; it takes over a `Fitted` in one step, or stays as it was.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import joblib

from sk_infovae._base.seeds import draw_seed
from sk_infovae._base.threads import mind_a_fork
from sk_infovae._inference.calibration import calibrate
from sk_infovae._inference.components import Components, measure_components
from sk_infovae._inference.table_model import TableModel
from sk_infovae._model.architecture import NetworkSpec
from sk_infovae._model.cells import Cells
from sk_infovae._model.domain import check_values
from sk_infovae._model.layout import ColumnSpec, TableLayout
from sk_infovae._table.reading import finite, read_first, read_table
from sk_infovae._training.ahead import Ahead, TrainedAhead
from sk_infovae._training.history import tidy_history
from sk_infovae._training.hooks import SklearnCallbacks
from sk_infovae._training.loop import train_alone
from sk_infovae._training.net import InfoVAENet
from sk_infovae._training.ordering import reorder
from sk_infovae._training.plan import TrainingPlan
from sk_infovae._training.rows import Rows, make_rows
from sk_infovae._training.state import net_state, rebuild_net
from sk_infovae._training.taking_up import key_of, open_memory
from sk_infovae._training.training import Training, prepare_training
from sk_infovae.exceptions import PosteriorCollapseWarning

CALIBRATION_CELLS, CALIBRATION_ROWS = 2**21, (32, 1024)
"""What is measured after training is on so many slopes of outputs by codes; least, most rows."""

CALIBRATION_PRIOR = 256
"""Training rows beside held-out ones, of which they only are the prior."""


@dataclass(frozen=True)
class Spec:
    """All that the estimator's parameters ask for, read once and checked.

    Attributes
    ----------
    columns : ColumnSpec
    networks : NetworkSpec
    plan : TrainingPlan
    random_state : int, RandomState or None
    one_pass : bool
        partial_fit: one epoch over rows that may be a single one, nothing held out.
    """

    columns: ColumnSpec
    networks: NetworkSpec
    plan: TrainingPlan
    random_state: Any
    one_pass: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *, one_pass: bool = False) -> Self:
        """Read the parameters of `InfoVAETransformer`; refuse those that only fit can judge."""
        plan = TrainingPlan.from_params(params, one_pass=one_pass)
        columns = ColumnSpec(**{field.name: params[field.name] for field in fields(ColumnSpec)})
        networks = NetworkSpec(**{field.name: params[field.name] for field in fields(NetworkSpec)})
        return cls(columns, networks, plan, params["random_state"], one_pass)

    @property
    def min_rows(self) -> int:
        """Rows that a fit needs."""
        return 1 if self.one_pass else 2


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit leaves.

    Attributes
    ----------
    layout : TableLayout
    plan : TrainingPlan
        The one that trained.
    net : InfoVAENet
    names : dict
        What scikit-learn keeps of the columns: ``n_features_in_``, ``feature_names_in_``.
    components : Components or None
        What each dimension does to the columns; None for what is known already.
    warnings : tuple of Warning
        Of what the user should know: a training that went back, a code that is dead somewhere.
    """

    layout: TableLayout
    plan: TrainingPlan
    net: InfoVAENet
    names: Mapping[str, Any]
    components: Components | None = None
    warnings: tuple[Warning, ...] = ()

    @property
    def attributes(self) -> dict[str, Any]:
        """The estimator's fitted attributes by name."""
        history = tidy_history(self.net.epochs())
        model = TableModel(self.layout, self.net.plain_module, self.net.device)
        return {
            **self.names,
            "_layout": self.layout,
            "_plan": self.plan,
            "net_": self.net,
            "module_": model.module,
            "history_": history,
            "n_iter_": len(history),
            "noise_variance_": model.noise_variance(),
            **self._of_components(),
        }

    def _of_components(self) -> dict[str, Any]:
        if self.components is None:
            return {}
        explained, loadings = (part.numpy() for part in self.components)
        spread = self.layout.schema.spread(loadings)
        return {"explained_variance_ratio_": explained, "loadings_": spread}


FITTED = (
    "n_features_in_", "feature_names_in_", "_layout", "_plan", "net_", "module_", "history_",
    "n_iter_", "noise_variance_", "explained_variance_ratio_", "loadings_",
)  # fmt: skip
"""All names that `Fitted.attributes` may have."""


def fit_table(
    estimator: Any,
    X: Any,
    X_val: Any = None,
    *,
    resume: bool = False,
    one_pass: bool = False,
    watched: tuple[Any, dict[str, Any]] | None = None,
    ahead: TrainedAhead | None = None,
) -> Fitted:
    """What an estimator learns from a table.

    Parameters
    ----------
    estimator : InfoVAETransformer
    X, X_val : array-like, CSR matrix or DataFrame
        As the user gave them; X_val to validate on, or None.
    resume : bool
        Whether to go on from an earlier fit where there is one.
    one_pass : bool
        partial_fit: one epoch, nothing held out.
    watched : tuple or None
        Context of scikit-learn's callbacks, and the fit's arguments that they are told.
    ahead : TrainedAhead or None
        What a search has trained in advance; this training, perhaps.

    Raises
    ------
    KeyboardInterrupt
        After a Ctrl-C before the first epoch ended.
    """
    mind_a_fork()
    spec = Spec.from_params(estimator.get_params(deep=False), one_pass=one_pass)
    memory = None if one_pass else open_memory(estimator)
    previous = getattr(estimator, "net_", None) if resume else None
    if previous is None:
        reader, table, dtype = read_first(estimator, X, spec.min_rows)
        if ahead is not None and X_val is None:
            found = ahead.take(ahead_key(table, dtype, spec))
            if found is not None:
                return Fitted(
                    found.layout,
                    found.plan,
                    found.net,
                    names_of(reader),
                    found.components,
                    found.warnings,
                )
        layout, cells = lay_out(table, dtype, spec)
    else:
        reader, layout = estimator, estimator._layout
        cells = read_table(estimator, layout, X, min_rows=spec.min_rows, by_blocks=True)
        layout.check_unchanged(spec.columns, spec.networks)
    rows = encode_rows(layout, cells)
    valid = None
    if X_val is not None:
        valid = encode_rows(layout, read_table(reader, layout, X_val, by_blocks=True))
    training, names = prepare_training(layout, spec.plan, rows, valid, previous), names_of(reader)
    plan = training.plan

    def copied(net: InfoVAENet) -> dict[str, Any]:
        """The attributes of a fit that ends now."""
        twin = rebuild_net(layout.architecture, plan, net_state(net))
        return Fitted(layout, plan, twin, names, finish(twin, training, layout)).attributes

    watcher = None if watched is None else SklearnCallbacks(*watched, copied)
    kept = None if memory is None else (memory, key_of(training, previous))
    net = train_alone(training, previous, watcher, kept)
    if net.interrupted_ and not net.history:
        raise KeyboardInterrupt
    if not (net.interrupted_ or one_pass or estimator.warm_start):
        net.optimizer_.state.clear()  # its moments are twice as large as the weights
    components = finish(net, training, layout, ordered=not one_pass)
    fitted = Fitted(layout, plan, net, names, components)
    if one_pass or net.interrupted_:
        return fitted
    warnings = warnings_of(layout, net, cells)
    if ahead is not None:
        ahead.warnings += warnings
    return replace(fitted, warnings=warnings)


def lay_out(
    X: Any, dtype: Any, spec: Spec, known: tuple[TableLayout, Any] | None = None
) -> tuple[TableLayout, Any]:
    """Fix columns, scaling, shapes and seeds by the first rows; and the rows as numbers.

    ``known`` lends what another spec with the same columns made of the same rows.
    """
    seed = draw_seed(spec.random_state)
    if known is None:
        layout, cells = TableLayout.measure(X, dtype, spec.columns, spec.networks, seed)
        return layout, cells if cells is X else finite(cells)  # X was looked at
    return known[0].of_networks(spec.columns, spec.networks, seed), known[1]


def encode_rows(layout: TableLayout, cells: Any) -> Rows:
    """Rows of a validated ndarray or CSR matrix in the model's units, their values checked."""
    check_values(cells, layout.architecture.likelihoods, layout.schema.names)
    return make_rows(cells, layout.standardizer)


def names_of(reader: Any) -> dict[str, Any]:
    """What scikit-learn keeps of the columns."""
    return {name: vars(reader)[name] for name in FITTED[:2] if name in vars(reader)}


def finish(
    net: InfoVAENet, training: Training, layout: TableLayout, ordered: bool = True
) -> Components:
    """What comes after training: noise, and the dimensions in order of the variance they carry."""
    calibrate_net(net, training, layout)
    some = training.rows.spread(rows_afterwards(net, training)).to(net.device)
    components = measure_components(net.plain_module, some)
    order = components.explained.argsort(descending=True, stable=True)
    return components.ordered(order) if ordered and reorder(net, order) else components


def rows_afterwards(net: InfoVAENet, training: Training) -> int:
    """Rows on which a trained model is measured: fewer of wide tables."""
    least, most = CALIBRATION_ROWS
    slopes = net.plain_module.likelihood.n_outputs * training.architecture.n_components
    return max(least, min(most, CALIBRATION_CELLS // slopes))


def calibrate_net(net: InfoVAENet, training: Training, layout: TableLayout) -> None:
    """Set what the likelihood leaves for after the training, by some rows of it."""
    module, n_rows = net.plain_module, rows_afterwards(net, training)

    def some(rows: Rows, n_rows: int) -> Cells:
        return rows.spread(n_rows).to(net.device)

    if training.valid is None:
        sets = [some(training.rows, n_rows)]
    else:
        # Of a column with holes a few rows hold hardly a cell.
        few = n_rows if training.rows.mask is not None else min(n_rows, CALIBRATION_PRIOR)
        sets = [some(training.rows, few), some(training.valid, n_rows)]
    calibrate(module, *sets, far=layout.standardizer.far)


def warnings_of(layout: TableLayout, net: InfoVAENet, cells: Any) -> tuple[Warning, ...]:
    """What went astray in training, and what is dead in the code by some of the rows."""
    model = TableModel(layout, net.plain_module, net.device)
    collapse = model.describe_collapse(cells, net.criterion_)
    dead = None if collapse is None else PosteriorCollapseWarning(collapse)
    return tuple(one for one in (net.warning_, dead) if one is not None)


def ahead_key(X: Any, dtype: Any, spec: Spec) -> str | None:
    """A fingerprint of all that decides what a fit gives; None where there can't be one.

    Without a seed of the user's, any seed will do.
    """
    try:
        return joblib.hash((replace(spec, plan=spec.plan.comparable), X, str(dtype)))
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


@dataclass(eq=False)
class FitAhead:
    """A fit of a search, prepared but not trained.

    Attributes
    ----------
    key : str or None
        By which the fit will find it.
    training : Training
    layout : TableLayout
    cells : ndarray or CSR matrix
    random_state : int, RandomState or None
        The estimator's.
    """

    key: str | None
    training: Training
    layout: TableLayout
    cells: Any
    random_state: Any

    def finished(self, result: Any) -> Ahead:
        """What the fit will find: the net, or the error that ended its training."""
        plan, layout = self.training.plan, self.layout
        if isinstance(result, Exception):
            return Ahead(result, plan, layout)
        components = finish(result, self.training, layout)
        warnings = warnings_of(layout, result, self.cells)
        return Ahead(result, plan, layout, warnings, components)


def prepare_fit(estimator: Any, X: Any, known: dict[str, Any] | None = None) -> FitAhead:
    """What ``fit(X)`` would train; ``known`` lends encoded rows to other estimators on X."""
    mind_a_fork()
    spec = Spec.from_params(estimator.get_params(deep=False))
    _, table, dtype = read_first(estimator, X, spec.min_rows)
    key, known = ahead_key(table, dtype, spec), {} if known is None else known
    columns = joblib.hash(spec.columns)
    if columns in known:
        layout, cells = lay_out(table, dtype, spec, known[columns][:2])
        rows = known[columns][2]
    else:
        layout, cells = lay_out(table, dtype, spec)
        rows = encode_rows(layout, cells)
        known[columns] = layout, cells, rows
    training = prepare_training(layout, spec.plan, rows)
    return FitAhead(key, training, layout, cells, spec.random_state)
