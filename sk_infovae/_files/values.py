"""Values as JSON and arrays, and back; only what is listed here can come back.

JSON's own values stand for themselves. Every other is an object with one key, which says what it
is: ``{"tuple": [...]}``, ``{"array": "3"}``, ``{"record": ["Schema", {...}]}``. Reading looks the
key up and never imports: classes and functions are known ones, or such as the caller trusts.
"""

import functools
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from sk_infovae._files import series
from sk_infovae._files.container import DTYPES, Arrays
from sk_infovae.exceptions import ModelFileError

NOT_NUMBERS = ("nan", "inf", "-inf")
"""Floats that JSON has no word for."""

FLOATS = ("<f4", "<f8")
"""Dtypes of the arrays that a model gives back."""


def _number(value: Any) -> Any:
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else {"float": str(number)}


def path_of(thing: Any) -> str:
    """Where a class or function is found by import, ``module:qualified.name``.

    Raises
    ------
    ModelFileError
        For one that import does not find: a lambda, or one defined inside a function.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    found = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not thing:
        raise ModelFileError(
            f"A file can only name classes and functions that import finds, got {thing!r}. Define "
            "it at the top of a module."
        )
    return f"{module}:{name}"


class Writer:
    """Turns values into JSON; arrays are put aside.

    Parameters
    ----------
    records : iterable of type
        Dataclasses that files know by name.
    known : iterable of type
        Other classes that they know by name, wherever these live.
    carried : list or None
        Takes what files can't hold, classes and functions of the user's own among it, where
        something else carries that along; None refuses it.
    """

    def __init__(
        self, records: Iterable[type], known: Iterable[type], carried: list[Any] | None = None
    ):
        self.arrays: Arrays = {}
        self.carried = carried
        self.known = {one: one.__name__ for one in known}
        self.kinds: dict[type, Callable[[Any, str], Any]] = {
            tuple: lambda value, where: {"tuple": self.write([*value], where)},
            np.ndarray: self._array,
            functools.partial: self._partial,
            np.random.RandomState: self._random_state,
            torch.device: lambda value, where: {"device": str(value)},
            **dict.fromkeys(records, self._record),
        }

    def write(self, value: Any, where: str) -> Any:
        """The JSON of a value; ``where`` it stands is for errors."""
        try:
            return self._write(value, where)
        except ModelFileError:
            if self.carried is None:
                raise
            self.carried.append(value)
            return {"carried": len(self.carried) - 1}

    def _write(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.number | np.bool_):
            return self.write(value.item(), where)
        if isinstance(value, Real):
            return _number(value)
        if isinstance(value, list):
            return [self.write(one, f"{where}[{k}]") for k, one in enumerate(value)]
        if isinstance(value, Mapping):
            return {"dict": self.write([[key, one] for key, one in value.items()], where)}
        if type(value) in self.kinds:
            return self.kinds[type(value)](value, where)
        return self._special(value, where)

    def _special(self, value: Any, where: str) -> Any:
        """What is not known by its type alone."""
        if isinstance(value, np.dtype) and value.str in FLOATS:
            return {"dtype": value.str}
        if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
            return {"named": self._name(value)}
        if hasattr(value, "get_params"):
            return self._object(value, where)
        written = series.write(value, functools.partial(self.write, where=where))
        if written is None:
            raise ModelFileError(
                f"A file can't hold {where}, a {type(value).__name__}: {value!r}. Files hold "
                "numbers, strings, arrays, our own likelihoods and divergences, and what has its "
                "whole state in get_params. Pickle the model instead."
            )
        self._check_readable(written, where, value)
        return written

    def _check_readable(self, written: Any, where: str, value: Any) -> None:
        """Refuse what could not be read again: an index with holidays in its frequency, say."""
        try:
            Reader((), self.arrays, self.known, carried=self.carried or ()).read(written)
        except Exception as error:
            raise ModelFileError(
                f"A file can't hold {where}, {value!r}: it could not be read again ({error}). "
                "Convert it first, or pickle the model."
            ) from error

    def _record(self, value: Any, where: str) -> Any:
        names = [field.name for field in fields(value)]
        parts = {name: self.write(getattr(value, name), f"{where}.{name}") for name in names}
        return {"record": [type(value).__name__, parts]}

    def _partial(self, value: Any, where: str) -> Any:
        return {"partial": self.write([value.func, [*value.args], value.keywords], where)}

    def _random_state(self, value: Any, where: str) -> Any:
        return {"random_state": self.write([*value.get_state()], where)}

    def _object(self, value: Any, where: str) -> Any:
        params = value.get_params(deep=False)
        hidden = [name for name in vars(value) if name not in params]
        if hidden:
            raise ModelFileError(
                f"A file can't hold {where}, {value!r}: its attributes {hidden} are no parameters. "
                "Pickle the model instead."
            )
        return {"object": [self._name(type(value)), self.write(params, where)]}

    def _name(self, thing: Any) -> str:
        if thing in self.known:
            return self.known[thing]
        if self.carried is not None:
            raise ModelFileError(f"{thing!r} is carried along.")
        return path_of(thing)

    def _array(self, value: np.ndarray, where: str) -> Any:
        if value.dtype.kind in "OU":
            return {"objects": [list(value.shape), self.write(value.ravel().tolist(), where)]}
        if value.dtype.type not in DTYPES.values() or not value.dtype.isnative:
            raise ModelFileError(f"A file can't hold {where}, an array of dtype {value.dtype}.")
        name = str(len(self.arrays))
        self.arrays[name] = value
        return {"array": name}


class Reader:
    """Turns what `Writer` wrote back into values.

    Parameters
    ----------
    records : iterable of type
        Dataclasses that files know by name.
    arrays : dict of ndarray
    known : iterable of type
        Classes that every file may name.
    trusted : iterable, or mapping of str to Any
        Classes and functions that this one may name besides; by the names that it has for them,
        where they have others now.
    carried : list
        What came along.
    """

    def __init__(
        self,
        records: Iterable[type],
        arrays: Arrays,
        known: Iterable[type],
        trusted: Iterable[Any] | Mapping[str, Any] = (),
        carried: Sequence[Any] = (),
    ):
        self.records = {one.__name__: one for one in records}
        self.arrays = arrays
        self.named: dict[str, Any] = {one.__name__: one for one in known}
        renamed = isinstance(trusted, Mapping)
        self.named |= dict(trusted) if renamed else {path_of(one): one for one in trusted}
        self.kinds: dict[str, Callable[[Any], Any]] = {
            "tuple": lambda tree: tuple(self.read(tree)),
            "dict": lambda tree: {k: v for k, v in self.read(tree)},
            "float": lambda tree: float(NOT_NUMBERS[NOT_NUMBERS.index(tree)]),
            "array": lambda tree: self.arrays[tree].copy(),
            "objects": self._objects,
            "dtype": lambda tree: np.dtype(FLOATS[FLOATS.index(tree)]),
            "device": torch.device,
            "random_state": lambda tree: _random_state(*self.read(tree)),
            "record": self._record,
            "object": self._object,
            "partial": self._partial,
            "named": self._named,
            "carried": lambda tree: carried[tree],
        }

    def read(self, tree: Any) -> Any:
        """The value of some JSON."""
        if isinstance(tree, list):
            return [self.read(one) for one in tree]
        if not isinstance(tree, dict):
            return tree
        ((kind, content),) = tree.items()
        if kind in self.kinds:
            return self.kinds[kind](content)
        return series.READERS[kind](content, self.read)

    def _objects(self, tree: Any) -> Any:
        shape, cells = tree
        array = np.empty(len(cells), dtype=object)
        array[:] = self.read(cells)
        return array.reshape(shape)

    def _record(self, tree: Any) -> Any:
        name, parts = tree
        record = self.records[name]
        assert is_dataclass(record)
        return record(**{key: self.read(part) for key, part in parts.items()})

    def _named(self, name: str) -> Any:
        if name not in self.named:
            raise ModelFileError(
                f"The file asks for {name}, which is not part of sk_infovae. If you know it and "
                "the file's origin, import it and pass it on: load(file, trusted=[...]), or "
                f"trusted={{{name!r}: ...}} where it has another name now."
            )
        return self.named[name]

    def _object(self, tree: Any) -> Any:
        name, params = tree
        kind = self._named(name)
        if not hasattr(kind, "get_params"):
            raise ModelFileError(f"The file makes a {name}, which has no parameters by name.")
        return kind(**self.read(params))

    def _partial(self, tree: Any) -> Any:
        function, args, keywords = self.read(tree)
        return functools.partial(function, *args, **keywords)


def _random_state(kind: str, key: Any, position: int, has_gauss: int, gauss: float) -> Any:
    """A generator as it was; numpy itself doesn't look at the position."""
    if kind != "MT19937" or not 0 <= position <= len(key):
        raise ModelFileError(f"A RandomState can't be at {position} of {kind!r}.")
    state = np.random.RandomState()
    state.set_state((kind, key, position, has_gauss, gauss))
    return state
