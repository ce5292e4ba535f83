"""From an estimator's parameters and a table to what a fit leaves: values in, a value out.

Nothing here writes to an estimator; it takes over a `Fitted` in one step, or stays as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from sk_infovae._base.seeds import draw_seed
from sk_infovae._inference.table_model import TableModel
from sk_infovae._model.architecture import NetworkSpec
from sk_infovae._model.domain import check_values
from sk_infovae._model.layout import ColumnSpec, TableLayout
from sk_infovae._table.reading import finite, read_first, read_table
from sk_infovae._training.ahead import AheadKey, TrainedAhead
from sk_infovae._training.hooks import SklearnCallbacks
from sk_infovae._training.loop import train_alone
from sk_infovae._training.net import InfoVAENet, tidy_history
from sk_infovae._training.plan import TrainingPlan
from sk_infovae._training.rows import Rows, make_rows
from sk_infovae._training.training import Training, prepare_training


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
    """

    layout: TableLayout
    plan: TrainingPlan
    net: InfoVAENet
    names: Mapping[str, Any]

    @property
    def model(self) -> TableModel:
        """The trained module with its table."""
        return TableModel(self.layout, self.net.plain_module, self.net.device)

    @property
    def attributes(self) -> dict[str, Any]:
        """The estimator's fitted attributes by name."""
        history, model = tidy_history(self.net.epochs()), self.model
        return {
            **self.names,
            "_layout": self.layout,
            "_plan": self.plan,
            "net_": self.net,
            "module_": model.module,
            "history_": history,
            "n_iter_": len(history),
            "noise_variance_": model.noise_variance(),
        }

    def collapse(self, cells: Any) -> str | None:
        """What is dead in the code, by some of the rows; None where nothing is."""
        return self.model.describe_collapse(cells, self.net.criterion_)


FITTED = (
    "n_features_in_", "feature_names_in_", "_layout", "_plan", "net_", "module_", "history_",
    "n_iter_", "noise_variance_",
)  # fmt: skip
"""All names that `Fitted.attributes` may have."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as training wants them, with the layout that they follow.

    Attributes
    ----------
    reader : estimator
        Knows the names of the columns.
    layout : TableLayout
    cells : ndarray or CSR matrix
        Units of X, NaN where missing.
    rows : Rows
        The model's units.
    """

    reader: Any
    layout: TableLayout
    cells: Any
    rows: Rows

    @property
    def names(self) -> dict[str, Any]:
        """What scikit-learn keeps of the columns."""
        known = vars(self.reader)
        return {name: known[name] for name in FITTED[:2] if name in known}


def lay_out(estimator: Any, X: Any, spec: Spec) -> Table:
    """Read the first rows, and fix columns, scaling, shapes and seeds by them."""
    reader, X, dtype = read_first(estimator, X, spec.min_rows)
    seed = draw_seed(spec.random_state)
    layout, cells = TableLayout.measure(X, dtype, spec.columns, spec.networks, seed)
    return Table(reader, layout, cells, encode_rows(layout, finite(cells)))


def read_more(estimator: Any, X: Any, spec: Spec, layout: TableLayout) -> Table:
    """Read rows to go on with.

    Raises
    ------
    ValueError
        Where a parameter that sets shapes was changed since.
    """
    cells = read_table(estimator, layout, X, min_rows=spec.min_rows)
    layout.check_unchanged(spec.columns, spec.networks)
    return Table(estimator, layout, cells, encode_rows(layout, cells))


def encode_rows(layout: TableLayout, cells: Any) -> Rows:
    """Rows of a validated ndarray or CSR matrix in the model's units, their values checked."""
    check_values(cells, layout.architecture.likelihoods, layout.schema.names)
    return make_rows(cells, layout.standardizer)


def fit_table(
    table: Table,
    spec: Spec,
    *,
    X_val: Any = None,
    previous: InfoVAENet | None = None,
    watcher: SklearnCallbacks | None = None,
    ahead: TrainedAhead | None = None,
) -> Fitted:
    """Train on a table.

    Parameters
    ----------
    table : Table
    spec : Spec
    X_val : array-like, CSR matrix, DataFrame or None
        Rows to validate on, as the user gave them.
    previous : InfoVAENet or None
        A net to go on from.
    watcher : SklearnCallbacks or None
        Tells scikit-learn's callbacks about every epoch.
    ahead : TrainedAhead or None
        What a search has trained in advance; this training, perhaps.

    Raises
    ------
    KeyboardInterrupt
        After a Ctrl-C before the first epoch ended.
    """
    layout, valid = table.layout, None
    if X_val is not None:
        valid = encode_rows(layout, read_table(table.reader, layout, X_val))
    elif previous is None and ahead is not None:
        found = ahead.take(ahead_key(table, spec))
        if found is not None:
            return Fitted(replace(layout, seed=found.seed), spec.plan, found.net, table.names)
    training = prepare_training(layout, spec.plan, table.rows, valid, previous)
    net = train_alone(training, previous, watcher)
    if net.interrupted_ and not net.history:
        raise KeyboardInterrupt
    return Fitted(layout, spec.plan, net, table.names)


def prepare_fit(estimator: Any, X: Any) -> tuple[AheadKey, Training, Table]:
    """What ``fit(X)`` would train, not yet trained, and the key by which it will be found."""
    spec = Spec.from_params(estimator.get_params(deep=False))
    table = lay_out(estimator, X, spec)
    training = prepare_training(table.layout, spec.plan, table.rows)
    return ahead_key(table, spec), training, table


def ahead_key(table: Table, spec: Spec) -> AheadKey:
    """What decides what a training gives. Without a seed of the user's, any seed will do."""
    seed = None if spec.random_state is None else table.layout.seed
    return AheadKey(table.layout.architecture, spec.plan.comparable, seed, table.rows.digest)
