"""Settings of Sphinx: `make docs` builds the pages of this folder as HTML, without a network.

The pages are plain Markdown and read the same on a forge. What only Sphinx needs is here.
"""

from __future__ import annotations

import re

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from push import __version__

project = "push-universe"
author = "The push-universe developers"
version = release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# Links to headings, down to this level, by the same anchors as on a forge.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"push-universe {release}"
html_copy_source = False
html_show_copyright = False


def adapt(_: Sphinx, page: str, source: list[str]) -> None:
    """What a forge shows and Sphinx does not, and the other way round."""
    # The Markdown files beside this folder are not among the pages.
    outside = re.escape("../" * (page.count("/") + 1))
    source[0] = re.sub(rf"\[([^]]+)\]\({outside}[\w.-]+\.md\)", r"\1", source[0])
    # The contents of the side bar: the pages that index.md links to, in that order.
    if page == "index":
        pages = dict.fromkeys(re.findall(r"\]\(((?:zh/)?\w+)\.md\)", source[0]))
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def setup(app: Sphinx) -> None:
    # Languages of examples that Pygments does not know; tests find the examples by these names.
    for language in ("frame", "hex"):
        app.add_lexer(language, TextLexer)
    app.connect("source-read", adapt)
