"""Labelled images before training: can they be read, has each split every class, are labels and splits clean?"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import Limits

from cgan_trainer.data.kinds.labelled import LabelledData
from cgan_trainer.data.layouts import SPLITS, LabelledFiles, LabelledLayout, find_labelled
from cgan_trainer.data.layouts.base import Orphan
from cgan_trainer.data.layouts.class_folders import ClassFolders
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

__all__ = ["verify_labelled"]


@dataclass(frozen=True, kw_only=True)
class _Labelled:
    """One image that can be read, with the number of its class."""

    name: str
    split: str
    label: int
    image: ImageFacts


@dataclass(frozen=True, kw_only=True)
class _Found:
    """All of a dataset.

    Attributes:
        images: what can be read.
        broken: sentences on what cannot.
        refused: split to sentence, where a split's place is there but nothing of use in it.
    """

    classes: tuple[str, ...]
    images: tuple[_Labelled, ...]
    broken: tuple[str, ...]
    refused: dict[str, str]

    def of(self, split: str) -> tuple[_Labelled, ...]:
        """The images of one split."""
        return tuple(image for image in self.images if image.split == split)


def verify_labelled(
    root: Path, size: int, on_file: Callable[[int, int], None] | None = None, value_range: str = "auto"
) -> Verdict:
    """Look at every labelled image of a dataset.

    Args:
        root: the dataset folder, or a list of images and labels.
        size: side in pixels that training would use.
        on_file: told (images done, images in all) after each image.
        value_range: of values of more than 8 bits: "auto", "4095", "-1000,1000".

    Raises:
        BadInputError: no training could start with it.
    """
    layout = find_labelled(root)
    layout.listing("train")  # raises, with the sentence a training would give
    ranges = LabelledData(size, value_range=value_range).ranges(layout)
    found = _look(layout, ranges.limits["images"], on_file)
    if not found.of("train"):
        raise BadInputError(f"none of the train images can be read; the first: {found.broken[0]}")
    usable = [split for split in ("val", "test") if found.of(split)]
    can_split = isinstance(layout, ClassFolders)
    grey = all(one.image.grey for one in found.images)
    mode = () if grey else ("--mode", "rgb")
    empty = [f"{one.split}/{one.name}" for one in found.images if one.image.empty]
    return Verdict(
        data=str(root),
        kind="labelled",
        unit="images",
        layout=f"{layout.kind} ({layout.seen})",
        splits={split: len(found.of(split)) for split in SPLITS if found.of(split)},
        sides={"images": told(one.image for one in found.images)},
        checks=(
            _held_out(found),
            readable_check(list(found.broken)),
            _classes(found),
            _no_leak(found),
            _one_label(found),
            content_check(empty, len(found.images), "are of nearly one colour"),
            bright_check({"images": [one.image for one in found.images]}),
        ),
        hints=(*ranges.told, *_hints(found, size, grey)),
        size=size,
        decoded_bytes=len(found.images) * (1 if grey else 3) * size * size,
        command=next_command(
            "labelled", root, size, *mode, value_range=value_range, held_out=bool(usable), can_split=can_split
        ),
        classes=_counts(found),
    )


def _look(layout: LabelledLayout, limits: Limits, on_file: Callable[[int, int], None] | None) -> _Found:
    work: list[tuple[str, LabelledFiles, int]] = []
    orphans: list[Orphan] = []
    listings, refused = listings_of(layout)
    for split, listing in listings.items():
        orphans += listing.orphans
        work += [(split, listing, row) for row in range(len(listing))]
    looked = scan(functools.partial(_look_at, limits), work, on_file)
    return _Found(
        classes=layout.classes,
        images=tuple(one for one in looked if isinstance(one, _Labelled)),
        broken=(*(orphan.problem for orphan in orphans), *(one for one in looked if isinstance(one, str))),
        refused=refused,
    )


def _look_at(limits: Limits, item: tuple[str, LabelledFiles, int]) -> _Labelled | str:
    split, listing, row = item
    try:
        image = listing.open(row, "rgb", limits)
        stored = listing.stored or stored_as(listing.read[row][1])
    except (BadInputError, OSError) as error:
        return str(error)
    facts = facts_of(image, stored, colors=False)
    return _Labelled(name=listing.names[row], split=split, label=listing.labels[row], image=facts)


def _counts(found: _Found) -> dict[str, dict[str, int]]:
    counts = Counter((one.label, one.split) for one in found.images)
    return {
        name: {split: counts[label, split] for split in SPLITS if counts[label, split]}
        for label, name in enumerate(found.classes)
    }


def _held_out(found: _Found) -> Check:
    usable = [split for split in ("val", "test") if found.of(split)]
    advice = "training needs some images it never learns from: move a tenth of each class to val."
    return held_out_check("images", usable, found.refused, advice)


def _classes(found: _Found) -> Check:
    """A class without images cannot be learnt; one that is only held out is not known."""
    missing = [
        f"{name} has no image in {split}"
        for name, counts in _counts(found).items()
        for split in ("train", *(split for split in ("val", "test") if found.of(split)))
        if split not in counts
    ]
    fine = f"each of the {len(found.classes)} classes has images in every split"
    return check_of("classes", missing, fine, "times a class has no image in a split")


def _no_leak(found: _Found) -> Check:
    seen = {one.image.sha256: one.name for one in found.of("train") if not one.image.empty}
    leaks = [
        f"{one.split}/{one.name} is the same as train/{seen[one.image.sha256]}"
        for one in found.images
        if one.split != "train" and one.image.sha256 in seen
    ]
    return leak_check(leaks)


def _one_label(found: _Found) -> Check:
    """The same pixels under two labels: one of them is wrong, or nobody can tell."""
    first: dict[str, _Labelled] = {}
    twice = []
    for one in found.images:
        other = first.setdefault(one.image.sha256, one)
        if other.label != one.label and not one.image.empty:
            classes = f"{found.classes[one.label]} and {found.classes[other.label]}"
            twice.append(f"{one.split}/{one.name} and {other.split}/{other.name}: {classes}")
    return check_of("labels", twice, "no image is in two classes", "images are in two classes")


def _hints(found: _Found, size: int, grey: bool) -> list[str]:
    hints = ["the images are grey."] if grey else []
    counts = Counter(one.label for one in found.of("train"))
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many > UNEVEN * few:
        hints.append(f"{found.classes[most]} has {many} train images, but {found.classes[least]} only {few}.")
    shapes = Counter(one.image.size for one in found.images)
    return hints + size_hints(shapes, size, "images", least=32)
