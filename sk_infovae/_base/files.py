"""Whole files: read at once, written in one step."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write(data: bytes, file: Any) -> None:
    """Bytes to a path, where the old file stays whole until all of the new one is there.

    Parameters
    ----------
    data : bytes
    file : str, Path or binary file object
    """
    if hasattr(file, "write"):
        file.write(data)
        return
    with replaced(file) as temporary, open(temporary, "xb") as new:
        new.write(data)
        new.flush()
        os.fsync(new.fileno())


@contextmanager
def replaced(file: Any) -> Iterator[Path]:
    """A path beside that of a file, whose place it takes when all has been written to it."""
    path = Path(os.path.realpath(file))  # through a link, which stays one
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        yield temporary
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(file: Any) -> bytes:
    """All bytes of a path or of a binary file object."""
    return file.read() if hasattr(file, "read") else Path(file).read_bytes()
