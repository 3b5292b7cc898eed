"""What `cgan-data verify` gives back: facts, checks and hints; and what the checks of every kind share."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from cgan_runtime.errors import BadInputError, UsageError

from cgan_trainer.configs.base import check_config
from cgan_trainer.data.layouts.base import SPLITS
from cgan_trainer.data.layouts.recognise import COMMANDS
from cgan_trainer.data.verify.scan import ImageFacts

__all__ = [
    "NAMED",
    "UNEVEN",
    "Check",
    "Verdict",
    "bright_check",
    "check_of",
    "content_check",
    "held_out_check",
    "leak_check",
    "listings_of",
    "next_command",
    "readable_check",
    "size_hints",
    "size_text",
    "told",
]

DARK = 31  # of 255: a whole side with hardly a value above this shows nothing
NAMED = 5  # files told one by one
UNEVEN = 10  # times as many images of one class or domain as of another are worth a hint
EMPTY_SHARE = 0.1  # more nearly empty images than this are worth a look
TRAINED_AT = {"paired": 256, "unpaired": 256, "labelled": 32}  # the size a command trains at when it is not told
ANY_SIZE = "cgan-train cgan"  # labelled images of another size: cdcgan is for that one alone


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
        command: to go on with; empty where there is none.
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


Listing_co = TypeVar("Listing_co", covariant=True)


class _Splits(Protocol[Listing_co]):
    """What the layouts of every kind have in common."""

    def has(self, split: str) -> bool: ...

    def listing(self, split: str) -> Listing_co: ...


def listings_of(layout: _Splits[Listing_co]) -> tuple[dict[str, Listing_co], dict[str, str]]:
    """Split to its listing, and split to sentence where its place is there but nothing of use in it."""
    listings: dict[str, Listing_co] = {}
    refused: dict[str, str] = {}
    for split in SPLITS:
        if layout.has(split):
            try:
                listings[split] = layout.listing(split)
            except BadInputError as error:
                refused[split] = str(error)
    return listings, refused


def held_out_check(unit: str, usable: list[str], refused: Mapping[str, str], advice: str) -> Check:
    """Whether every split other than train can be used: `usable` in the order in which training looks for it."""
    name = f"held-out {unit}"
    whys = [why for split, why in refused.items() if split != "train"]
    if usable and whys:
        return Check(name=name, ok=False, sentence=f"validation will use {usable[0]}, but {whys[0]}")
    if usable:
        return Check(name=name, ok=True, sentence=f"validation will use {usable[0]}")
    why = whys[0] if whys else "there is no val and no test"
    return Check(name=name, ok=False, sentence=f"{why}; {advice}")


def readable_check(problems: list[str], one: str = "image") -> Check:
    """Whether all can be read; `problems` has a sentence for each that cannot."""
    return check_of("readable", problems, f"every {one} can be read", "cannot be used and would be left out")


def leak_check(leaks: list[str], one: str = "image") -> Check:
    """Whether no held-out image was learnt from; `leaks` names each that was, and its twin."""
    fine = f"no held-out {one} is in train as well"
    return check_of("no leak", leaks, fine, "are held out but in train too: figures would flatter")


def check_of(name: str, failing: list[str], fine: str, wrong: str) -> Check:
    """A check that fails where something was found: how many, and the first of them."""
    if not failing:
        return Check(name=name, ok=True, sentence=fine)
    return Check(name=name, ok=False, sentence=f"{len(failing)} {wrong}", named=tuple(failing[:NAMED]))


def content_check(empty: list[str], total: int, wrong: str) -> Check:
    """Whether the images show something; a few of one colour are no failure."""
    if len(empty) <= EMPTY_SHARE * total:
        few = f", {len(empty)} of one colour" if empty else ""
        return Check(
            name="content", ok=True, sentence=f"the images show something{few}", named=tuple(empty[:NAMED])
        )
    return check_of("content", empty, "", wrong)


def bright_check(sides: Mapping[str, list[ImageFacts]]) -> Check:
    """Whether each side, all its images together, uses more than the darkest eighth of the range, and why not."""
    dark = []
    for side, images in sides.items():
        high = max((image.high for image in images), default=255)
        if high <= DARK:
            stored = Counter(image.stored for image in images).most_common(1)[0][0]
            why = (
                "are these class numbers? Give them colours, and train on them as labels"
                if stored.split()[-1] in ("L", "P")
                else "fewer bits than the files have room for? Scale them, or give --range"
            )
            dark.append(f"{side} is nearly black, hardly a value of it is above {high} of 255 ({stored}): {why}.")
    return check_of(
        "brightness", dark, "no side is nearly black", "nearly black: training would learn nothing of it"
    )


def told(images: Iterable[ImageFacts]) -> dict[str, dict[str, int]]:
    """How often each size and each format occurs, the commonest first."""
    images = list(images)
    return {
        "sizes": dict(Counter(size_text(image.size) for image in images).most_common()),
        "formats": dict(Counter(image.stored for image in images).most_common()),
    }


def size_text(size: tuple[int, int]) -> str:
    """A size (width, height) as "512x256"."""
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


def next_command(
    kind: str, root: Path, size: int, *more: str, held_out: bool, value_range: str = "auto", can_split: bool = True
) -> str:
    """The command to go on with: a training that will be accepted, or first one that holds images out.

    Args:
        kind: of the data.
        root: the dataset.
        size: side in pixels that was asked for; the nearest that the family takes is given.
        more: options of the training.
        held_out: whether there is something to validate with.
        value_range: as asked for.
        can_split: whether `cgan-data split` takes this layout.

    Returns:
        Empty where nothing is held out and no command changes that.
    """
    if not held_out:
        out = root.with_name(f"{root.resolve().name}-split")
        return shlex.join(["cgan-data", "split", str(root), "--out", str(out)]) if can_split else ""
    command = COMMANDS[kind]
    if kind == "labelled" and size != TRAINED_AT[kind]:
        command = ANY_SIZE
    words = command.split()
    words += ["--data", str(root), "--out", str(_unused(Path("runs") / root.resolve().stem))]
    if size != TRAINED_AT[kind]:
        words += ["--size", str(_taken(words[1], size))]
    if value_range != "auto":
        words.append(f"--range={value_range}")  # one word: a value may begin with a minus
    return shlex.join([*words, *more])


def _unused(out: Path) -> Path:
    """The folder, with a number where it already holds a run."""
    found, number = out, 2
    while (found / "last.pt").exists():
        found, number = out.with_name(f"{out.name}-{number}"), number + 1
    return found


def _taken(family: str, size: int) -> int:
    """The size nearest to this one that a family takes."""
    from cgan_trainer.configs import CONFIGS

    candidates: list[int] = sorted({size, *range(16, 513, 4)}, key=lambda one: (abs(one - size), one))
    for candidate in candidates:
        try:
            check_config(CONFIGS[family](size=candidate))
        except UsageError:
            continue
        return candidate
    return size


def _fitting(shapes: Counter[tuple[int, int]], least: int) -> int:
    """The largest power of two not above the commonest shorter side, from `least`."""
    side = min(shapes.most_common(1)[0][0])
    return max(least, 1 << (side.bit_length() - 1))
