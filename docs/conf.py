"""Sphinx configuration: MyST pages, API pages from docstrings, pages of plug-ins generated from the registries."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Vestige"
author = "The Vestige authors"
release = version_of("vestige")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build", "tables"]
html_theme = "furo"
html_title = "Vestige"
html_static_path = ["_static"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
nitpicky = False
