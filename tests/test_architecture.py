"""The page on the rooms of the house names every file there is, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAMILIES = {"divergences", "likelihoods", "datasets"}


def named_files():
    """Paths in the first column of the page's table; one without a folder has that before it."""
    found = set()
    page = (ROOT / "docs" / "architecture.md").read_text()
    for cell in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE):
        folder = ""
        for name in re.findall(r"`([^`]+)`", cell):
            folder = name.rpartition("/")[0] or folder
            found.add(f"{folder}/{name.rpartition('/')[2]}".lstrip("/"))
    return found


def test_every_file_of_a_room_is_named():
    package = ROOT / "sk_infovae"
    files = {path.relative_to(package) for path in package.rglob("*.py")}
    own = {
        path.as_posix()
        for path in files
        if path.name != "__init__.py" and path.parts[0] not in FAMILIES
    }
    assert named_files() == own
