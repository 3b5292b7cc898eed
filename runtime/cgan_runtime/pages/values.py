"""What the shared macros of the pages show: tables, and rows of images with captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CaptionedImage", "Cell", "Exhibit", "Mark", "Table"]

Mark = Literal["", "best", "quiet", "ok", "bad"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table that is not plain text: the best of its row, a verdict, a name with its unit.

    Attributes:
        mark: how it stands out.
        note: a few words below it, small.
    """

    text: str
    mark: Mark = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; it scrolls sideways where the screen is narrow.

    Attributes:
        rows: the first cell of each is its heading.
        heads: a heading for each column; empty: none.
        text: whether the columns after the first hold words, set to the left and wrapped; else figures, to the
            right and never wrapped.
        quiet: numbers of the rows that stand back, such as the truth among generators.
        strong: numbers of the rows to look at first.
    """

    rows: tuple[tuple[str | Cell, ...], ...]
    heads: tuple[str | Cell, ...] = ()
    text: bool = False
    quiet: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class CaptionedImage:
    """An image of a page.

    Attributes:
        uri: the image itself, as a data URI.
        heading: what it is, shown below it.
        alt: the same for those who do not see it, with the name of its row.
        sharp: show pixels as squares, for maps that are looked at pixel by pixel.
    """

    uri: str
    heading: str
    alt: str
    sharp: bool = False


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A row of images, and short lines that say which row it is.

    Attributes:
        images: from left to right.
        caption: the lines; none: no room is kept for them.
        file: the name of the file the row was made from, shown where the pointer rests on an image.
    """

    images: tuple[CaptionedImage, ...]
    caption: tuple[str, ...] = ()
    file: str = ""
