"""Looks once at every picture of a dataset and notes what the checks need."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cgan_runtime.errors import BadInputError

from cgan_trainer.data.decoding import MAX_THREADS, Bytes, open_pair
from cgan_trainer.data.domains import MAX_DERIVED
from cgan_trainer.data.layouts import SPLITS, Layout, PairFiles
from cgan_trainer.data.layouts.base import Orphan

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PairFacts", "SideFacts", "Survey", "survey"]

NEARLY_EMPTY = 1.0  # standard deviation of the pixels, of 255
SAMPLED_SIDE = 256  # colours are counted on at most that many rows and columns, without blending
SKETCH_SIDE = 32
SKETCHES = 400  # pairs of a split whose outlines are compared

Sketch = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class SideFacts:
    """One side of one pair.

    Attributes:
        size: width and height.
        stored: format and mode of the file, "JPEG RGB" for example.
        sha256: of size and pixels.
        empty: nearly one colour.
        grey: red, green and blue are equal.
        colors: 24-bit colours that occur; None where they are more than a label map has.
        sketch: where the outlines are, mean 0 and length 1; None where it was not taken.
    """

    size: tuple[int, int]
    stored: str
    sha256: str
    empty: bool
    grey: bool
    colors: frozenset[int] | None
    sketch: Sketch | None


@dataclass(frozen=True, kw_only=True)
class PairFacts:
    """One pair that can be read."""

    name: str
    split: str
    a: SideFacts
    b: SideFacts


@dataclass(frozen=True, kw_only=True)
class Survey:
    """All of a dataset.

    Attributes:
        pairs: what can be read.
        broken: (split, sentence) of what cannot.
        orphans: (split, sentence) of pictures without partner.
        refused: split to sentence, where a split's place is there but no pair in it.
    """

    layout: Layout
    pairs: tuple[PairFacts, ...]
    broken: tuple[tuple[str, str], ...]
    orphans: tuple[tuple[str, Orphan], ...]
    refused: dict[str, str]

    def of(self, split: str) -> tuple[PairFacts, ...]:
        """The pairs of one split."""
        return tuple(pair for pair in self.pairs if pair.split == split)


def survey(layout: Layout, on_file: Callable[[int, int], None] | None = None) -> Survey:
    """Decode everything once.

    Args:
        layout: of the dataset.
        on_file: told (pairs done, pairs in all) after each pair.
    """
    work: list[tuple[str, PairFiles, bool]] = []
    orphans: list[tuple[str, Orphan]] = []
    refused = {}
    for split in SPLITS:
        if not layout.has(split):
            continue
        try:
            listing = layout.listing(split)
        except BadInputError as error:
            refused[split] = str(error)
            continue
        orphans += [(split, orphan) for orphan in listing.orphans]
        every = -(-len(listing.pairs) // SKETCHES)
        work += [(split, pair, row % every == 0) for row, pair in enumerate(listing.pairs)]
    pairs, broken = [], []
    pool = ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1))
    try:
        for done, found in enumerate(pool.map(lambda item: _look(*item), work), start=1):
            if isinstance(found, PairFacts):
                pairs.append(found)
            else:
                broken.append(found)
            if on_file is not None:
                on_file(done, len(work))
    finally:
        pool.shutdown(cancel_futures=True)
    return Survey(layout=layout, pairs=tuple(pairs), broken=tuple(broken), orphans=tuple(orphans), refused=refused)


def _look(split: str, files: PairFiles, sketched: bool) -> PairFacts | tuple[str, str]:
    try:
        a, b = open_pair(files, ("rgb", "rgb"))
        stored_a = _stored(files.a)
        stored_b = stored_a if files.b is None else _stored(files.b)
    except (BadInputError, OSError) as error:
        return split, str(error)
    return PairFacts(name=files.name, split=split, a=_side(a, stored_a, sketched), b=_side(b, stored_b, sketched))


def _stored(path: Path) -> str:
    import PIL.Image

    with PIL.Image.open(path) as picture:
        return f"{picture.format} {picture.mode}"


def _side(picture: Image, stored: str, sketched: bool) -> SideFacts:
    pixels: Bytes = np.asarray(picture)
    thin = pixels[:: -(-pixels.shape[0] // SAMPLED_SIDE), :: -(-pixels.shape[1] // SAMPLED_SIDE)].astype(np.int32)
    colors = np.unique(thin[..., 0] << 16 | thin[..., 1] << 8 | thin[..., 2])
    return SideFacts(
        size=picture.size,
        stored=stored,
        sha256=hashlib.sha256(f"{picture.size}".encode() + pixels.tobytes()).hexdigest(),
        empty=float(thin.std(axis=(0, 1)).max()) < NEARLY_EMPTY,
        grey=bool((thin == thin[..., :1]).all()),
        colors=frozenset(colors.tolist()) if len(colors) <= MAX_DERIVED else None,
        sketch=_sketch(picture) if sketched else None,
    )


def _sketch(picture: Image) -> Sketch:
    """Strength of the gradient on a coarse grid: alike for two views of one thing, whatever their colours."""
    small = np.asarray(picture.convert("L").resize((SKETCH_SIDE + 1, SKETCH_SIDE + 1)), dtype=np.float32)
    strength = np.hypot(np.diff(small, axis=0)[:, :-1], np.diff(small, axis=1)[:-1])
    centred = strength - strength.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6), dtype=np.float32).ravel()
