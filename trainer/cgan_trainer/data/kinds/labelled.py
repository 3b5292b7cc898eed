"""Labelled images: every image has one class, and the class is the condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import Limits
from cgan_runtime.progress import note
from torch import Tensor

from cgan_trainer.data.arrays import Decoding, load_arrays, name_problems
from cgan_trainer.data.cache import key_of
from cgan_trainer.data.decoding import ArraySpec, Rows, pixels_of
from cgan_trainer.data.description import read_description
from cgan_trainer.data.kinds.base import DataKind, Facts, OnFile, Source, Split
from cgan_trainer.data.layouts import LabelledFiles, LabelledLayout, find_labelled
from cgan_trainer.data.layouts.held_out import held_out_split
from cgan_trainer.data.value_ranges import Found, all_listings, find_ranges
from cgan_trainer.seeding import row_at, to_float

__all__ = ["LabelledData", "LabelledFacts"]


@dataclass(frozen=True, kw_only=True)
class LabelledFacts(Facts):
    """What a dataset of labelled images says of itself.

    Attributes:
        classes: their names, in the order of their numbers: from dataset.json, else the class folders, the labels
            of a list, or digits.
        mean: the mean training image, [c, h, w] in 0..1; None: not looked at.
    """

    classes: tuple[str, ...]
    mean: Tensor | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class LabelledData(DataKind[LabelledFacts]):
    """Class folders, a list, or IDX files. Arrays of a split: "image" uint8 [n, c, h, w] and "label" int64 [n].

    Attributes:
        size: side of the square images in pixels.
        mode: "grey" (one channel) or "rgb".
        values: the range the networks take.
        cache: where decoded pixels are kept; None means the user's cache folder.
        value_range: of values of more than 8 bits: "auto" for the usual one that holds those of all splits, the
            largest value ("4095"), or both ends ("-1000,1000").
    """

    kind: ClassVar[str] = "labelled"
    unit: ClassVar[str] = "images"

    size: int
    _: KW_ONLY
    mode: Literal["grey", "rgb"] = "grey"
    values: Literal["-1..1", "0..1"] = "-1..1"
    cache: Path | None = None
    value_range: str = "auto"

    def facts(self, root: Path, train: Split | None = None) -> LabelledFacts:
        """See the base; `train` tells the mean image."""
        mean = None
        if train is not None:
            images = train.arrays["image"]
            mean = (images.sum(dim=0, dtype=torch.float64) / (255 * len(images))).float()
        return LabelledFacts(name=read_description(root).name, classes=find_labelled(root).classes, mean=mean)

    def held_out(self, root: Path) -> str:
        """See the base; of IDX files it is "test", the t10k files."""
        layout = find_labelled(root)
        where = {
            "class folders": f"class folders in {root / 'val'}",
            "IDX files": "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte beside the others",
        }.get(layout.kind, "rows with split val")
        missing = f"{root} has no images under val or test: put some held-out ones there, as {where}."
        return held_out_split(layout, missing)

    def has(self, root: Path, split: str) -> bool:
        """See the base."""
        return find_labelled(root).has(split)

    def count(self, root: Path, split: str) -> int:
        """See the base."""
        return len(find_labelled(root).listing(split))

    def load(self, root: Path, split: str, *, strict: bool = False, on_file: OnFile | None = None) -> Split:
        """See the base."""
        layout = find_labelled(root)
        listing = layout.listing(split)
        if strict and listing.orphans:
            raise BadInputError(listing.orphans[0].problem)
        ranges = self.ranges(layout)
        if split == "train":
            for said in ranges.told:
                note(said)
        limits = ranges.limits["images"]
        head = [
            "labelled",
            layout.kind,
            str(root.resolve()),
            split,
            self.size,
            self.mode,
            listing.labels,
            *ranges.key,
        ]
        entry = load_arrays(
            Decoding(
                where=str(root),
                unit=self.unit,
                size=self.size,
                key=key_of(head, listing.read),
                groups=(self._rows(listing, limits),),
                head=lambda files: ["labelled", files["image"], self.size, self.mode],
                strict=strict,
                on_file=on_file,
            ),
            self.cache,
        )
        problems = [(orphan.name, orphan.problem) for orphan in listing.orphans] + list(entry.skipped)
        files = entry.files["image"]
        name_problems(root, split, self.unit, [text for _, text in problems], len(files) + len(problems))
        return Split(
            name=split,
            arrays={name: torch.from_numpy(array) for name, array in entry.arrays.items()},
            files=entry.files,
            count=len(files),
            sha256=entry.sha256,
            skipped=tuple(name for name, _ in problems),
        )

    def ranges(self, layout: LabelledLayout) -> Found:
        """The range of the "images".

        Raises:
            BadInputError: no usual range holds their values.
        """
        paths = [path for listing in all_listings(layout) if not listing.stored for _, path in listing.read]
        return find_ranges(layout.root, {"images": paths}, self.value_range, self.cache)

    def _rows(self, listing: LabelledFiles, limits: Limits) -> Rows:
        def read(row: int) -> tuple[Any, int]:
            return pixels_of(listing.open(row, self.mode, limits), self.size, self.mode), listing.labels[row]

        return Rows(
            names=listing.names,
            arrays={
                "image": ArraySpec.of_images(self.size, self.mode),
                "label": ArraySpec(shape=(), dtype="int64"),
            },
            read=read,
        )

    def source(self, split: Split, *, seed: int, device: torch.device) -> Source:
        """Rows of "image", float32 in the range of `values`, and "label", an int64 scalar."""
        return _LabelledSource(self, split.arrays, seed=seed, device=device)


class _LabelledSource(Source):
    def __init__(
        self, data: LabelledData, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device
    ) -> None:
        self.data, self.seed, self.device = data, seed, device
        self.images, self.labels = arrays["image"], arrays["label"]

    def __len__(self) -> int:
        return len(self.images)

    def row(self, position: int) -> dict[str, Tensor]:
        row = row_at(self.seed, position, len(self))
        pixels = self.images[row].to(self.device)
        image = to_float(pixels) if self.data.values == "-1..1" else pixels.to(torch.float32) / 255
        return {"image": image, "label": self.labels[row].to(self.device)}
