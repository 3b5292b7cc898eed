"""Pairs before training: can they be read, do both sides fit, are held-out ones in train too, are they pairs?"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import Limits

from cgan_trainer.data.decoding import open_pair
from cgan_trainer.data.domains import MAX_DERIVED, Domains, read_domains
from cgan_trainer.data.layouts import SPLITS, Layout, PairFiles, find_layout
from cgan_trainer.data.layouts.base import Orphan
from cgan_trainer.data.pairs import pair_ranges
from cgan_trainer.data.value_ranges import Found
from cgan_trainer.data.verify.base import (
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
    size_text,
    told,
)
from cgan_trainer.data.verify.scan import ImageFacts, facts_of, scan, stored_as

__all__ = ["verify_paired"]

COMPARED_FROM = 20  # pairs; fewer cannot show whether they are pairs
OTHERS = 10  # strangers each A is compared with
SKETCHES = 400  # pairs of a split whose outlines are compared


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One pair that can be read."""

    name: str
    split: str
    a: ImageFacts
    b: ImageFacts


@dataclass(frozen=True, kw_only=True)
class _Found:
    """All of a dataset.

    Attributes:
        pairs: what can be read.
        broken: (split, sentence) of what cannot.
        orphans: images without partner.
        refused: split to sentence, where a split's place is there but no pair in it.
    """

    pairs: tuple[_Pair, ...]
    broken: tuple[tuple[str, str], ...]
    orphans: tuple[Orphan, ...]
    refused: dict[str, str]

    def of(self, split: str) -> tuple[_Pair, ...]:
        """The pairs of one split."""
        return tuple(pair for pair in self.pairs if pair.split == split)


def verify_paired(
    root: Path, size: int, on_file: Callable[[int, int], None] | None = None, value_range: str = "auto"
) -> Verdict:
    """Look at every pair of a dataset.

    Args:
        root: the dataset folder, or a list of pairs.
        size: side in pixels that training would use.
        on_file: told (pairs done, pairs in all) after each pair.
        value_range: of values of more than 8 bits: "auto", "4095", "-1000,1000".

    Raises:
        BadInputError: no training could start with it.
    """
    layout = find_layout(root)
    if not layout.has("train"):
        layout.listing("train")  # raises, with the sentence a training would give
    domains = read_domains(root)
    ranges = pair_ranges(layout, ("rgb", "rgb"), value_range)
    found = _look(layout, ranges, on_file)
    if "train" in found.refused:
        raise BadInputError(found.refused["train"])
    if not found.of("train"):
        count = sum(split == "train" for split, _ in found.broken)
        raise BadInputError(f"none of the {count} train pairs can be read; the first: {found.broken[0][1]}")
    labels = {side: _is_label_map(found, side) for side in ("A", "B")}
    usable = [split for split in ("val", "test") if found.of(split)]
    empty = [f"{pair.split}/{pair.name}" for pair in found.pairs if pair.a.empty or pair.b.empty]
    return Verdict(
        data=str(root),
        kind="paired",
        unit="pairs",
        layout=f"{layout.kind} ({layout.seen})",
        splits={split: len(found.of(split)) for split in SPLITS if found.of(split)},
        sides={side: told(_side(pair, side) for pair in found.pairs) for side in ("A", "B")},
        checks=(
            _held_out(found),
            _readable(found),
            _partnered(found),
            _same_size(found),
            _no_leak(found),
            _not_identical(found),
            content_check(empty, len(found.pairs), "have a side of nearly one colour"),
            bright_check({side: [_side(pair, side) for pair in found.pairs] for side in ("A", "B")}),
            _paired(found),
        ),
        hints=(*ranges.told, *_hints(found, labels, domains, size)),
        size=size,
        decoded_bytes=len(found.pairs) * 2 * 3 * size * size,
        command=next_command(
            "paired",
            root,
            size,
            *(("--condition", "labels") if labels["A"] else ()),
            value_range=value_range,
            held_out=bool(usable),
            can_split=root.is_dir(),
        ),
    )


def _look(layout: Layout, ranges: Found, on_file: Callable[[int, int], None] | None) -> _Found:
    work: list[tuple[str, PairFiles, bool]] = []
    limits = (ranges.limits["A"], ranges.limits["B"])
    orphans: list[Orphan] = []
    listings, refused = listings_of(layout)
    for split, listing in listings.items():
        orphans += listing.orphans
        every = -(-len(listing.pairs) // SKETCHES)
        work += [(split, pair, row % every == 0) for row, pair in enumerate(listing.pairs)]
    looked = scan(functools.partial(_look_at, limits), work, on_file)
    return _Found(
        pairs=tuple(one for one in looked if isinstance(one, _Pair)),
        broken=tuple(one for one in looked if not isinstance(one, _Pair)),
        orphans=tuple(orphans),
        refused=refused,
    )


def _look_at(limits: tuple[Limits, Limits], item: tuple[str, PairFiles, bool]) -> _Pair | tuple[str, str]:
    split, files, sketched = item
    try:
        images = open_pair(files, ("rgb", "rgb"), limits)
        stored = (stored_as(files.a), stored_as(files.a if files.b is None else files.b))
    except (BadInputError, OSError) as error:
        return split, str(error)
    a, b = (
        facts_of(image, kept, colors=True, sketched=sketched) for image, kept in zip(images, stored, strict=True)
    )
    return _Pair(name=files.name, split=split, a=a, b=b)


def _held_out(found: _Found) -> Check:
    usable = [split for split in ("val", "test") if found.of(split)]
    advice = "training needs some pairs it never learns from: move a tenth of train to val."
    return held_out_check("pairs", usable, found.refused, advice)


def _readable(found: _Found) -> Check:
    problems = [problem for _, problem in found.broken]
    return readable_check(problems, "image")


def _partnered(found: _Found) -> Check:
    problems = [orphan.problem for orphan in found.orphans]
    return check_of("partners", problems, "every image has its other half", "lack their other half")


def _same_size(found: _Found) -> Check:
    unequal = [
        f"{pair.split}/{pair.name}: {size_text(pair.a.size)} and {size_text(pair.b.size)}"
        for pair in found.pairs
        if pair.a.size != pair.b.size
    ]
    return check_of(
        "sizes", unequal, "A and B of every pair have the same size", "have an A and a B of different size"
    )


def _no_leak(found: _Found) -> Check:
    """The same pixels on one side are enough: that view was learnt. Empty images are alike without meaning."""
    seen: dict[tuple[str, str], str] = {}
    for pair in found.of("train"):
        for name in ("A", "B"):
            seen.setdefault((name, _side(pair, name).sha256), pair.name)
    leaks = []
    for pair in (*found.of("val"), *found.of("test")):
        for name in ("A", "B"):
            side = _side(pair, name)
            twin = None if side.empty else seen.get((name, side.sha256))
            if twin is not None:
                leaks.append(f"{pair.split}/{pair.name} has the same {name} as train/{twin}")
                break
    return leak_check(leaks, "image")


def _not_identical(found: _Found) -> Check:
    same = [
        f"{pair.split}/{pair.name}" for pair in found.pairs if pair.a.sha256 == pair.b.sha256 and not pair.a.empty
    ]
    return check_of("two sides", same, "A and B differ", "have the same image on both sides")


def _paired(found: _Found) -> Check:
    """An A should resemble its own B more than other Bs; by chance it beats half of them.

    If nothing belongs together, each A beats half of the other Bs on average; over n pairs this mean share has a
    standard deviation of 0.29 / sqrt(n).
    """
    name = "real pairs"
    sketched = [
        pair for pair in found.of("train") if pair.a.sketch is not None and not (pair.a.empty or pair.b.empty)
    ]
    if len(sketched) < COMPARED_FROM:
        return Check(name=name, ok=True, sentence=f"not looked at: that takes {COMPARED_FROM} train pairs")
    a, b = (np.stack([np.asarray(_side(pair, side).sketch) for pair in sketched]) for side in ("A", "B"))
    likeness = a @ b.T
    count = len(sketched)
    step = max(1, count // (OTHERS + 1))
    strangers = (np.arange(count)[:, None] + step * np.arange(1, OTHERS + 1)) % count
    own = likeness.diagonal()[:, None]
    others = np.take_along_axis(likeness, strangers, axis=1)
    beaten = float(((own > others) + 0.5 * (own == others)).mean())
    if beaten > 0.5 + 3 * 0.29 / math.sqrt(count):
        return Check(name=name, ok=True, sentence=f"an A resembles its own B more than {beaten:.0%} of the others")
    sentence = (
        f"an A resembles its own B no more than any other ({beaten:.0%}; by chance 50%): are these pairs? Look at "
        "some, and go on if they are."
    )
    return Check(name=name, ok=False, sentence=sentence)


def _hints(found: _Found, labels: dict[str, int], domains: Domains, size: int) -> list[str]:
    hints = []
    for side, palette in (("A", domains.palette_a), ("B", domains.palette_b)):
        if labels[side]:
            named = "" if palette is None else ", named in dataset.json"
            hints.append(
                f"{side} looks like a label map: {labels[side]} colours in all{named}. "
                + (
                    "--condition labels takes them as classes."
                    if side == "A"
                    else "To start from it: --direction BtoA."
                )
            )
        elif all(_side(pair, side).grey for pair in found.pairs):
            hints.append(f"{side} is grey.")
    hints += size_hints(Counter(pair.a.size for pair in found.pairs), size, "pairs", least=64)
    return hints


def _is_label_map(found: _Found, side: str) -> int:
    """How many colours the whole side has, if few enough; else 0."""
    union: set[int] = set()
    for pair in found.pairs:
        colors = _side(pair, side).colors
        if colors is None or len(union | colors) > MAX_DERIVED:
            return 0
        union |= colors
    return len(union) if len(union) > 1 else 0


def _side(pair: _Pair, side: str) -> ImageFacts:
    return pair.a if side == "A" else pair.b
