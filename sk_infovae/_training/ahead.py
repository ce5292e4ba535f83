"""What a search has trained in advance, found again by what it was trained on.

The order in which scikit-learn clones and fits does not matter: a fit that finds nothing here
trains alone, and gives the same.
"""

import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sk_infovae._model.architecture import Architecture
from sk_infovae._training.net import InfoVAENet
from sk_infovae._training.plan import TrainingPlan
from sk_infovae._training.state import net_state, rebuild_net
from sk_infovae.exceptions import TrainingDivergedError


@dataclass(frozen=True)
class AheadKey:
    """What decides what a training gives; a law of the tests says that every field counts.

    Attributes
    ----------
    architecture : Architecture
    plan : TrainingPlan
        In the form that compares (`TrainingPlan.comparable`).
    seed : int or None
        None where the user gave none.
    rows : str
        Digest of the rows, those held out included.
    """

    architecture: Architecture
    plan: TrainingPlan
    seed: int | None
    rows: str


@dataclass(frozen=True, eq=False)
class Ahead:
    """A net trained in advance, and the seed that it grew from."""

    net: InfoVAENet
    seed: int


class TrainedAhead:
    """The trainings that a search has done in advance, while it runs.

    Clones of an estimator carry it along (`InfoVAETransformer.__sklearn_clone__`). A copy that
    travels to another process finds the trainings in a temporary folder, each in a file of its own.
    """

    def __init__(self):
        self._results: list[tuple[AheadKey, Any]] = []
        self._folder: Any = None
        self.collapsed: list[str] = []

    def add(
        self, key: AheadKey, result: InfoVAENet | TrainingDivergedError, plan: Any, seed: int
    ) -> None:
        """Remember a net, or the error that ended its training."""
        self._results.append((key, (result, plan, seed)))

    def take(self, key: AheadKey) -> Ahead | None:
        """The training of this key, which then is the caller's; None where there is none.

        Raises
        ------
        TrainingDivergedError
            That of the training.
        """
        for k, (other, _) in enumerate(self._results):
            if other.rows == key.rows and other == key:
                _, found = self._results.pop(k)
                return self._open(found, key.architecture)
        return None

    def _open(self, found: Any, architecture: Architecture) -> Ahead | None:
        if isinstance(found, Path):
            if not found.exists():  # on another machine, which does not share the folder
                return None
            found = pickle.loads(found.read_bytes())
        result, plan, seed = found
        if isinstance(result, TrainingDivergedError):
            raise result
        if isinstance(result, dict):
            result = rebuild_net(architecture, plan, result)
        return Ahead(result, seed)

    def clear(self) -> None:
        """Forget everything, and remove the folder."""
        self._results.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __getstate__(self) -> dict[str, Any]:
        """Keys, and files in place of nets."""
        if self._results and self._folder is None:
            where = os.environ.get("JOBLIB_TEMP_FOLDER")
            self._folder = tempfile.TemporaryDirectory(prefix="sk_infovae_search_", dir=where)
        results = [(key, self._spill(k, found)) for k, (key, found) in enumerate(self._results)]
        return {"_results": results, "_folder": None, "collapsed": []}

    def _spill(self, k: int, found: Any) -> Any:
        if isinstance(found, Path):
            return found
        result, plan, seed = found
        path = Path(self._folder.name) / str(id(found))
        if not path.exists():
            state = net_state(result) if isinstance(result, InfoVAENet) else result
            path.write_bytes(pickle.dumps((state, plan, seed)))
        return path
