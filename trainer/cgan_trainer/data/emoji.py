"""Datasets made of OpenMoji: line drawings to colour, groups as classes, captions, two resolutions of a drawing.

Every drawing is in one split, together with all that resemble it: variants of skin, gender and hair, and drawings
whose lines are nearly the same, such as hearts of ten colours. Otherwise a test would ask for what was learned by
heart.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cgan_trainer.data.dataset_writer import MadeFile, MadePair, as_png, side_by_side, write_files
from cgan_trainer.data.openmoji import ATTRIBUTION, Drawing, OpenMoji, lines_of, read_openmoji

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

__all__ = ["SCALE", "EmojiKind", "MadeDrawing", "make_emoji", "plan_drawings", "render"]

EmojiKind = Literal["paired", "labelled", "captioned", "super-resolution"]
SCALE: Final = 4  # sides of the large and the small drawing of super-resolution
_SKETCH: Final = 48  # side at which lines are compared
_ALIKE: Final = 0.95  # cosine of two line drawings, as vectors of darkness, from which they are kept together
_SERIES: Final = 8  # more drawings that resemble each other are a series, and train
_VISIBLE: Final = 64  # darkness of 255 that lines have at least (the letters of the NEW button are white)
_LINE_LESS: Final = ("flags",)  # their lines are a rectangle, which says nothing of the colours


@dataclass(frozen=True, kw_only=True)
class MadeDrawing:
    """One drawing: its split, the name of its file without ending, and what it shows."""

    split: str
    file: str
    drawing: Drawing

    def describe(self) -> dict[str, str]:
        """For `dataset.json`."""
        drawing = self.drawing
        return {
            "file": self.file,
            "split": self.split,
            "name": drawing.name,
            "group": drawing.group,
            "code": drawing.code,
        }


def make_emoji(
    out: Path,
    kind: EmojiKind = "paired",
    size: int = 128,
    *,
    skin_tones: bool = False,
    on_file: Callable[[int, int], None] | None = None,
) -> list[MadeDrawing]:
    """Write the dataset to `out`, complete or not at all; a dataset already there is replaced.

    Args:
        out: the folder to make.
            paired: `{train,val,test}/NAME.png`, lines in the left half, colours in the right.
            labelled: `{train,val,test}/GROUP/NAME.png`.
            captioned: `{train,val,test}/NAME.png` and NAME.txt.
            super-resolution: `HR/{train,val,test}/NAME.png`, and with a quarter of its side
            `LR/{train,val,test}/NAME.png`.
        kind: which of these.
        size: side of the square drawings in pixels, at least 16; for super-resolution a multiple of 4.
        skin_tones: the 2,035 drawings with one of five skin tones too; they are variants of others.
        on_file: told (drawings written, drawings in all) after each.

    Raises:
        CganError: a package is not installed.
        BadInputError: one is damaged.
    """
    openmoji = read_openmoji()
    made = plan_drawings(_chosen(openmoji, kind, skin_tones=skin_tones))
    described: dict[str, Any] = {
        "kind": kind,
        "name": "emoji",
        "size": size,
        "skin_tones": skin_tones,
        **({"domains": {"A": "lines", "B": "drawing"}} if kind == "paired" else {}),
        **({"classes": sorted({one.drawing.group for one in made})} if kind == "labelled" else {}),
        "sources": list(openmoji.sources),
        "split": {
            "rule": "drawings of one base (skin, gender, hair and direction aside), and drawings whose lines are "
            f"nearly the same (cosine from {_ALIKE} at {_SKETCH} pixels), are in one split: train if they are more "
            f"than {_SERIES}, else by the SHA-256 of their first code, a tenth val and a tenth test"
        },
        "licence": f"{ATTRIBUTION} (https://creativecommons.org/licenses/by-sa/4.0/). Names and groups are "
        "Unicode's. Show the attribution beside every image.",
        "drawings": [one.describe() for one in made],
    }
    write_files(out, _each(made, size, _FILES[kind], on_file), total=len(made), described=described)
    return made


def plan_drawings(drawings: Sequence[Drawing]) -> list[MadeDrawing]:
    """The split and the file of every drawing, train first; the same every time."""
    names = Counter(drawing.stem for drawing in drawings)
    alike = _alike(drawings)
    plain = Counter(first for first, drawing in zip(alike, drawings, strict=True) if not drawing.has_skin_tone)
    made = []
    for first, drawing in zip(alike, drawings, strict=True):
        unique = names[drawing.stem] == 1
        file = drawing.stem if unique else f"{drawing.stem}-{drawing.code.lower()}"
        # A test of sixty families would be a test of one drawing.
        split = "train" if plain[first] > _SERIES else _split(first)
        made.append(MadeDrawing(split=split, file=file, drawing=drawing))
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(made, key=lambda one: (order[one.split], one.file))


def render(svg: str, size: int) -> Image:
    """The drawing in RGB on white, `size` pixels wide and high."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=size, height=size, background="#ffffff", skip_system_fonts=True
    )
    return Image.open(io.BytesIO(png)).convert("RGB")


def _chosen(openmoji: OpenMoji, kind: EmojiKind, *, skin_tones: bool) -> list[Drawing]:
    drawings = [one for one in openmoji.drawings if skin_tones or not one.has_skin_tone]
    if kind == "labelled":
        return [one for one in drawings if one.group]
    if kind == "paired":
        return [one for one in drawings if one.group not in _LINE_LESS and _can_be_coloured(one)]
    return drawings


def _can_be_coloured(drawing: Drawing) -> bool:
    """Whether it has lines to be seen on white, and colours beside them."""
    import numpy as np

    lines, whole = (np.asarray(render(svg, _SKETCH)) for svg in (lines_of(drawing.svg), drawing.svg))
    return int(lines.min()) <= 255 - _VISIBLE and bool((lines != whole).any())


def _darkness(drawing: Drawing) -> npt.NDArray[np.float64]:
    """Its lines as a vector: 0 white to 255 black, row by row."""
    import numpy as np

    grey = render(lines_of(drawing.svg), _SKETCH).convert("L")
    return 255.0 - np.asarray(grey, dtype=np.float64).ravel()


def _alike(drawings: Sequence[Drawing]) -> list[str]:
    """For every drawing a code that all that resemble it share: the first of theirs."""
    import numpy as np

    together = {drawing.base: drawing.base for drawing in drawings}

    def first_of(base: str) -> str:
        while together[base] != base:
            base = together[base]
        return base

    compared = [drawing for drawing in drawings if not drawing.has_skin_tone]  # the others differ in colour only
    vectors = np.stack([_darkness(drawing) for drawing in compared])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    for row, column in np.argwhere(np.triu(vectors @ vectors.T, k=1) >= _ALIKE):
        first, second = sorted((first_of(compared[row].base), first_of(compared[column].base)))
        together[second] = first
    return [first_of(drawing.base) for drawing in drawings]


def _split(code: str) -> str:
    return {0: "test", 1: "val"}.get(int(hashlib.sha256(code.encode()).hexdigest(), 16) % 10, "train")


def _each(
    made: Sequence[MadeDrawing],
    size: int,
    files: Callable[[MadeDrawing, int], Iterator[MadeFile]],
    on_file: Callable[[int, int], None] | None,
) -> Iterator[MadeFile]:
    for done, one in enumerate(made, start=1):
        yield from files(one, size)
        if on_file is not None:
            on_file(done, len(made))


def _paired(one: MadeDrawing, size: int) -> Iterator[MadeFile]:
    lines, drawing = render(lines_of(one.drawing.svg), size), render(one.drawing.svg, size)
    yield side_by_side(MadePair(split=one.split, file=f"{one.file}.png", left=lines, right=drawing))


def _labelled(one: MadeDrawing, size: int) -> Iterator[MadeFile]:
    path = f"{one.split}/{one.drawing.group}/{one.file}.png"
    yield MadeFile(path=path, data=as_png(render(one.drawing.svg, size)))


def _captioned(one: MadeDrawing, size: int) -> Iterator[MadeFile]:
    yield MadeFile(path=f"{one.split}/{one.file}.png", data=as_png(render(one.drawing.svg, size)))
    yield MadeFile(path=f"{one.split}/{one.file}.txt", data=f"{one.drawing.name}\n".encode())


def _two_resolutions(one: MadeDrawing, size: int) -> Iterator[MadeFile]:
    for folder, side in (("HR", size), ("LR", size // SCALE)):
        path = f"{folder}/{one.split}/{one.file}.png"
        yield MadeFile(path=path, data=as_png(render(one.drawing.svg, side)))


_FILES: Final[dict[EmojiKind, Callable[[MadeDrawing, int], Iterator[MadeFile]]]] = {
    "paired": _paired,
    "labelled": _labelled,
    "captioned": _captioned,
    "super-resolution": _two_resolutions,
}
