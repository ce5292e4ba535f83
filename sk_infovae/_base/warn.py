"""Warnings that point at the user's own line."""

import sys
import warnings
from pathlib import Path

OURS = (str(Path(__file__).parents[1]), "sklearn", "skorch", "joblib")
"""Parts of paths, of files that stand between a user's call and the warning."""


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn as from the innermost frame that is neither this package's nor scikit-learn's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_between(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)


def _is_between(file: str) -> bool:
    package, *others = OURS
    return file.startswith(package) or not set(others).isdisjoint(Path(file).parts)
