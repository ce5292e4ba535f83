"""scikit-learn's callbacks (1.9 and later), or nothing in their place."""

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

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

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

        def _init_callback_context(self, **_: Any) -> NoContext:
            return NoContext()

    def with_callbacks(method: Any) -> Any:  # type: ignore[no-redef]
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "with_callbacks"]
