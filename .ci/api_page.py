"""Check that the built documentation has a place for everything that is public.

That is every class and function in ``__all__`` of the modules below, what their registries name,
and each public method of these classes, be it inherited from a class of ours. The argument is the
folder of the HTML: what it holds stands in its inventory, ``objects.inv``.
"""

import importlib
import inspect
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "sk_infovae"
MODULES = (
    "",
    ".callbacks",
    ".datasets",
    ".divergences",
    ".exceptions",
    ".files",
    ".inspection",
    ".likelihoods",
    ".metrics",
    ".model_selection",
    ".parallel",
    ".preprocessing",
)


def documented(folder: Path) -> set[str]:
    """The Python names that the inventory holds."""
    raw = (folder / "objects.inv").read_bytes()
    # Four lines of text, the rest is compressed: name, domain:role, priority, address, title.
    lines = zlib.decompress(raw.split(b"\n", 4)[4]).decode().splitlines()
    return {name for name, role, *_ in map(str.split, lines) if role.startswith("py:")}


def is_own(value: object) -> bool:
    """Whether a function or class is from the package."""
    return (getattr(value, "__module__", None) or "").split(".")[0] == PACKAGE


def public_names(module_name: str) -> Iterator[str]:
    """Classes and functions of a module, with the methods of the classes."""
    module = importlib.import_module(module_name)
    own = [
        n for n, value in vars(module).items() if getattr(value, "__module__", "") == module_name
    ]
    for name in getattr(module, "__all__", own):
        value = getattr(module, name)
        if isinstance(value, dict):
            yield from (f"{module_name}.{entry.__name__}" for entry in value.values())
        elif inspect.isclass(value) or inspect.isfunction(value):
            yield f"{module_name}.{name}"
        if inspect.isclass(value):
            yield from (f"{module_name}.{name}.{method}" for method in public_methods(value))


def public_methods(cls: type) -> Iterator[str]:
    """Own methods and properties, inherited ones included."""
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(function) and is_own(function):
            yield name


def main(folder: str) -> int:
    names = sorted({name for module in MODULES for name in public_names(PACKAGE + module)})
    missing = sorted(set(names) - documented(Path(folder)))
    for name in missing:
        print(f"{name} is public, but stands nowhere in the documentation (docs/api.rst)")
    print(f"{len(names)} public names, {len(missing)} missing")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
