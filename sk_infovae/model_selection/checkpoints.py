"""A folder in which a search keeps the stacks that it has trained, for when it is run again."""

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sk_infovae._base.compat import library_versions
from sk_infovae._base.warn import warn_user
from sk_infovae._files import container
from sk_infovae._training.ahead import Ahead

N_DIGEST = hashlib.sha256().digest_size


class Checkpoints:
    """Trained stacks by what they were trained of.

    A stack is one file, written in one step when all of it is trained: a search that was killed and
    runs again trains the others, in the same company as before, and so gets the very same models.
    The files are pickles, as joblib's are: the folder must be the user's own.

    Parameters
    ----------
    folder : str or Path
        Made where it is not there.

    Raises
    ------
    OSError
        For a folder that can't be made or written to.
    """

    def __init__(self, folder: Any):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        probe = self.folder / ".probe"
        container.write(b"", probe)
        probe.unlink()

    def _file(self, keys: Sequence[str]) -> Path:
        words = [str(library_versions()), *keys]
        return self.folder / f"{hashlib.sha256(' '.join(words).encode()).hexdigest()}.stack"

    def read(self, keys: Sequence[str]) -> list[Ahead] | None:
        """The fits of a stack of these keys; None where there is no such file, or a damaged one."""
        file = self._file(keys)
        raw = file.read_bytes() if file.exists() else b""
        if not raw:
            return None
        if hashlib.sha256(raw[N_DIGEST:]).digest() != raw[:N_DIGEST]:
            warn_user(f"{file} is damaged: its stack is trained anew.", RuntimeWarning)
            return None
        return pickle.loads(raw[N_DIGEST:])

    def write(self, keys: Sequence[str], fits: Sequence[Ahead]) -> None:
        """Keep the fits of a stack. What can't be written is said, and costs nothing else."""
        data = pickle.dumps([fit.packed() for fit in fits])
        try:
            container.write(hashlib.sha256(data).digest() + data, self._file(keys))
        except OSError as error:
            warn_user(
                f"A trained stack could not be kept in {self.folder} ({error}). The search goes "
                "on; run again, it would train the stack anew.",
                RuntimeWarning,
            )
