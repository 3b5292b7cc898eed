"""Sample grids as pictures inside the page: the newest large, earlier ones beside it, all within a budget."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from cgan_trainer.watching.html import Markup, element, join

__all__ = ["Frame", "frames", "show", "spread"]

_COLUMNS = ("condition", "seed 1", "seed 2", "seed 3", "target")
_MOST_FRAMES = 12
_NEWEST_WIDTH, _EARLIER_WIDTH, _THUMBNAIL_WIDTH = 1280, 800, 112
_MOST_BYTES = 4_000_000
_Any = TypeVar("_Any")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One grid, ready to be put into a page."""

    images: int
    path: Path
    width: int
    height: int
    picture: str
    """As a data URI, and `thumbnail`: the first made picture of the grid."""
    thumbnail: str

    @property
    def bytes(self) -> int:
        """What it adds to the page."""
        return len(self.picture) + len(self.thumbnail)


def spread(items: Sequence[_Any], most: int) -> list[_Any]:
    """The first, the last, and every second, fourth, eighth, ... between, so that at most `most` are left.

    Strides double as a run grows: what is shown once stays or goes for ever, and need not be encoded again.
    """
    stride = 1
    while len(chosen := sorted({*range(0, len(items), stride), len(items) - 1})) > max(most, 2):
        stride *= 2
    return [items[index] for index in chosen if index >= 0]


def frames(samples: Sequence[tuple[int, Path]], *, most_bytes: int = _MOST_BYTES) -> list[Frame]:
    """Encode (images, grid) pairs, thinned evenly until they fit; a grid that cannot be read is left out.

    The newest is up to 1280 pixels wide, earlier ones up to 800. A first call decodes a dozen PNGs; later ones in
    the same process only what is new.
    """
    most = _MOST_FRAMES
    while True:
        chosen = spread(samples, most)
        made = [_frame(*sample, _EARLIER_WIDTH) for sample in chosen[:-1]]
        made += [_frame(*sample, _NEWEST_WIDTH) for sample in chosen[-1:]]
        shown = [frame for frame in made if frame is not None]
        if sum(frame.bytes for frame in shown) <= most_bytes:
            return shown
        if most <= 2:
            return [frame for frame in shown[-1:] if frame.bytes <= most_bytes]
        most = most * 2 // 3


def show(shown: Sequence[Frame], run: Path) -> Markup:
    """The viewer: large picture, slider, film strip. Without scripts, a strip to scroll with links into it."""
    if not shown:
        return element("p", "No samples yet: the first are drawn at the first save.", class_="quiet")
    newest = shown[-1]
    large = [_large(frame, run, newest=frame is newest) for frame in reversed(shown)]
    parts = [
        element("div", *(element("span", name) for name in _COLUMNS), class_="columns", aria_hidden="true"),
        element("div", *large, class_="frames", tabindex=0),
    ]
    if len(shown) > 1:
        parts += [
            _slider(shown),
            element("nav", *map(_small, shown), class_="strip", aria_label="Samples over time"),
        ]
    return join(*parts)


def _large(frame: Frame, run: Path, *, newest: bool) -> Markup:
    said = f"Rows: fixed validation pairs. Columns: {', '.join(_COLUMNS)}. After {frame.images:,} images."
    picture = element("img", src=frame.picture, width=frame.width, height=frame.height, alt=said)
    file = frame.path.relative_to(run).as_posix()
    caption = element(
        "figcaption",
        f"After {frame.images:,} images" + (", the newest" if newest else ""),
        " · ",
        element("a", "full size", href=file),
    )
    return element("figure", picture, caption, id=f"images-{frame.images}")


def _slider(shown: Sequence[Frame]) -> Markup:
    last = len(shown) - 1
    return element(
        "label",
        element("span", f"{shown[0].images:,}"),
        element("input", type="range", min=0, max=last, value=last, aria_label="Samples after how many images"),
        element("span", f"{shown[-1].images:,}"),
        class_="slide",
    )


def _small(frame: Frame) -> Markup:
    picture = element("img", src=frame.thumbnail, width=_THUMBNAIL_WIDTH, height=_THUMBNAIL_WIDTH, alt="")
    return element("a", picture, element("span", f"{frame.images:,}"), href=f"#images-{frame.images}")


def _frame(images: int, path: Path, width: int) -> Frame | None:
    try:
        status = path.stat()
        return _encoded(images, path, width, status.st_mtime_ns, status.st_size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None


@functools.lru_cache(maxsize=64)
def _encoded(images: int, path: Path, width: int, modified_ns: int, size: int) -> Frame:
    """JPEG with full colour resolution: label maps keep their edges, and it takes a tenth of WebP's time."""
    del modified_ns, size  # they tell one content of `path` from another
    with Image.open(path, formats=("PNG",)) as opened:
        grid = opened.convert("RGB")
    cell = grid.width // len(_COLUMNS)
    first = grid.crop((cell, 0, 2 * cell, min(cell, grid.height)))
    thumbnail = first.resize((2 * _THUMBNAIL_WIDTH, 2 * _THUMBNAIL_WIDTH), Image.Resampling.BILINEAR)
    if grid.width > width:
        height = max(1, round(grid.height * width / grid.width))
        grid = grid.resize((width, height), Image.Resampling.LANCZOS)
    return Frame(
        images=images,
        path=path,
        width=grid.width,
        height=grid.height,
        picture=_data_uri(grid, 85),
        thumbnail=_data_uri(thumbnail, 75),
    )


def _data_uri(picture: Image.Image, quality: int) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
