"""Callbacks for scikit-learn's callback interface (scikit-learn 1.9 and later)."""

from typing import Any

import numpy as np

from sk_infovae._base.compat import ScoringMonitor, _num_samples

__all__ = ["ScoreMonitor"]

Monitor: Any = ScoringMonitor or object


def own_score(estimator: Any, X: Any, y: Any = None) -> float:
    """The estimator's own score, by a name that can be sent to worker processes."""
    return estimator.score(X)


class ScoreMonitor(Monitor):
    """Records a score at the end of every epoch, also when there is no y.

    `sklearn.callback.ScoringMonitor` records nothing when y is None, which is how a transformer
    is fitted. Everything else is as there. Needs scikit-learn 1.9 or later.

    Parameters
    ----------
    scoring : str, list, tuple, dict or None, default=None
        What to record, as in `sklearn.callback.ScoringMonitor`; None takes the estimator's own
        score, log-likelihood in nats per sample. It costs more than an epoch on many tables.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.callbacks import ScoreMonitor
    >>> monitor = ScoreMonitor()
    >>> vae = InfoVAETransformer(max_epochs=3, n_importance_samples=64, random_state=0)
    >>> vae = vae.set_callbacks(monitor).fit(load_iris().data)
    >>> len([row for row in monitor.get_logs().data if row["task_name"] == "epoch"])
    3
    """

    def __init__(self, scoring: Any = None):
        if ScoringMonitor is None:
            raise ImportError(
                "ScoreMonitor needs scikit-learn 1.9 or later, which brought callbacks. Upgrade "
                "scikit-learn."
            )
        super().__init__(scoring={"score": own_score} if scoring is None else scoring)

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,
        y: Any = None,
        fitted_estimator: Any = None,
        metadata: Any = None,
    ) -> None:
        """Record the score; zeros stand in for a y that no scorer of ours looks at."""
        if y is None and X is not None:
            y = np.zeros(_num_samples(X))
        super().on_fit_task_end(
            estimator, context, X=X, y=y, fitted_estimator=fitted_estimator, metadata=metadata
        )
