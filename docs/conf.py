"""Sphinx: Markdown pages, and the reference from docstrings."""

import re
from pathlib import Path

import perturbed.solvers

project = "perturbed"
author = "The perturbed developers"
copyright = author
_version = Path(__file__).parents[1] / "perturbed" / "_version.py"
version = release = re.search(r'__version__ = "(.+)"', _version.read_text(encoding="utf-8")).group(1)

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build"]
smartquotes = False  # theta' is no quotation

myst_enable_extensions = ["substitution", "deflist"]
myst_heading_anchors = 3


def _rst(name):
    if isinstance(getattr(perturbed.solvers, name), type):
        return f"```{{eval-rst}}\n.. autoclass:: perturbed.{name}\n   :members:\n```\n"
    return f"```{{eval-rst}}\n.. autofunction:: perturbed.{name}\n```\n"


# A new solver stands in the reference as soon as it stands in perturbed/solvers/__init__.py.
myst_substitutions = {"solvers": "\n".join(_rst(name) for name in perturbed.solvers.__all__ if name != "Solver")}


def _escape_stars(app, what, name, obj, options, lines):
    """In `shape (*batch, *item)` a star is a star, not emphasis."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[i] = "".join(p if p.startswith("``") else re.sub(r"(?<=[(, ])\*(?=\w)", r"\\*", p) for p in parts)


def setup(app):
    app.connect("autodoc-process-docstring", _escape_stars, priority=900)  # after numpydoc


autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
default_role = "code"

html_theme = "furo"
html_title = f"perturbed {version}"
html_static_path = ["_static"]
html_css_files = ["perturbed.css"]
html_show_sphinx = False
html_show_copyright = False
