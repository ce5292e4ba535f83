"""A folder in which long work keeps what it has done, for when it is run again."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

from sk_infovae._base import files
from sk_infovae._base.compat import library_versions
from sk_infovae._base.warn import warn_user

N_DIGEST = hashlib.sha256().digest_size


class Checkpoints:
    """Values in files that are named by what the values were made of.

    Each file is written in one step: a process that is killed leaves the last whole one. The files
    are pickles, as joblib's are: the folder must be the user's own.

    Parameters
    ----------
    folder : str or Path
        Made where it is not there.
    kind : str
        What the values are: the suffix of the files, and a word in warnings.

    Raises
    ------
    OSError
        For a folder that can't be made or written to.
    """

    def __init__(self, folder: Any, kind: str):
        self.folder, self.kind = Path(folder), kind
        self.folder.mkdir(parents=True, exist_ok=True)
        probe = self.folder / ".probe"
        files.write(b"", probe)
        probe.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        words = f"{library_versions()} {key}"
        return self.folder / f"{hashlib.sha256(words.encode()).hexdigest()}.{self.kind}"

    def read(self, key: str) -> Any:
        """The value of this key; None where there is no such file, or a damaged one."""
        file = self._file(key)
        raw = file.read_bytes() if file.exists() else b""
        if not raw:
            return None
        if hashlib.sha256(raw[N_DIGEST:]).digest() != raw[:N_DIGEST]:
            warn_user(f"{file} is damaged: its {self.kind} is trained anew.", RuntimeWarning)
            return None
        return pickle.loads(raw[N_DIGEST:])

    def write(self, key: str, value: Any) -> bool:
        """Keep a value. What can't be written is said, and costs nothing else.

        Returns
        -------
        written : bool
        """
        data = pickle.dumps(value)
        try:
            files.write(hashlib.sha256(data).digest() + data, self._file(key))
        except OSError as error:
            warn_user(
                f"A trained {self.kind} could not be kept in {self.folder} ({error}). Training "
                "goes on; run again, it would begin anew.",
                RuntimeWarning,
            )
            return False
        return True
