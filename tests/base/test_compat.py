"""Private parts of other libraries: each is there, and none is used that the list lacks."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import sklearn
import torch
from packaging.version import Version

PACKAGE = Path(__file__).parents[2] / "sk_infovae"
COMPAT = PACKAGE / "_base" / "compat.py"
LIBRARIES = {
    "joblib", "narwhals", "numpy", "pandas", "polars", "scipy", "sklearn", "skorch", "torch", "tqdm"
}  # fmt: skip
DOCUMENTED = {"_fields", "_getframe"}
"""Of the standard library: NamedTuple and sys promise these."""

TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def listed():
    """``PRIVATE_APIS``, read and not imported: compat itself fails where one is gone."""
    for node in TREES[COMPAT].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PRIVATE_APIS":
            return ast.literal_eval(node.value)
    raise AssertionError("compat.py has no PRIVATE_APIS")


PRIVATE_APIS = listed()
NAMES = {api.rpartition(":")[2].rpartition(".")[2] for api in PRIVATE_APIS}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def source_of(module):
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    return path.read_text(encoding="utf-8")


def is_there(api):
    """Whether a module has the name; or a class, or its source."""
    module, _, path = api.partition(":")
    owner, _, name = path.rpartition(".")
    if module.startswith("torch._dynamo."):  # read only: its import takes many seconds
        file = Path(torch.__file__).parents[1] / f"{module.replace('.', '/')}.py"
        return file.exists() and owner in file.read_text() and name in file.read_text()
    try:
        owner = pkgutil.resolve_name(f"{module}:{owner}")
    except (ImportError, AttributeError):
        return False
    if hasattr(owner, name):
        return True
    return inspect.isclass(owner) and bool(re.search(rf"\b{name}\b", inspect.getsource(owner)))


@pytest.mark.parametrize("api", PRIVATE_APIS)
def test_a_private_part_of_a_library_is_there(api):
    if api.startswith("sklearn.callback:") and Version(sklearn.__version__) < Version("1.9"):
        pytest.skip("scikit-learn < 1.9 has no callbacks")
    assert is_there(api), f"{api} is gone; it is needed by sk_infovae: {PRIVATE_APIS[api]}"


@pytest.mark.parametrize("gone", ["sklearn.base:_no", "sklearn.no:_no", "skorch:NeuralNet._no"])
def test_what_is_gone_is_missed(gone):
    assert not is_there(gone)


@pytest.mark.parametrize("api", PRIVATE_APIS)
def test_who_needs_it_names_it(api):
    name = api.rpartition(":")[2].rpartition(".")[2]
    for module in PRIVATE_APIS[api].split():
        assert name in source_of(module), f"{module} no longer needs {api}"


def private_imports(tree):
    """Imports of underscore names from other libraries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first in LIBRARIES and any(map(is_private, rest)):
                yield f"line {node.lineno}: {name}"


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", sorted(set(TREES) - {COMPAT}), ids=relative)
def test_private_names_are_imported_by_compat_only(path):
    assert not list(private_imports(TREES[path])), "import it in _base/compat.py, and list it there"


def test_imports_of_private_names_are_found():
    tree = ast.parse("import torch._C\nfrom sklearn.utils._tags import x\nfrom a._b import c")
    assert len(list(private_imports(tree))) == 2
    assert list(private_imports(TREES[COMPAT]))


def defined_here():
    """Every name that the package itself gives to something."""
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.attr if isinstance(node, ast.Attribute) else node.id
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value  # attributes that a dict of them sets


OWN = set(defined_here())


def test_private_attributes_are_our_own_or_listed():
    for path, tree in TREES.items():
        used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        strange = {name for name in used if is_private(name)} - OWN - NAMES - DOCUMENTED
        assert not strange, f"{relative(path)} uses {strange}: list them in _base/compat.py"


def overridden(cls):
    """Private names of a class of ours that a base class of another library has."""
    names = {name for name in vars(cls) if is_private(name)} & OWN
    for base in cls.__mro__[1:]:
        if base.__module__.split(".")[0] in LIBRARIES:
            yield from (name for name in names if hasattr(base, name))


def test_private_methods_are_overridden_on_purpose():
    for path in TREES:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        module = importlib.import_module(name.removesuffix(".__init__"))
        for cls in filter(inspect.isclass, vars(module).values()):
            if cls.__module__ == module.__name__:
                strange = set(overridden(cls)) - NAMES
                assert not strange, f"{cls.__name__} overrides {strange} of another library"
