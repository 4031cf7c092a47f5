"""How the pages become a site: python -m sphinx -W docs FOLDER (pip install "nspike[docs]")."""

import nspike

project = "nspike"
author = "the authors of nspike"
version = release = nspike.__version__
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"nspike {release}"
html_show_copyright = False
html_copy_source = False
highlight_language = "none"
smartquotes = False
myst_heading_anchors = 3
"""Headings down to this level can be linked to, by GitHub's names."""
