"""From an estimator's picture in a notebook to its page."""

import sys
from importlib import metadata
from typing import Any

DISTRIBUTION, LABEL = "sk-infovae", "documentation"


class Documented:
    """An estimator whose HTML links to its page, where the package's metadata name a site.

    That is the address of ``Documentation`` under ``[project.urls]``. A subclass of a user's own
    has no page there.
    """

    def _get_doc_link(self) -> str:
        """Address of the page; empty for none."""
        package, *rooms = type(self).__module__.split(".")
        site = documentation_site()
        if package != __name__.partition(".")[0] or not site:
            return ""
        name, root = type(self).__name__, sys.modules[package]
        path = [package] if hasattr(root, name) else [package, rooms[0]]
        return f"{site}/generated/{'.'.join([*path, name])}.html"


def documentation_site() -> str:
    """Address of the documentation without a slash at its end; empty where none is known."""
    try:
        entries: Any = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    pairs = (entry.partition(",")[::2] for entry in entries)
    found = {label.strip().lower(): address.strip() for label, address in pairs}
    return found.get(LABEL, "").rstrip("/")
