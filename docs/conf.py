"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build``.

``DOCS_RUN_EXAMPLES=cheap`` runs two of the gallery's examples, in half a minute on one core;
``DOCS_RUN_EXAMPLES=1`` runs all of them. The pages of the others show the code alone.
"""

import importlib.metadata
import inspect
import os

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "sk_infovae"
author = "sk_infovae developers"
copyright = f"2026, {author}"
version = release = importlib.metadata.version("sk-infovae")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
default_role = "code"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_title = f"{project} {release}"
html_show_sourcelink = False

autodoc_typehints = "none"
numpydoc_show_class_members = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

RUN_EXAMPLES = {
    "0": "^$",
    "cheap": r"plot_(weights|mixed_table)\.py$",
    "1": r"\.py$",
}[os.environ.get("DOCS_RUN_EXAMPLES", "0")]

FROM_SKLEARN = ("fit_transform", "get_feature_names_out", "get_params", "set_params")

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": RUN_EXAMPLES,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
}


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out what scikit-learn, torch or Python gave: a page shows our own methods.

    Their docstrings refer to their own documentation. What everyone calls stays.
    """
    function = inspect.unwrap(getattr(obj, "fget", None) or obj)
    # What is written in C names its class, not its module.
    module = getattr(getattr(function, "__objclass__", function), "__module__", None)
    foreign = isinstance(module, str) and module.split(".")[0] != project
    return True if foreign and name not in FROM_SKLEARN else skip


def visit_formula(translator, node):
    """Write a formula as MathML, which browsers show without a script or a network."""
    translator.body.append(convert(node.astext(), display="inline"))
    raise SkipNode


def visit_displayed_formula(translator, node):
    """The same on lines of its own."""
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="formula">{formula}</div>\n')
    raise SkipNode


def setup(app):
    """Connect what stands above."""
    app.connect("autodoc-skip-member", skip_foreign)
    app.add_html_math_renderer("mathml", (visit_formula, None), (visit_displayed_formula, None))
