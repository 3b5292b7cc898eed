"""What `cgan-data verify` gives back: facts, checks and hints; and what the checks of every kind share."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cgan_trainer.data.layouts.recognise import COMMANDS
from cgan_trainer.data.verify.scan import ImageFacts

__all__ = [
    "NAMED",
    "Check",
    "Verdict",
    "check_of",
    "content_check",
    "next_command",
    "size_hints",
    "size_text",
    "told",
]

NAMED = 5  # files told one by one
EMPTY_SHARE = 0.1  # more nearly empty images than this are worth a look
TRAINED_AT = {"paired": 256, "unpaired": 256, "labelled": 32}  # the size a command trains at when it is not told


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question, answered. `named` lists the first images that fail it."""

    name: str
    ok: bool
    sentence: str
    named: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found.

    Attributes:
        data: the dataset.
        kind: "paired", "labelled" or "unpaired".
        unit: what is counted, "pairs" or "images".
        layout: its kind, and what was seen that told it.
        splits: split (of two domains: "trainA") to the number of usable pairs or images.
        sides: "A" and "B", or "images", to counts of sizes and formats.
        classes: of labelled images, class to split to count.
        checks: all of them, passed or not.
        hints: what the images suggest.
        size: side in pixels that training would use.
        decoded_bytes: what all splits take at that size.
        command: to go on with.
    """

    data: str
    kind: str
    unit: str
    layout: str
    splits: dict[str, int]
    sides: dict[str, dict[str, dict[str, int]]]
    checks: tuple[Check, ...]
    hints: tuple[str, ...]
    size: int
    decoded_bytes: int
    command: str
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


def check_of(name: str, failing: list[str], fine: str, wrong: str) -> Check:
    """A check that fails where something was found: how many, and the first of them."""
    if not failing:
        return Check(name=name, ok=True, sentence=fine)
    return Check(name=name, ok=False, sentence=f"{len(failing)} {wrong}", named=tuple(failing[:NAMED]))


def content_check(empty: list[str], total: int, wrong: str) -> Check:
    """A few images of one colour are no failure."""
    if len(empty) <= EMPTY_SHARE * total:
        few = f", {len(empty)} of one colour" if empty else ""
        return Check(
            name="content", ok=True, sentence=f"the pictures show something{few}", named=tuple(empty[:NAMED])
        )
    return check_of("content", empty, "", wrong)


def told(images: Iterable[ImageFacts]) -> dict[str, dict[str, int]]:
    """How often each size and each format occurs, the commonest first."""
    images = list(images)
    return {
        "sizes": dict(Counter(size_text(image.size) for image in images).most_common()),
        "formats": dict(Counter(image.stored for image in images).most_common()),
    }


def size_text(size: tuple[int, int]) -> str:
    """Width x height."""
    return f"{size[0]}x{size[1]}"


def size_hints(shapes: Counter[tuple[int, int]], size: int, unit: str, least: int) -> list[str]:
    """What resizing to `size` will do; `least` is the smallest size a command takes."""
    hints = []
    oblong = sum(count for (width, height), count in shapes.items() if width != height)
    if oblong:
        hints.append(f"{oblong} {unit} are not square: they will be squeezed to {size}x{size}.")
    small = sum(count for shape, count in shapes.items() if min(shape) < size)
    if small:
        fitting = _fitting(shapes, least)
        fits = f"; --size {fitting} fits" if fitting < size else ""
        hints.append(f"{small} {unit} are smaller than {size}: they will be enlarged{fits}.")
    return hints


def next_command(kind: str, root: Path, size: int, *more: str) -> str:
    """The training to go on with."""
    words = [*COMMANDS[kind].split(), "--data", str(root), "--out", f"runs/{root.resolve().stem}"]
    if size != TRAINED_AT[kind]:
        words += ["--size", str(size)]
    return shlex.join([*words, *more])


def _fitting(shapes: Counter[tuple[int, int]], least: int) -> int:
    """The largest power of two not above the commonest shorter side, from `least`."""
    side = min(shapes.most_common(1)[0][0])
    return max(least, 1 << (side.bit_length() - 1))
