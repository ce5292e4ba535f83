"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build``.

``DOCS_RUN_EXAMPLES=cheap`` runs two of the gallery's examples, in half a minute on one core;
``DOCS_RUN_EXAMPLES=1`` runs all of them. The pages of the others show the code alone.
"""

import importlib.metadata
import inspect
import os
import tempfile
import zlib
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from numpydoc.xref import DEFAULT_LINKS

project = "sk_infovae"
author = "sk_infovae developers"
copyright = f"2026, {author}"
version = release = importlib.metadata.version("sk-infovae")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
default_role = "py:obj"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_title = f"{project} {release}"
html_show_sourcelink = False

autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
DEFAULT_LINKS.clear()  # of "sequence", say, to glossaries of others
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    "ndarray": "numpy.ndarray",
    "RandomState": "numpy.random.RandomState",
    "DataFrame": "pandas.DataFrame",
    "Axes": "matplotlib.axes.Axes",
    "Figure": "matplotlib.figure.Figure",
    "Pipeline": "sklearn.pipeline.Pipeline",
    "GridSearchCV": "sklearn.model_selection.GridSearchCV",
    "InfoVAETransformer": "sk_infovae.InfoVAETransformer",
    "Information": "sk_infovae.Information",
    "Divergence": "sk_infovae.divergences.Divergence",
    "Likelihood": "sk_infovae.likelihoods.Likelihood",
}

SITES = {
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "matplotlib": "https://matplotlib.org/stable/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
"""Other projects' pages."""

PLACES = {
    "numpy": "reference/generated/{0}.html#{0}",
    "numpy.random": "reference/random/legacy.html#{0}",
    "pandas": "reference/api/{0}.html#{0}",
    "matplotlib": "api/_as_gen/{0}.html#{0}",
    "matplotlib.figure": "api/figure_api.html#{0}",
    "sklearn": "modules/generated/{0}.html#{0}",
    "torch": "generated/{0}.html#{0}",
}
"""Where a name has its page there, by what it begins with."""

FOREIGN = {
    "class": """numpy.ndarray numpy.memmap numpy.random.RandomState pandas.DataFrame
        matplotlib.axes.Axes matplotlib.figure.Figure sklearn.callback.ScoringMonitor
        sklearn.ensemble.HistGradientBoostingClassifier sklearn.model_selection.GridSearchCV
        sklearn.model_selection.RandomizedSearchCV sklearn.pipeline.Pipeline torch.optim.Adam""",
    "function": """sklearn.base.clone sklearn.manifold.trustworthiness sklearn.metrics.r2_score
        torch.compile torch.func.vmap torch.set_num_threads""",
    "method": "matplotlib.axes.Axes.scatter",
}
"""Names of theirs that our docstrings refer to."""

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


INVENTORIES = tempfile.TemporaryDirectory()


def place(name):
    """Where a name has its page."""
    return PLACES[max((p for p in PLACES if name.startswith(f"{p}.")), key=len)].format(name)


def inventory(site):
    """Write the inventory of the names of a site, as its own build does, and return its path.

    With one of our own the documentation is built without a network.
    """
    lines = [
        f"{name} py:{kind} 1 {place(name)} -\n"
        for kind, names in FOREIGN.items()
        for name in names.split()
        if name.startswith(f"{site}.")
    ]
    head = f"# Sphinx inventory version 2\n# Project: {site}\n# Version: \n# zlib compressed\n"
    path = Path(INVENTORIES.name) / f"{site}.inv"
    path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
    return str(path)


intersphinx_mapping = {site: (address, inventory(site)) for site, address in SITES.items()}


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
