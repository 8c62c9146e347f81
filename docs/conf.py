"""The documentation site: `tox -e docs`, or `sphinx-build -W docs docs/_build/html`.

The pages of the course are notebooks in MyST: they run when the site is built, and what they print is kept by their
content, and by the content of unidl. Pages in `reference/generated` are written by `generators` before each build.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
# Pages run on one backend, on the CPU, whatever else this machine has; processes that they start inherit this.
os.environ.setdefault("UNIDL_BACKEND", "torch")
os.environ["UNIDL_DEVICE"] = "cpu"
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # otherwise each kernel warns of Python's frozen modules
os.environ["COLUMNS"] = "110"
os.environ["TTY_COMPATIBLE"] = "0"  # Jupyter asks for colours, as signs that a page would show

import generators  # noqa: E402
from generators.fingerprint import fingerprint  # noqa: E402

from unidl import __version__  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "unidl"
author = "the authors of unidl"
copyright = "the authors of unidl, Apache-2.0"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "executed" / fingerprint())
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_output_stderr = "remove-warn"
nb_merge_streams = True

default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
smartquotes = False  # "cpu" is a word of a program
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
add_module_names = False

copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "

html_theme = "pydata_sphinx_theme"
html_title = f"unidl {release}"
html_static_path = ["_static"]
html_css_files = ["unidl.css"]
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_sidebars = {"index": []}
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "back_to_top_button": False,
    "logo": {"text": "unidl"},
}


def is_foreign(value: object) -> bool:
    """Whether a member of a class is Keras's, a framework's or Python's, and not one of unidl's."""
    function = getattr(value, "fget", None) or getattr(value, "func", None) or getattr(value, "__func__", value)
    module = getattr(function, "__module__", None)
    return module is not None and module.partition(".")[0] != "unidl"


def skip_foreign(app: Sphinx, what: str, name: str, value: object, skip: bool, options: object) -> bool | None:
    """Leave members out that a class of unidl inherits from elsewhere: their pages are elsewhere."""
    return True if is_foreign(value) else None


def setup(app: Sphinx) -> None:
    """Write the generated pages before Sphinx looks for pages."""
    generators.write_all(DOCS / "reference" / "generated")
    app.connect("autodoc-skip-member", skip_foreign)
