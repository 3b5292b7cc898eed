"""Sample grids as images inside the page: the newest large, earlier ones beside it, all within a budget."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cgan_runtime.pages import data_uri
from PIL import Image

__all__ = ["Frame", "Headings", "frames", "headings", "spread"]

_MOST_FRAMES = 12
_NEWEST_WIDTH, _EARLIER_WIDTH, _THUMBNAIL_WIDTH = 1280, 800, 112
_MOST_BYTES = 4_000_000
_Any = TypeVar("_Any")


@dataclass(frozen=True, kw_only=True)
class Headings:
    """What the columns of a grid are, and its rows; no rows: they have no names."""

    columns: tuple[str, ...]
    rows: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The headings in words, for those who do not see the grid."""
        rows = f"Rows: {', '.join(self.rows)}. " if self.rows else ""
        return f"{rows}Columns: {', '.join(self.columns)}."


_OLDER_RUNS = Headings(columns=("condition", "seed 1", "seed 2", "seed 3", "target"))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One grid, ready to be put into a page."""

    images: int
    path: Path
    width: int
    height: int
    uri: str
    """As a data URI, and `thumbnail`: the first made image of the grid."""
    thumbnail: str

    @property
    def bytes(self) -> int:
        """Bytes that this sample adds to the page."""
        return len(self.uri) + len(self.thumbnail)


def headings(config: Mapping[str, object]) -> Headings:
    """The headings that config.json has under "grid"; without them those of the runs that did not write them."""
    grid = config.get("grid")
    if not isinstance(grid, Mapping):
        return _OLDER_RUNS
    columns = _names(grid.get("columns"))
    return Headings(columns=columns, rows=_names(grid.get("rows"))) if columns else _OLDER_RUNS


def spread(items: Sequence[_Any], most: int) -> list[_Any]:
    """The first, the last, and every second, fourth, eighth, ... between, so that at most `most` are left.

    Strides double as a run grows: what is shown once stays or goes for ever, and need not be encoded again.
    """
    stride = 1
    while len(chosen := sorted({*range(0, len(items), stride), len(items) - 1})) > max(most, 2):
        stride *= 2
    return [items[index] for index in chosen if index >= 0]


def frames(samples: Sequence[tuple[int, Path]], names: Headings, *, most_bytes: int = _MOST_BYTES) -> list[Frame]:
    """Encode (images, grid) pairs, thinned evenly until they fit; a grid that cannot be read is left out.

    The newest is up to 1280 pixels wide, earlier ones up to 800. A first call decodes a dozen PNGs; later ones in
    the same process only what is new.
    """
    most, cells = _MOST_FRAMES, (len(names.columns), len(names.rows))
    while True:
        chosen = spread(samples, most)
        made = [_frame(*sample, _EARLIER_WIDTH, cells) for sample in chosen[:-1]]
        made += [_frame(*sample, _NEWEST_WIDTH, cells) for sample in chosen[-1:]]
        shown = [frame for frame in made if frame is not None]
        if sum(frame.bytes for frame in shown) <= most_bytes:
            return shown
        if most <= 2:
            return [frame for frame in shown[-1:] if frame.bytes <= most_bytes]
        most = most * 2 // 3


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _frame(images: int, path: Path, width: int, cells: tuple[int, int]) -> Frame | None:
    try:
        status = path.stat()
        return _encoded(images, path, width, cells, status.st_mtime_ns, status.st_size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None


@functools.lru_cache(maxsize=64)
def _encoded(images: int, path: Path, width: int, cells: tuple[int, int], modified_ns: int, size: int) -> Frame:
    """One grid as JPEG, which takes a tenth of the time of WebP: a page is written at every save."""
    del modified_ns, size  # they tell one content of `path` from another
    with Image.open(path, formats=("PNG",)) as opened:
        grid = opened.convert("RGB")
    thumbnail = grid.crop(_first_made(grid, *cells))
    thumbnail = thumbnail.resize((2 * _THUMBNAIL_WIDTH, 2 * _THUMBNAIL_WIDTH), Image.Resampling.BILINEAR)
    if grid.width > width:
        height = max(1, round(grid.height * width / grid.width))
        grid = grid.resize((width, height), Image.Resampling.LANCZOS)
    return Frame(
        images=images,
        path=path,
        width=grid.width,
        height=grid.height,
        uri=data_uri(grid, "jpeg", quality=85),
        thumbnail=data_uri(thumbnail, "jpeg", quality=75),
    )


def _first_made(grid: Image.Image, columns: int, rows: int) -> tuple[int, int, int, int]:
    """The second cell of the first row: the first is what was given, where a grid shows that."""
    width = max(1, grid.width // columns)
    height = max(1, grid.height // rows) if rows else min(width, grid.height)
    left = width if columns > 1 else 0
    return left, 0, left + width, height
