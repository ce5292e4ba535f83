"""Tests and files that a page names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))

WALK = {
    "sk_infovae/divergences/energy.py",
    "sk_infovae/likelihoods/geometric.py",
    "tests/divergences/test_energy.py",
}
"""What a reader of CONTRIBUTING.md writes."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    tests = set(re.findall(r"`((?:test|check)_\w+)`", text))
    assert not [name for name in tests if f"def {name}(" not in SOURCES]
    paths = set(
        re.findall(r"(?<!\w)((?:tests|benchmarks|examples|sk_infovae|\.ci)/[\w./]*\w)", text)
    )
    assert not [path for path in paths - WALK if not (ROOT / path).exists()]
