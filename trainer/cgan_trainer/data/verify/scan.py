"""Looks once at every image of a dataset and notes what the checks need."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cgan_trainer.data.decoding import Bytes, in_threads
from cgan_trainer.data.domains import MAX_DERIVED

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageFacts", "Sketch", "facts_of", "scan", "stored_as"]

NEARLY_EMPTY = 1.0  # standard deviation of the pixels, of 255
SAMPLED_SIDE = 256  # colours are counted on at most that many rows and columns, without blending
SKETCH_SIDE = 32

Sketch = np.ndarray[Any, np.dtype[np.float32]]
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """One image, or one side of a pair.

    Attributes:
        size: width and height.
        stored: format and mode of the file, "JPEG RGB" for example.
        sha256: of size and pixels.
        empty: nearly one colour.
        high: the value that one in a thousand is above, 0..255: a hot pixel is not a bright image.
        grey: red, green and blue are equal.
        colors: 24-bit colours that occur; None where they are more than a label map has, or were not counted.
        sketch: where the outlines are, mean 0 and length 1; None where it was not taken.
    """

    size: tuple[int, int]
    stored: str
    sha256: str
    empty: bool
    high: int
    grey: bool
    colors: frozenset[int] | None
    sketch: Sketch | None


def scan(look: Callable[[T], U], work: Sequence[T], on_file: Callable[[int, int], None] | None) -> list[U]:
    """`look` at everything, on every core.

    Args:
        look: what is done with each item.
        work: the items.
        on_file: told (items done, items in all) after each, on the calling thread.
    """
    found = []
    with contextlib.closing(in_threads(look, work)) as results:
        for result in results:
            found.append(result)
            if on_file is not None:
                on_file(len(found), len(work))
    return found


def stored_as(path: Path) -> str:
    """Format and mode of an image file.

    Raises:
        OSError: it cannot be read.
    """
    import PIL.Image

    with PIL.Image.open(path) as image:
        return f"{image.format} {image.mode}"


def facts_of(image: Image, stored: str, *, colors: bool, sketched: bool = False) -> ImageFacts:
    """What the checks need of an RGB image.

    Args:
        image: the image.
        stored: format and mode of its file.
        colors: count its colours.
        sketched: note where its outlines are.
    """
    pixels: Bytes = np.asarray(image)
    thin = pixels[:: -(-pixels.shape[0] // SAMPLED_SIDE), :: -(-pixels.shape[1] // SAMPLED_SIDE)].astype(np.int32)
    return ImageFacts(
        size=image.size,
        stored=stored,
        sha256=hashlib.sha256(f"{image.size}".encode() + pixels.tobytes()).hexdigest(),
        empty=float(thin.std(axis=(0, 1)).max()) < NEARLY_EMPTY,
        high=int(np.percentile(thin, 99.9)),
        grey=bool((thin == thin[..., :1]).all()),
        colors=_colors(thin) if colors else None,
        sketch=_sketch(image) if sketched else None,
    )


def _colors(thin: np.ndarray[Any, np.dtype[np.int32]]) -> frozenset[int] | None:
    found = np.unique(thin[..., 0] << 16 | thin[..., 1] << 8 | thin[..., 2])
    return frozenset(found.tolist()) if len(found) <= MAX_DERIVED else None


def _sketch(image: Image) -> Sketch:
    """Strength of the gradient on a coarse grid: alike for two views of one thing, whatever their colours."""
    small = np.asarray(image.convert("L").resize((SKETCH_SIDE + 1, SKETCH_SIDE + 1)), dtype=np.float32)
    strength = np.hypot(np.diff(small, axis=0)[:, :-1], np.diff(small, axis=1)[:-1])
    centred = strength - strength.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6), dtype=np.float32).ravel()
