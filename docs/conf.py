"""Sphinx: `sphinx-build -W -n docs docs/_build/html` makes the pages, `-b doctest` runs their examples."""

import doctest
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import fastelbo

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # accuracy, for figures/kl_error.py

project = "fastelbo"
author = "The fastelbo developers"
copyright = f"2026, {author}"
version = release = fastelbo.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the docstrings say it better
autosummary_generate = True
default_role = "autolink"  # `gaussian_nll` is a link in a docstring, `x` is not
maximum_signature_line_length = 80
numpydoc_show_class_members = False

copybutton_exclude = ".linenos, .gp, .go"
doctest_default_flags = doctest.ELLIPSIS  # Sphinx would ignore what an exception says
doctest_test_doctest_blocks = ""  # pytest runs the docstrings

plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False
plot_rcparams = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",  # under a dark theme too
    "svg.hashsalt": "fastelbo",  # the same drawing from every build
}
plot_apply_rcparams = True

html_theme = "furo"
html_title = f"fastelbo {version}"
html_copy_source = False


def check_all_documented(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of public names that no page documents: -W makes that an error."""
    documented = {name for name, *_ in env.domains["py"].get_objects()}
    for name in fastelbo.__all__:
        if f"fastelbo.{name}" not in documented:
            logging.getLogger(__name__).warning("fastelbo.%s is not in api.md", name)


def setup(app: Sphinx) -> None:
    app.connect("env-check-consistency", check_all_documented)
