"""What a search has trained in advance, found again by a fingerprint of what was asked for.

The order in which scikit-learn clones and fits does not matter: a fit that finds nothing here
trains alone, and gives the same.
"""

import os
import pickle
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sk_infovae._inference.components import Components
from sk_infovae._model.layout import TableLayout
from sk_infovae._training.plan import TrainingPlan
from sk_infovae._training.state import net_state, rebuild_net


@dataclass(frozen=True, eq=False)
class Ahead:
    """A fit done in advance.

    Attributes
    ----------
    net : InfoVAENet, dict or Exception
        The net, its state while it travels, or what ended its training.
    plan : TrainingPlan
    layout : TableLayout
        With the seed that everything random grew from.
    warnings : tuple of Warning
        Of what the user should know.
    components : Components or None
        What each dimension does to the columns.
    """

    net: Any
    plan: TrainingPlan
    layout: TableLayout
    warnings: tuple[Warning, ...] = ()
    components: Components | None = None

    def packed(self) -> "Ahead":
        """In a form that travels."""
        if isinstance(self.net, Exception | dict):
            return self
        return replace(self, net=net_state(self.net))

    def unpacked(self) -> "Ahead":
        """With its net, or an error raised."""
        if isinstance(self.net, Exception):
            raise self.net
        if not isinstance(self.net, dict):
            return self
        return replace(self, net=rebuild_net(self.layout.architecture, self.plan, self.net))


class TrainedAhead:
    """The fits that a search has done in advance, while it runs.

    Clones of an estimator carry it along (`InfoVAETransformer.__sklearn_clone__`). A copy that
    travels to another process finds each fit in a file of a temporary folder, by default where
    joblib has its own. Where the folder can't be seen, fits train alone.

    Attributes
    ----------
    warnings : list of Warning
        Those of the search's fits, for one of each kind.
    """

    def __init__(self):
        self._fits: dict[str, list[Ahead]] = {}
        self._folder: Any = None
        self._files: dict[str, Path] = {}
        self.warnings: list[Warning] = []

    def add(self, key: str, fit: Ahead) -> None:
        """Keep a fit for who asks with this key."""
        self._fits.setdefault(key, []).append(fit)
        self.warnings += fit.warnings

    def take(self, key: str | None) -> Ahead | None:
        """The fit of this key, which then is the caller's; None where there is none.

        Raises
        ------
        TrainingDivergedError
            That of the training.
        """
        if self._fits.get(key or ""):
            return self._fits[key or ""].pop().unpacked()
        file = self._files.get(key or "")
        if file is not None and file.exists():
            return pickle.loads(file.read_bytes()).unpacked()
        return None

    def clear(self) -> None:
        """Forget every fit, and remove the folder."""
        self._fits.clear()
        self._files.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __getstate__(self) -> dict[str, Any]:
        """For another process: files in the place of fits."""
        if self._fits and self._folder is None:
            where = os.environ.get("JOBLIB_TEMP_FOLDER")
            self._folder = tempfile.TemporaryDirectory(prefix="sk_infovae_search_", dir=where)
        for key, fits in self._fits.items():
            if key not in self._files:
                self._files[key] = self._write(key, fits[0])
        return {"_fits": {}, "_folder": None, "_files": self._files, "warnings": []}

    def _write(self, name: str, fit: Ahead) -> Path:
        file = Path(self._folder.name) / name
        file.write_bytes(pickle.dumps(fit.packed()))
        return file
