"""The range that values of more than 8 bits are meant in: by the largest value of all splits of a dataset.

An image alone cannot tell 12 bits from 16; a dataset can. Extents are kept in the cache, so a second start opens no
file; datasets of 8-bit formats open none at all.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import PLAIN, Extent, Limits, Range, is_wide, parse_range, range_of, wide_values
from cgan_runtime.images import decode_image, stored_mode

from cgan_trainer.data.arrays import Decoding, load_arrays
from cgan_trainer.data.cache import cache_folder, extents_folder, key_of
from cgan_trainer.data.decoding import ArraySpec, Rows
from cgan_trainer.data.layouts.base import SPLITS

__all__ = ["Found", "all_listings", "find_ranges"]

EIGHT_BIT = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif"))
KINDS = ("integers", "floats")

Listing_co = TypeVar("Listing_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The ranges of a dataset.

    Attributes:
        limits: by side.
        told: a sentence for each side with values of more than 8 bits.
    """

    limits: Mapping[str, Limits]
    told: tuple[str, ...] = ()

    @property
    def key(self) -> list[object]:
        """What a cache key takes of it; nothing where all values have 8 bits."""
        ranges = {side: (one.integers, one.floats) for side, one in self.limits.items() if one != PLAIN}
        return [sorted(ranges.items())] if ranges else []


class _Splits(Protocol[Listing_co]):
    """What the layouts of every kind have in common."""

    def has(self, split: str) -> bool: ...

    def listing(self, split: str) -> Listing_co: ...


def all_listings(layout: _Splits[Listing_co]) -> list[Listing_co]:
    """Those of every split that can be used: what is wrong with another is told when it is asked for."""
    found = []
    for split in SPLITS:
        if layout.has(split):
            with contextlib.suppress(BadInputError):
                found.append(layout.listing(split))
    return found


def find_ranges(root: Path, sides: Mapping[str, Iterable[Path]], asked: str, cache: Path | None) -> Found:
    """The ranges that the images of each side are read by.

    Args:
        root: the dataset, for messages.
        sides: the files of all splits, by what the side is called; those of label maps stay out.
        asked: "auto", or a range.
        cache: where extents are kept; None means the user's cache folder.

    Raises:
        ValueError: `asked` is no range.
        BadInputError: no usual range holds the values of a side.
    """
    given = parse_range(asked)
    if given is not None:
        return Found(limits=dict.fromkeys(sides, Limits(integers=given, floats=given)))
    wanted = {
        side: {path for path in paths if path.suffix.lower() not in EIGHT_BIT} for side, paths in sides.items()
    }
    extents = _extents(root, sorted(set().union(*wanted.values())), cache)
    limits, told = {}, []
    for side, paths in wanted.items():
        ranges: dict[str, Range] = {}
        for kind in KINDS:
            seen = [extents[path][kind] for path in paths if kind in extents.get(path, {})]
            if seen:
                ranges[kind], said = _range_of(root, side, kind, functools.reduce(Extent.joined, seen))
                told.append(said)
        limits[side] = Limits(**ranges)
    return Found(limits=limits, told=tuple(told))


def _range_of(root: Path, side: str, kind: str, extent: Extent) -> tuple[Range, str]:
    where = "the images" if side == "images" else f"the images of {side}"
    says = f"{root}: {where} have {kind} from {extent.low:.6g} to {extent.high:.6g}"
    found = range_of(extent, floats=kind == "floats")
    if found is None:
        raise BadInputError(f"{says}, which is no usual range: give the one they are meant in by --range LOW,HIGH.")
    return found, f"{says}: read as {found[0]:g}..{found[1]:g}; --range gives another."


def _extents(root: Path, paths: list[Path], cache: Path | None) -> dict[Path, dict[str, Extent]]:
    """By file the extent of its values, by their kind; 8-bit and broken files are absent."""

    def read(row: int) -> list[list[float]]:
        if not is_wide(stored_mode(paths[row])):
            return [[np.nan, np.nan, np.nan]]
        values = wide_values(decode_image(paths[row], caps=False), str(paths[row]))
        return [[float(values.dtype.kind == "f"), float(values.min()), float(values.max())]]

    if not paths:
        return {}
    names = tuple(str(path) for path in paths)
    rows = Rows(names=names, arrays={"extent": ArraySpec(shape=(3,), dtype="float64")}, read=read)
    work = Decoding(
        where=str(root),
        unit="images",
        size=0,
        key=key_of(["extents"], zip(names, paths, strict=True)),
        groups=(rows,),
        head=lambda files: ["extents", files["extent"]],
    )
    try:
        entry = load_arrays(work, extents_folder(cache or cache_folder()))
    except BadInputError:  # every one is broken: whoever decodes them says so
        return {}
    found = zip(entry.files["extent"], entry.arrays["extent"].tolist(), strict=True)
    return {
        Path(name): {KINDS[int(kind)]: Extent(low=low, high=high)}
        for name, (kind, low, high) in found
        if not np.isnan(low)
    }
