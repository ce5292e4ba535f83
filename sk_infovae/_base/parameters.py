"""``get_params`` and ``set_params`` for the small objects that describe a part of the model."""

import inspect
from typing import Any, Self


class Parameterized:
    """Parameters by the names of ``__init__``, as scikit-learn has them, without importing it.

    A subclass stores each argument of ``__init__`` under its own name and does nothing else
    there. So ``sklearn.base.clone`` copies it, and a search reaches its parameters through the
    estimator (``divergence__bandwidth``).
    """

    @classmethod
    def _parameter_names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        names = list(inspect.signature(cls.__init__).parameters)
        return sorted(names[1:])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` is accepted for scikit-learn's sake."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises
        ------
        ValueError
            When a name is not a parameter of this object.
        """
        names = self._parameter_names()
        for name, value in params.items():
            if name not in names:
                raise ValueError(
                    f"Invalid parameter {name!r} for {self!r}. Valid parameters are: {names}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameterized) or type(self) is not type(other):
            return False
        # One that was pickled before a parameter came lacks it, and has its default.
        return vars(self) == vars(other) or self.get_params() == other.get_params()

    __hash__ = None  # type: ignore[assignment]
