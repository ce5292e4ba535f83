"""One file: arrays as safetensors, a description as JSON in its header, a checksum over both."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from sk_infovae.exceptions import ModelFileError

DTYPES = {
    "BOOL": np.bool_, "F32": np.float32, "F64": np.float64,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
}  # fmt: skip
"""What arrays can be, by safetensors' names."""

HEAD, N_DIGITS = "sk_infovae", 64
"""Where in the header the checksum and the description stand, and the digits of the former."""

MOST_DESCRIPTION = 90_000_000
"""Bytes of a description; safetensors reads headers of up to 100 MB."""

Arrays = dict[str, NDArray[Any]]


def pack(kind: str, protocol: int, description: Any, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a file.

    Parameters
    ----------
    kind : str
        What the file holds.
    protocol : int
        Version of the description.
    description : JSON value
    arrays : mapping of str to ndarray
        Of `DTYPES`.
    """
    text = json.dumps([kind, protocol, description], allow_nan=False, separators=(",", ":"))
    if len(text) > MOST_DESCRIPTION:
        raise ModelFileError(
            f"The description of a model takes at most {MOST_DESCRIPTION:,} bytes in a file, this "
            f"one {len(text):,}: its levels are too many. Drop columns of names, or pickle it."
        )
    arrays = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return save(arrays, {HEAD: checksum(text, arrays) + text})


def unpack(data: bytes, kind: str, newest: int) -> tuple[int, Any, Arrays]:
    """Protocol, description and arrays of `pack`, all of them checked.

    Raises
    ------
    ModelFileError
        For bytes that are not such a file, not whole, or of a protocol beyond the ``newest``.
    """
    try:
        tensors = safetensors.deserialize(data)
        n_header = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + n_header])["__metadata__"][HEAD]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"This is not a file that `save` wrote, or not all of it: {error!r}. If it came over a "
            "network, fetch it again."
        ) from error
    arrays = {name: _array(name, tensor) for name, tensor in tensors}
    stated, text = head[:N_DIGITS], head[N_DIGITS:]
    if checksum(text, arrays) != stated:
        raise ModelFileError(
            "The file's checksum is not that of its content: it was damaged or changed since it "
            "was written. Take another copy."
        )
    try:
        found, protocol, description = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(f"The file's description can't be read: {error!r}.") from error
    if found != kind:
        raise ModelFileError(f"The file holds a {found!r}, not a {kind!r}.")
    if type(protocol) is not int or not 1 <= protocol <= newest:
        raise ModelFileError(
            f"The file has protocol {protocol!r}, this version of sk_infovae reads 1 to {newest}. "
            "Read it with the version that wrote it, or a newer one."
        )
    return protocol, description, arrays


def _array(name: str, tensor: Mapping[str, Any]) -> NDArray[Any]:
    dtype = DTYPES.get(tensor["dtype"])
    if dtype is None:
        raise ModelFileError(f"Array {name!r} is of type {tensor['dtype']!r}, not of {[*DTYPES]}.")
    array = np.frombuffer(tensor["data"], dtype=dtype).reshape(tensor["shape"])
    if dtype is np.bool_ and (array.view(np.uint8) > 1).any():
        raise ModelFileError(f"Array {name!r} must hold 0 and 1, got other bytes.")
    return array


def checksum(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of all that a file says, whatever the order of its arrays."""
    words = [[name, one.dtype.str, list(one.shape)] for name, one in sorted(arrays.items())]
    digest = hashlib.sha256(json.dumps([text, words]).encode())
    for _, one in sorted(arrays.items()):
        digest.update(one.tobytes())
    return digest.hexdigest()
