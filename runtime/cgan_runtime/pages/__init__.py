"""HTML pages of one look: each is one file that loads nothing and can be mailed."""

from __future__ import annotations

from cgan_runtime.pages.formatting import readable, readable_time, short
from cgan_runtime.pages.images import data_uri
from cgan_runtime.pages.render import render, write_page
from cgan_runtime.pages.values import CaptionedImage, Cell, Exhibit, Mark, Table

__all__ = [
    "CaptionedImage",
    "Cell",
    "Exhibit",
    "Mark",
    "Table",
    "data_uri",
    "readable",
    "readable_time",
    "render",
    "short",
    "write_page",
]
