"""A split of pairs, decoded once: from files in any layout to two tensors, side A and side B of the dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import PLAIN, Limits
from cgan_runtime.progress import note
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.arrays import Decoding, load_arrays, name_problems
from cgan_trainer.data.cache import key_of
from cgan_trainer.data.decoding import ArraySpec, Bytes, Modes, Rows, open_pair, pixels_of
from cgan_trainer.data.domains import Domains, palette_of, read_domains
from cgan_trainer.data.layouts import Layout, PairFiles, find_layout
from cgan_trainer.data.layouts.held_out import held_out_split
from cgan_trainer.data.value_ranges import Found, all_listings, find_ranges

__all__ = [
    "Domains",
    "Modes",
    "Pairs",
    "count_pairs",
    "find_validation",
    "load_pairs",
    "pair_ranges",
    "palette_of",
    "read_domains",
]

RGB: Modes = ("rgb", "rgb")


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """A split in memory: the loader never waits for a decoder.

    Attributes:
        files: names of the pairs, in the order of the rows.
        a: side A, 0..255; 3 channels, or 1 for grey.
        b: side B, likewise.
        sha256: hex digest over names and pixels: equal digests train equal weights.
        skipped: names of what is in the dataset but broken or without partner.
        limits: the ranges that values of more than 8 bits of A and of B were scaled by.
    """

    files: tuple[str, ...]
    a: UInt8[Tensor, "n ca h w"]
    b: UInt8[Tensor, "n cb h w"]
    sha256: str
    skipped: tuple[str, ...] = ()
    limits: tuple[Limits, Limits] = (PLAIN, PLAIN)

    def __len__(self) -> int:
        return len(self.files)


def find_validation(root: Path) -> str:
    """`val`, or `test` where held-out images are called that.

    Raises:
        BadInputError: there are none.
    """
    where = f"{root / 'val'}" if root.is_dir() else "rows with split val"
    missing = f"{root} has no images under val/ or test/: put some held-out pairs into {where}."
    return held_out_split(find_layout(root), missing)


def count_pairs(root: Path, split: str) -> int:
    """How many pairs a split lists; the images are not opened.

    Raises:
        BadInputError: as `load_pairs`, where names alone show it.
    """
    return len(find_layout(root).listing(split).pairs)


def load_pairs(
    root: Path,
    split: str,
    size: int,
    on_file: Callable[[int, int], None] | None = None,
    *,
    modes: Modes = RGB,
    strict: bool = False,
    cache: Path | None = None,
    value_range: str = "auto",
) -> Pairs:
    """Every pair of a split at size x size, resized where it has another size.

    Decoded pixels are kept in the cache; where that cannot be written they are only kept in memory. A broken
    image is named on stderr and left out.

    Args:
        root: the dataset folder, or a list of pairs.
        split: "train", "val" or "test".
        size: side in pixels.
        on_file: told (pairs done, pairs in all) after each pair; once if they come from the cache.
        modes: how the pixels of A and B are meant.
        strict: raise for the first broken image instead.
        cache: where decoded pixels are kept; None means `cache_folder()`.
        value_range: of values of more than 8 bits: "auto", "4095", "-1000,1000".

    Raises:
        BadInputError: the dataset, or its every image, cannot be used; or an image, if strict.
    """
    layout = find_layout(root)
    listing = layout.listing(split)
    if strict and listing.orphans:
        raise BadInputError(listing.orphans[0].problem)
    found = pair_ranges(layout, modes, value_range, cache)
    if split == "train":
        for said in found.told:
            note(said)
    limits = (found.limits.get("A", PLAIN), found.limits.get("B", PLAIN))
    work = Decoding(
        where=str(root),
        unit="pairs",
        size=size,
        key=_key(layout, split, listing.pairs, size, modes, found.key),
        groups=(_rows(listing.pairs, size, modes, limits),),
        # Kept in checkpoints: it stays what it was when sides were always RGB.
        head=lambda files: [files["a"], size] if modes == RGB else [files["a"], size, modes],
        strict=strict,
        on_file=on_file,
    )
    entry = load_arrays(work, cache)
    problems = [(orphan.name, orphan.problem) for orphan in listing.orphans] + list(entry.skipped)
    files = entry.files["a"]
    name_problems(root, split, "pairs", [problem for _, problem in problems], len(files) + len(problems))
    return Pairs(
        files=files,
        a=torch.from_numpy(entry.arrays["a"]),
        b=torch.from_numpy(entry.arrays["b"]),
        sha256=entry.sha256,
        skipped=tuple(name for name, _ in problems),
        limits=limits,
    )


def pair_ranges(layout: Layout, modes: Modes, value_range: str, cache: Path | None = None) -> Found:
    """The ranges of the sides "A" and "B"; class numbers of label maps have none.

    Raises:
        BadInputError: no usual range holds the values of a side.
    """
    pairs = [pair for listing in all_listings(layout) for pair in listing.pairs]
    sides = {"A": [pair.a for pair in pairs], "B": [pair.b or pair.a for pair in pairs]}
    asked = {side: paths for (side, paths), mode in zip(sides.items(), modes, strict=True) if mode != "labels"}
    return find_ranges(layout.root, asked, value_range, cache)


def _rows(pairs: tuple[PairFiles, ...], size: int, modes: Modes, limits: tuple[Limits, Limits]) -> Rows:
    def read(row: int) -> list[Bytes]:
        sides = zip(open_pair(pairs[row], modes, limits), modes, strict=True)
        return [pixels_of(image, size, mode) for image, mode in sides]

    return Rows(
        names=tuple(pair.name for pair in pairs),
        arrays={side: ArraySpec.of_images(size, mode) for side, mode in zip("ab", modes, strict=True)},
        read=read,
    )


def _key(
    layout: Layout, split: str, pairs: tuple[PairFiles, ...], size: int, modes: Modes, ranges: list[object]
) -> str:
    files = ((pair.name, path) for pair in pairs for path in (pair.a, pair.b) if path is not None)
    return key_of(["paired", layout.kind, str(layout.root.resolve()), split, size, *modes, *ranges], files)
