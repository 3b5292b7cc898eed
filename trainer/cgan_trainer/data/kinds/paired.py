"""Pairs: two images of the same thing under one name, the condition and the target of a translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from cgan_runtime.image_values import PLAIN, Limits
from torch import Tensor

from cgan_trainer.data.decoding import Modes
from cgan_trainer.data.domains import palette_of, read_domains
from cgan_trainer.data.images import Mode
from cgan_trainer.data.kinds.base import DataKind, Facts, OnFile, Source, Split
from cgan_trainer.data.layouts import find_layout
from cgan_trainer.data.pairs import count_pairs, find_validation, load_pairs
from cgan_trainer.palette import Palette
from cgan_trainer.seeding import augment, row_at, to_float

__all__ = ["PairedData", "PairedFacts"]

Direction = Literal["AtoB", "BtoA"]


@dataclass(frozen=True, kw_only=True)
class PairedFacts(Facts):
    """What a dataset of pairs says of itself, in the direction that was asked for.

    Attributes:
        source: what the conditions show ("map"), else "A" or "B".
        target: what the targets show ("satellite"), likewise.
        palette: the classes of the conditions where they are asked for as label maps: from dataset.json, else the
            colours of the training pixels; None where neither was there.
        source_palette: the classes of the conditions as dataset.json names them.
        target_palette: the classes of the targets as dataset.json names them.
        direction: "AtoB": A is the condition.
        limits: the ranges that values of more than 8 bits of the conditions are scaled by.
    """

    source: str
    target: str
    palette: Palette | None
    source_palette: Palette | None
    target_palette: Palette | None
    direction: Direction
    limits: Limits = PLAIN


@dataclass(frozen=True)
class PairedData(DataKind[PairedFacts]):
    """Pairs in any of the layouts, as a run asks for them. Arrays of a split: "condition" and "target".

    Attributes:
        size: side of the square images in pixels.
        condition: how the pixels of the condition are meant.
        picture: how the pixels of the target are meant.
        direction: which side is the condition.
        jitter: enlarge by 286/256 and cut a random square (Isola et al. 2017, section 6.2).
        mirror: mirror with probability 1/2.
        cache: where decoded pixels are kept; None means the user's cache folder.
        value_range: of values of more than 8 bits: "auto" for the usual one that holds those of all splits, the
            largest value ("4095"), or both ends ("-1000,1000").
    """

    kind: ClassVar[str] = "paired"
    unit: ClassVar[str] = "pairs"

    size: int
    _: KW_ONLY
    condition: Mode = "rgb"
    picture: Mode = "rgb"
    direction: Direction = "AtoB"
    jitter: bool = True
    mirror: bool = True
    cache: Path | None = None
    value_range: str = "auto"

    @property
    def modes(self) -> Modes:
        """How the pixels of A and B are meant."""
        return (self.condition, self.picture) if self.direction == "AtoB" else (self.picture, self.condition)

    def facts(self, root: Path, train: Split | None = None) -> PairedFacts:
        """See the base. Without `train` the ranges and a palette that dataset.json does not name are missing."""
        told = read_domains(root)
        sides: dict[Literal["A", "B"], tuple[str, Palette | None]] = {
            "A": (told.a, told.palette_a),
            "B": (told.b, told.palette_b),
        }
        first: Literal["A", "B"] = "A" if self.direction == "AtoB" else "B"
        (source, source_palette), (target, target_palette) = sides[first], sides["B" if first == "A" else "A"]
        palette = source_palette if self.condition == "labels" else None
        if self.condition == "labels" and palette is None and train is not None:
            palette = palette_of(train.arrays["condition"], first)
        return PairedFacts(
            name=told.name,
            source=source,
            target=target,
            palette=palette,
            source_palette=source_palette,
            target_palette=target_palette,
            direction=self.direction,
            partial=self.condition == "labels" and palette is None,
            limits=PLAIN if train is None else train.limits.get("condition", PLAIN),
        )

    def held_out(self, root: Path) -> str:
        """See the base."""
        return find_validation(root)

    def has(self, root: Path, split: str) -> bool:
        """See the base."""
        return find_layout(root).has(split)

    def count(self, root: Path, split: str) -> int:
        """See the base."""
        return count_pairs(root, split)

    def load(self, root: Path, split: str, *, strict: bool = False, on_file: OnFile | None = None) -> Split:
        """See the base. The digest is that of the sides A and B, whichever is the condition."""
        pairs = load_pairs(
            root,
            split,
            self.size,
            on_file,
            modes=self.modes,
            strict=strict,
            cache=self.cache,
            value_range=self.value_range,
        )
        condition, target = (pairs.a, pairs.b) if self.direction == "AtoB" else (pairs.b, pairs.a)
        limits = pairs.limits if self.direction == "AtoB" else pairs.limits[::-1]
        return Split(
            name=split,
            arrays={"condition": condition, "target": target},
            files={"condition": pairs.files, "target": pairs.files},
            count=len(pairs),
            sha256=pairs.sha256,
            skipped=pairs.skipped,
            limits={"condition": limits[0], "target": limits[1]},
        )

    def for_judging(self, root: Path) -> PairedData:
        """Targets that are label maps are compared as they are, never blended by resizing."""
        told = read_domains(root)
        labelled = told.palette_b if self.direction == "AtoB" else told.palette_a
        return replace(self, picture="labels") if labelled is not None and self.picture == "rgb" else self

    def source(self, split: Split, *, seed: int, device: torch.device) -> Source:
        """Rows of "condition" and "target", float32 in -1..1."""
        return _PairedSource(self, split.arrays, seed=seed, device=device)


class _PairedSource(Source):
    def __init__(self, data: PairedData, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> None:
        self.data, self.seed, self.device = data, seed, device
        self.sides = (arrays["condition"], arrays["target"])

    def __len__(self) -> int:
        return len(self.sides[0])

    def row(self, position: int) -> dict[str, Tensor]:
        row = row_at(self.seed, position, len(self))
        condition, target = augment(
            [to_float(side[row].to(self.device)) for side in self.sides],
            # A label map is enlarged by its nearest pixels: its colours are its classes.
            [self.data.condition != "labels", self.data.picture != "labels"],
            self.seed,
            position,
            jitter=self.data.jitter,
            mirror=self.data.mirror,
        )
        return {"condition": condition, "target": target}
