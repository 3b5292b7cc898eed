"""Two domains before training: can they be read, are both there in every split, is an image in two places?"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.domains import read_domains
from cgan_trainer.data.images import open_image
from cgan_trainer.data.kinds.unpaired import UnpairedData
from cgan_trainer.data.layouts import SPLITS, find_unpaired
from cgan_trainer.data.value_ranges import Found
from cgan_trainer.data.verify.base import (
    UNEVEN,
    Check,
    Verdict,
    bright_check,
    check_of,
    content_check,
    held_out_check,
    leak_check,
    listings_of,
    next_command,
    readable_check,
    size_hints,
    told,
)
from cgan_trainer.data.verify.scan import ImageFacts, facts_of, scan, stored_as

__all__ = ["verify_unpaired"]


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One image that can be read; `name` is its path below the dataset."""

    name: str
    split: str
    side: str
    image: ImageFacts


@dataclass(frozen=True, kw_only=True)
class _Found:
    """All of a dataset; `broken` has sentences on what cannot be read."""

    images: tuple[_Member, ...]
    broken: tuple[str, ...]
    refused: dict[str, str]

    def of(self, split: str, side: str) -> tuple[_Member, ...]:
        """The images of one domain of one split."""
        return tuple(one for one in self.images if (one.split, one.side) == (split, side))


def verify_unpaired(
    root: Path, size: int, on_file: Callable[[int, int], None] | None = None, value_range: str = "auto"
) -> Verdict:
    """Look at every image of both domains.

    Args:
        root: the dataset folder.
        size: side in pixels that training would use.
        on_file: told (images done, images in all) after each image.
        value_range: of values of more than 8 bits: "auto", "4095", "-1000,1000".

    Raises:
        BadInputError: no training could start with it.
    """
    layout = find_unpaired(root)
    layout.listing("train")  # raises, with the sentence a training would give
    read_domains(root)
    ranges = UnpairedData(size, value_range=value_range).ranges(layout)
    found = _look(root, ranges, on_file)
    for side in "AB":
        if not found.of("train", side):
            raise BadInputError(
                f"none of the images in {layout.folder(side, 'train')} can be read; the first: {found.broken[0]}"
            )
    empty = [one.name for one in found.images if one.image.empty]
    return Verdict(
        data=str(root),
        kind="unpaired",
        unit="images",
        layout=f"two domains ({layout.seen})",
        splits={
            f"{split}{side}": len(found.of(split, side))
            for split in SPLITS
            for side in "AB"
            if found.of(split, side)
        },
        sides={side: told(one.image for one in found.images if one.side == side) for side in "AB"},
        checks=(
            _held_out(found),
            readable_check(list(found.broken)),
            _no_leak(found),
            _two_domains(found),
            content_check(empty, len(found.images), "are of nearly one colour"),
            bright_check({side: [one.image for one in found.images if one.side == side] for side in "AB"}),
        ),
        hints=(*ranges.told, *_hints(found, size)),
        size=size,
        decoded_bytes=len(found.images) * 3 * size * size,
        command=next_command("unpaired", root, size, value_range=value_range, held_out=bool(_usable(found))),
    )


def _look(root: Path, ranges: Found, on_file: Callable[[int, int], None] | None) -> _Found:
    layout = find_unpaired(root)
    work: list[tuple[Path, str, str, Path]] = []
    listings, refused = listings_of(layout)
    for split, listing in listings.items():
        work += [(root, split, side, path) for side, paths in listing.items() for path in paths]
    looked = scan(functools.partial(_look_at, ranges), work, on_file)
    return _Found(
        images=tuple(one for one in looked if isinstance(one, _Member)),
        broken=tuple(one for one in looked if isinstance(one, str)),
        refused=refused,
    )


def _look_at(ranges: Found, item: tuple[Path, str, str, Path]) -> _Member | str:
    root, split, side, path = item
    try:
        facts = facts_of(open_image(path, "rgb", ranges.limits[side]), stored_as(path), colors=False)
    except (BadInputError, OSError) as error:
        return str(error)
    return _Member(name=path.relative_to(root).as_posix(), split=split, side=side, image=facts)


def _usable(found: _Found) -> list[str]:
    return [split for split in ("val", "test") if found.of(split, "A") and found.of(split, "B")]


def _held_out(found: _Found) -> Check:
    usable = _usable(found)
    advice = "training needs some images of both domains it never learns from: move a tenth of each to test."
    return held_out_check("images", usable, found.refused, advice)


def _no_leak(found: _Found) -> Check:
    seen = {one.image.sha256: one.name for one in found.images if one.split == "train" and not one.image.empty}
    leaks = [
        f"{one.name} is the same as {seen[one.image.sha256]}"
        for one in found.images
        if one.split != "train" and one.image.sha256 in seen
    ]
    return leak_check(leaks)


def _two_domains(found: _Found) -> Check:
    in_a = {one.image.sha256: one.name for one in found.images if one.side == "A" and not one.image.empty}
    both = [
        f"{one.name} is the same as {in_a[one.image.sha256]}"
        for one in found.images
        if one.side == "B" and one.image.sha256 in in_a
    ]
    return check_of("two domains", both, "no image is in both domains", "images of B are in A as well")


def _hints(found: _Found, size: int) -> list[str]:
    hints = [f"{side} is grey." for side in "AB" if all(one.image.grey for one in found.images if one.side == side)]
    counts = {side: len(found.of("train", side)) for side in "AB"}
    if max(counts.values()) > UNEVEN * min(counts.values()):
        hints.append(f"train has {counts['A']} images of A and {counts['B']} of B: an epoch is the longer of them.")
    return hints + size_hints(Counter(one.image.size for one in found.images), size, "images", least=64)
