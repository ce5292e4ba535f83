"""Validate the docstrings of the public API with numpydoc.

Public is what ``__all__`` of the modules below names. Classes at the top of the package are
checked with their public methods; of the others, whose methods are a protocol told once in the
base class, the class docstring. The checks are those of pyproject.toml.
"""

import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from numpydoc.validate import ERROR_MSGS, validate

PACKAGE = "sk_infovae"
MODULES = [
    f"{PACKAGE}.{name}"
    for name in """
        callbacks datasets divergences exceptions inspection likelihoods metrics model_selection
        preprocessing
    """.split()
]


def settings() -> tuple[set[str], re.Pattern[str]]:
    file = Path(__file__).resolve().parent.parent / "pyproject.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["numpydoc_validation"]
    named = set(table["checks"])
    # As in numpydoc: "all" turns the list into its complement.
    checks = set(ERROR_MSGS) - named if "all" in named else named
    return checks, re.compile("|".join(table["exclude"]))


def public_names(module_name: str) -> Iterator[str]:
    module = importlib.import_module(module_name)
    own = [name for name, value in vars(module).items() if _is_own(value, module_name)]
    for name in getattr(module, "__all__", own):
        value = getattr(module, name)
        if not inspect.isclass(value) and not inspect.isfunction(value):
            continue
        yield f"{module_name}.{name}"
        if inspect.isclass(value) and module_name == PACKAGE:
            yield from (f"{module_name}.{name}.{member}" for member in _own_members(value))


def _is_own(value: object, module_name: str) -> bool:
    return getattr(value, "__module__", None) == module_name


def _own_members(cls: type) -> Iterator[str]:
    for name, value in vars(cls).items():
        if inspect.isfunction(value) or isinstance(value, (classmethod, staticmethod, property)):
            yield name


def main() -> int:
    checks, exclude = settings()
    names = [name for module in (PACKAGE, *MODULES) for name in public_names(module)]
    names = [name for name in names if not exclude.search(name)]
    faults = 0
    for name in names:
        for code, message in validate(name)["errors"]:
            if code in checks:
                faults += 1
                print(f"{name}: {code} {message}")
    print(f"{len(names)} docstrings, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
