"""From an estimator's parameters and a table to its fitted attributes."""

import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from sk_infovae._base.seeds import draw_seed
from sk_infovae._inference.table_model import TableModel
from sk_infovae._model.layout import TableLayout
from sk_infovae._model.objective import check_weights
from sk_infovae._table.reading import (
    all_or_nothing,
    check_table,
    dtype_of,
    finite,
    read_table,
    to_cpu,
)
from sk_infovae._training.hooks import SklearnCallbacks
from sk_infovae._training.net import InfoVAENet, tidy_history
from sk_infovae._training.plan import (
    Training,
    check_net_params,
    encode_rows,
    prepare_training,
)
from sk_infovae._training.rows import Rows
from sk_infovae._training.state import net_state, rebuild_net
from sk_infovae.exceptions import PosteriorCollapseWarning

FITTED = ("net_", "module_", "history_", "n_iter_", "noise_variance_")


def train_estimator(
    estimator: Any,
    X: Any,
    *,
    resume: bool,
    X_val: Any = None,
    one_pass: bool = False,
    watcher: SklearnCallbacks | None = None,
) -> None:
    """Lay out the table, train, keep: the estimator is as it was unless all of it works.

    Parameters
    ----------
    estimator : InfoVAETransformer
    X, X_val : array-like, CSR matrix or DataFrame
        As the user gave them.
    resume : bool
        Whether to go on from an earlier fit where there is one.
    one_pass : bool
        partial_fit: one epoch, nothing held out.
    watcher : SklearnCallbacks or None
        Tells scikit-learn's callbacks about every epoch.

    Raises
    ------
    KeyboardInterrupt
        After a Ctrl-C, with the last finished epoch kept if there is one.
    """
    params = checked_params(estimator)
    with all_or_nothing(estimator):
        previous = getattr(estimator, "net_", None) if resume else None
        if previous is None:
            table = lay_out(estimator, X, params, min_rows=1 if one_pass else 2)
        else:
            table = read_table(estimator, X, min_rows=1 if one_pass else 2)
        layout = estimator._layout
        layout.check_unchanged(params)
        table_valid = None if X_val is None else read_table(estimator, X_val)
        rows = encode_rows(layout, table)
        valid = None if table_valid is None else encode_rows(layout, table_valid)
        training = prepare_training(layout, params, rows, valid, previous, one_pass=one_pass)
        net = training.run(previous, watcher)
        if net.interrupted_ and not net.history:
            raise KeyboardInterrupt
        vars(estimator).update(fitted_attributes(estimator, net))
        if not (one_pass or net.interrupted_):
            model = TableModel(layout, net.plain_module, net.device)
            collapse = model.describe_collapse(table, net.criterion_)
            if collapse is not None:
                warnings.warn(collapse, PosteriorCollapseWarning, stacklevel=3)
    if net.interrupted_:
        warnings.warn(
            f"Training was interrupted; the model stands as epoch {len(net.history)} left it.",
            ConvergenceWarning,
            stacklevel=3,
        )
        raise KeyboardInterrupt


def checked_params(estimator: Any) -> dict[str, Any]:
    """The estimator's parameters, those refused that only fit can judge."""
    params = estimator.get_params(deep=False)
    check_weights(estimator.alpha, estimator.lambd)
    check_net_params(params["net_params"] or {})
    return params


def lay_out(estimator: Any, X: Any, params: Mapping[str, Any], min_rows: int = 2) -> Any:
    """Read the first rows, and fix columns, scaling, shapes and seeds by them."""
    X = to_cpu(X)
    dtype = dtype_of(X)
    X = check_table(estimator, X, reset=True, min_rows=min_rows)
    for name in FITTED:
        vars(estimator).pop(name, None)
    seed = draw_seed(estimator.random_state)
    estimator._layout, table = TableLayout.measure(X, dtype, params, seed)
    return finite(table)


def prepare_alone(estimator: Any, X: Any, encoded: dict[Any, Rows]) -> Training:
    """What fit would train, not yet trained; ``encoded`` lends rows to other estimators on X."""
    params = checked_params(estimator)
    table = lay_out(estimator, X, params)
    layout = estimator._layout
    key = tuple(map(repr, layout.architecture.likelihoods))
    if key not in encoded:
        encoded[key] = encode_rows(layout, table)
    return prepare_training(layout, params, encoded[key], None)


def fitted_attributes(estimator: Any, net: InfoVAENet) -> dict[str, Any]:
    """What a fit that made this net sets, by name."""
    model = TableModel(estimator._layout, net.plain_module, net.device)
    values = (net, model.module, tidy_history(net.epochs()), len(net.epochs()))
    return dict(zip(FITTED, (*values, model.noise_variance()), strict=True))


def attributes_of_copy(estimator: Any, net: InfoVAENet) -> dict[str, Any]:
    """What fit would set if it ended now: an independent copy, in the middle of training."""
    return fitted_attributes(estimator, rebuild_net(estimator, net_state(net)))
