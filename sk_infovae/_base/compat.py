"""scikit-learn's callbacks (1.9 and later), or nothing in their place."""

from typing import Any

try:
    from sklearn import callback as sklearn_callback
except ImportError:  # scikit-learn < 1.9
    sklearn_callback: Any = None


class NoContext:
    """A callback context that does nothing."""

    def subcontext(self, **_: Any) -> "NoContext":
        """Return itself."""
        return self

    def call_on_fit_task_begin(self, **_: Any) -> "NoContext":
        """Return itself."""
        return self

    def call_on_fit_task_end(self, **_: Any) -> bool:
        """Never stop."""
        return False


class NoCallbacks:
    """Stands in where scikit-learn has no callbacks."""

    def _init_callback_context(self, **_: Any) -> NoContext:
        return NoContext()


def unchanged(method: Any) -> Any:
    """Return the method as it is."""
    return method


CallbackSupportMixin: Any = getattr(sklearn_callback, "CallbackSupportMixin", NoCallbacks)
with_callbacks: Any = getattr(sklearn_callback, "with_callbacks", unchanged)
ScoringMonitor: Any = getattr(sklearn_callback, "ScoringMonitor", None)
