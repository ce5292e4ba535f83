"""Callbacks for scikit-learn's callback interface (scikit-learn 1.9 and later)."""

from typing import Any

import numpy as np
from sklearn.utils.validation import _num_samples

try:
    from sklearn.callback import ScoringMonitor
except ImportError:  # scikit-learn < 1.9
    ScoringMonitor = None

__all__ = ["ScoreMonitor"]

if ScoringMonitor is not None:

    class ScoreMonitor(ScoringMonitor):
        """Records a score at the end of every epoch, also when there is no y.

        `sklearn.callback.ScoringMonitor` records nothing when y is None, which is how a
        transformer is fitted. Everything else is as there.

        Parameters
        ----------
        scoring : str, callable, list, tuple, dict or None, default=None
            What to record; None takes the estimator's own score: log-likelihood in nats per
            sample. The score costs more than an epoch on many tables.

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
            super().__init__(scoring=scoring)

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
                estimator,
                context,
                X=X,
                y=y,
                fitted_estimator=fitted_estimator,
                metadata=metadata,
            )

else:

    class ScoreMonitor:  # type: ignore[no-redef]
        """Needs scikit-learn 1.9 or later."""

        def __init__(self, scoring: Any = None):
            raise ImportError(
                "ScoreMonitor needs scikit-learn 1.9 or later, which brought callbacks. "
                "Upgrade scikit-learn."
            )
