"""The documentation as a site: the Markdown files of the repository and the API's docstrings.

.venv/bin/sphinx-build -W -c docs/site . docs/site/built
"""

import logging
import re

from sphinx.application import Sphinx

from surgrec import __version__

# On a machine without a cache of fonts, matplotlib tells that it writes one.
logging.getLogger("matplotlib").setLevel(logging.WARNING)

project = "SurgRec"
author = "The SurgRec authors"
copyright = "The SurgRec authors"
release = __version__

# The source is the repository's root, so that a link works in the repository and on the site.
root_doc = "docs/site/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/site/*.md",
    "recipes/*.md",
    "surgrec/*/*.md",
    "tools/shard/*.md",
    "docker/*.md",
    "benchmarks/*.md",
    "tests/objectives/*.md",
]
exclude_patterns = ["docs/site/built", "surgrec/recipes"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
# Single backticks in a docstring are code, also where a line ends within them.
default_role = "code"
html_theme = "furo"
html_title = f"SurgRec {release}"
html_static_path: list[str] = []
html_show_sphinx = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False


def _markdown_to_rst(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turn code in a docstring from Markdown to reStructuredText: `x` and fenced blocks."""
    text = re.sub(r"(?<!`)`([^`\n]+)`(?![`_])", r"``\1``", "\n".join(lines))

    def block(found: re.Match[str]) -> str:
        code = "".join(f"    {line}\n" for line in found.group(2).splitlines())
        indent = found.group(1)
        return f"{indent}.. code-block:: python\n\n{code}"

    text = re.sub(r"^( *)```python\n(.*?)^ *```$", block, text, flags=re.MULTILINE | re.DOTALL)
    lines[:] = text.split("\n")


_FIELDS: dict[str, list[str]] = {}
"""Text of each field of a class, by its full name."""


def _keep_field(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep the text of a field: napoleon takes words before a colon for its type."""
    if what == "attribute":
        _FIELDS[name] = list(lines)


def _restore_field(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = _FIELDS.get(name, lines) if what == "attribute" else lines


def setup(app: Sphinx) -> None:
    """Work on docstrings before and after napoleon, which reads their sections at 500."""
    app.connect("autodoc-process-docstring", _markdown_to_rst, priority=400)
    app.connect("autodoc-process-docstring", _keep_field, priority=410)
    app.connect("autodoc-process-docstring", _restore_field, priority=600)
