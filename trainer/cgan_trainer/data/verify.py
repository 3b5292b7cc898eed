"""What `cgan-data verify` says of a folder before hours are spent on it: facts, checks, hints, the next command."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cgan_runtime.errors import BadInputError

from cgan_trainer.data.dataset_scan import PairFacts, SideFacts, Survey, survey
from cgan_trainer.data.domains import MAX_DERIVED, Domains, read_domains
from cgan_trainer.data.layouts import SPLITS, find_layout

__all__ = ["Check", "Verdict", "verify"]

NAMED = 5  # files told one by one
EMPTY_SHARE = 0.1  # more nearly empty pictures than this are worth a look
COMPARED_FROM = 20  # pairs; fewer cannot show whether they are pairs
OTHERS = 10  # strangers each A is compared with


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question, answered. `named` lists the first pictures that fail it."""

    name: str
    ok: bool
    sentence: str
    named: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found.

    Attributes:
        layout: its kind, and what was seen that told it.
        splits: split to number of usable pairs.
        sides: "A" and "B" to lines on sizes and formats.
        checks: all of them, passed or not.
        hints: what the pictures suggest.
        decoded_bytes: what all splits take at the size asked for.
        command: to go on with.
    """

    data: str
    layout: str
    splits: dict[str, int]
    sides: dict[str, dict[str, dict[str, int]]]
    checks: tuple[Check, ...]
    hints: tuple[str, ...]
    size: int
    decoded_bytes: int
    command: str

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


def verify(root: Path, size: int, on_file: Callable[[int, int], None] | None = None) -> Verdict:
    """Look at every picture of a dataset.

    Args:
        root: the dataset folder, or a list of pairs.
        size: side in pixels that training would use.
        on_file: told (pairs done, pairs in all) after each pair.

    Raises:
        BadInputError: no training could start with it.
    """
    layout = find_layout(root)
    if not layout.has("train"):
        layout.listing("train")  # raises, with the sentence a training would give
    domains = read_domains(root)
    found = survey(layout, on_file)
    if "train" in found.refused:
        raise BadInputError(found.refused["train"])
    if not found.of("train"):
        count = sum(split == "train" for split, _ in found.broken)
        raise BadInputError(f"none of the {count} train pairs can be read; the first: {found.broken[0][1]}")
    labelled = {side: _is_label_map(found, side) for side in ("A", "B")}
    return Verdict(
        data=str(root),
        layout=f"{layout.kind} ({layout.seen})",
        splits={split: len(found.of(split)) for split in SPLITS if found.of(split)},
        sides={side: _summary([_side(pair, side) for pair in found.pairs]) for side in ("A", "B")},
        checks=(
            _held_out(found),
            _readable(found),
            _partnered(found),
            _same_size(found),
            _no_leak(found),
            _not_identical(found),
            _not_empty(found),
            _paired(found),
        ),
        hints=tuple(_hints(found, labelled, domains, size)),
        size=size,
        decoded_bytes=len(found.pairs) * 2 * 3 * size * size,
        command=_command(root, size, labelled),
    )


def _held_out(found: Survey) -> Check:
    usable = [split for split in ("val", "test") if found.of(split)]
    if usable:
        return Check(name="held-out pairs", ok=True, sentence=f"validation will use {usable[0]}")
    why = next((why for split, why in found.refused.items() if split != "train"), "there is no val and no test")
    sentence = f"{why}; training needs some pairs it never learns from: move a tenth of train to val."
    return Check(name="held-out pairs", ok=False, sentence=sentence)


def _readable(found: Survey) -> Check:
    problems = [problem for _, problem in found.broken]
    return _check("readable", problems, "every picture can be read", "cannot be used and would be left out")


def _partnered(found: Survey) -> Check:
    problems = [orphan.problem for _, orphan in found.orphans]
    return _check("partners", problems, "every picture has its other half", "lack their other half")


def _same_size(found: Survey) -> Check:
    unequal = [
        f"{pair.split}/{pair.name}: {_size(pair.a.size)} and {_size(pair.b.size)}"
        for pair in found.pairs
        if pair.a.size != pair.b.size
    ]
    return _check(
        "sizes", unequal, "A and B of every pair have the same size", "have an A and a B of different size"
    )


def _no_leak(found: Survey) -> Check:
    """The same pixels on one side are enough: that view was learnt. Empty pictures are alike without meaning."""
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
    return _check(
        "no leak",
        leaks,
        "no held-out picture is in train as well",
        "are held out but in train too: figures would flatter",
    )


def _not_identical(found: Survey) -> Check:
    same = [
        f"{pair.split}/{pair.name}" for pair in found.pairs if pair.a.sha256 == pair.b.sha256 and not pair.a.empty
    ]
    return _check("two sides", same, "A and B differ", "have the same picture on both sides")


def _not_empty(found: Survey) -> Check:
    empty = [f"{pair.split}/{pair.name}" for pair in found.pairs if pair.a.empty or pair.b.empty]
    if len(empty) <= EMPTY_SHARE * len(found.pairs):
        few = f", {len(empty)} of one colour" if empty else ""
        return Check(
            name="content", ok=True, sentence=f"the pictures show something{few}", named=tuple(empty[:NAMED])
        )
    return _check("content", empty, "", "have a side of nearly one colour")


def _paired(found: Survey) -> Check:
    """An A should resemble its own B more than other Bs; by chance it beats half of them.

    If nothing belongs together, the mean share of strangers beaten by n pairs scatters by 0.29 / sqrt(n) about 1/2.
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


def _hints(found: Survey, labelled: dict[str, int], domains: Domains, size: int) -> list[str]:
    hints = []
    for side, palette in (("A", domains.palette_a), ("B", domains.palette_b)):
        if labelled[side]:
            named = "" if palette is None else ", named in dataset.json"
            hints.append(
                f"{side} looks like a label map: {labelled[side]} colours in all{named}. "
                + (
                    "--condition labels takes them as classes."
                    if side == "A"
                    else "To start from it: --direction BtoA."
                )
            )
        elif all(_side(pair, side).grey for pair in found.pairs):
            hints.append(f"{side} is grey.")
    shapes = Counter(pair.a.size for pair in found.pairs)
    oblong = sum(count for (width, height), count in shapes.items() if width != height)
    if oblong:
        hints.append(f"{oblong} pairs are not square: they will be squeezed to {size}x{size}.")
    small = sum(count for shape, count in shapes.items() if min(shape) < size)
    if small:
        hints.append(
            f"{small} pairs are smaller than {size}: they will be enlarged; --size {_fitting(shapes)} fits."
        )
    return hints


def _fitting(shapes: Counter[tuple[int, int]]) -> int:
    """The largest power of two not above the commonest shorter side, from 64."""
    side = min(shapes.most_common(1)[0][0])
    return 1 << max(6, side.bit_length() - 1)


def _is_label_map(found: Survey, side: str) -> int:
    """How many colours the whole side has, if few enough; else 0."""
    union: set[int] = set()
    for pair in found.pairs:
        colors = _side(pair, side).colors
        if colors is None or len(union | colors) > MAX_DERIVED:
            return 0
        union |= colors
    return len(union) if len(union) > 1 else 0


def _check(name: str, failing: list[str], fine: str, wrong: str) -> Check:
    if not failing:
        return Check(name=name, ok=True, sentence=fine)
    return Check(name=name, ok=False, sentence=f"{len(failing)} {wrong}", named=tuple(failing[:NAMED]))


def _side(pair: PairFacts, side: str) -> SideFacts:
    return pair.a if side == "A" else pair.b


def _summary(sides: list[SideFacts]) -> dict[str, dict[str, int]]:
    return {
        "sizes": dict(Counter(_size(side.size) for side in sides).most_common()),
        "formats": dict(Counter(side.stored for side in sides).most_common()),
    }


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _command(root: Path, size: int, labelled: dict[str, int]) -> str:
    words = ["cgan-train", "pix2pix", "--data", str(root), "--out", f"runs/{root.resolve().stem}"]
    if size != 256:
        words += ["--size", str(size)]
    if labelled["A"]:
        words += ["--condition", "labels"]
    return shlex.join(words)
