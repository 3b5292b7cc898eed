"""What an evaluation of one kind of data is given, and what it gives back; one file per kind beside this one.

paired.py, labelled.py and unpaired.py each hold a `Judge`. None of them reads a run folder or a checkpoint, or
knows a family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.kinds.base import Facts, Split
from cgan_trainer.evaluation.base import Column, Figure
from cgan_trainer.generator import Generator

__all__ = ["SEEDS", "Exhibit", "Gallery", "Judge", "Judged", "Role", "Row", "Subject"]

SEEDS = 8
Role = Literal["generator", "baseline", "truth"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is judged, and on what.

    Attributes:
        graphs: every graph of the checkpoint, in `eval()`, on the CPU.
        facts: what the dataset says of itself.
        held_out: the split to judge on.
        train: the training split; None where it is not there.
        most: judge so many images at most, evenly spread; None: all. Of generators that are given labels: draw
            so many images in all; None: a hundred per class.
        seed: of every draw.
        seeds: images drawn per condition for diversity; None: as many as `SEEDS`. Of generators that are given
            labels it is not asked: `most` says how many are drawn.
        cache: folder for nets that an evaluation trains on real images (segmenter, classifier).
    """

    graphs: Mapping[str, Generator]
    facts: Facts
    held_out: Split
    train: Split | None
    most: int | None
    seed: int
    seeds: int | None
    cache: Path

    @property
    def draws(self) -> int:
        """Images per condition: as asked, else `SEEDS`."""
        return SEEDS if self.seeds is None else self.seeds


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was judged.

    Attributes:
        name: "generator", "lookup table", "truth".
        figures: by the key of their column.
        role: a generator; a baseline, which a generator must beat; or real images judged like a result.
        group: rows of one group may be compared; figures of two directions may not.
    """

    name: str
    figures: Mapping[str, Figure]
    role: Role
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One row of a gallery.

    Attributes:
        caption: short lines.
        images: under the gallery's headings.
        file: the name of the image it was made from, where there is one.
    """

    caption: tuple[str, ...]
    images: tuple[UInt8[Tensor, "_ _ _"], ...]
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The images that show what the figures mean: headings of the columns, rows, and a sentence that explains."""

    headings: tuple[str, ...]
    exhibits: tuple[Exhibit, ...]
    legend: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The findings.

    Attributes:
        rows: the generator (or one row per graph) first, then baselines, then the truth.
        columns: of the figures, in the order of the table; those without a figure too.
        files: names of the images judged, in order.
        available: how many images (of pairs: pairs) the split has.
        seeds: images drawn per condition.
        each: for some figures, their value per image, by key; in the order of `files`.
        notes: what a reader must know, a sentence each.
        gallery: images that show it.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    files: tuple[str, ...]
    available: int
    seeds: int
    each: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]
    gallery: Gallery


Judge = Callable[[Subject], Judged]
