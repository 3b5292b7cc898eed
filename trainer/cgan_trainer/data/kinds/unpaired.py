"""Two domains without pairs: images of one kind, images of another, and no word on what belongs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from cgan_runtime.image_values import PLAIN, Limits
from cgan_runtime.progress import note
from torch import Tensor

from cgan_trainer.data.arrays import Decoding, load_arrays, name_problems
from cgan_trainer.data.cache import key_of
from cgan_trainer.data.decoding import ArraySpec, Bytes, Rows, pixels_of
from cgan_trainer.data.domains import read_domains
from cgan_trainer.data.images import Mode, open_image
from cgan_trainer.data.kinds.base import DataKind, Facts, OnFile, Source, Split
from cgan_trainer.data.layouts import TwoDomains, find_unpaired
from cgan_trainer.data.layouts.held_out import held_out_split
from cgan_trainer.data.value_ranges import Found, all_listings, find_ranges
from cgan_trainer.palette import Palette
from cgan_trainer.seeding import augment, derive_seed, row_at, to_float

__all__ = ["UnpairedData", "UnpairedFacts"]


@dataclass(frozen=True, kw_only=True)
class UnpairedFacts(Facts):
    """What a dataset of two domains says of itself.

    Attributes:
        a: what the images of domain A show ("map"), else "A".
        b: what those of domain B show, else "B".
        palette_a: the classes of A where dataset.json names them.
        palette_b: the classes of B, likewise.
        limits_a: the ranges that values of more than 8 bits of A are scaled by.
        limits_b: those of B.
    """

    a: str = "A"
    b: str = "B"
    palette_a: Palette | None = None
    palette_b: Palette | None = None
    limits_a: Limits = PLAIN
    limits_b: Limits = PLAIN


@dataclass(frozen=True)
class UnpairedData(DataKind[UnpairedFacts]):
    """trainA/ and trainB/, or two trees. Arrays of a split: "a" and "b", whose lengths may differ.

    An epoch has as many images as the longer domain.

    Attributes:
        size: side of the square images in pixels.
        mode_a: how the pixels of A are meant.
        mode_b: how the pixels of B are meant.
        jitter: enlarge by 286/256 and cut a random square (Zhu et al. 2017, as pix2pix), for each side on its own.
        mirror: mirror with probability 1/2, for each side on its own.
        cache: where decoded pixels are kept; None means the user's cache folder.
        value_range: of values of more than 8 bits: "auto" for the usual one that holds those of all splits, the
            largest value ("4095"), or both ends ("-1000,1000").
    """

    kind: ClassVar[str] = "unpaired"
    unit: ClassVar[str] = "images"

    size: int
    _: KW_ONLY
    mode_a: Mode = "rgb"
    mode_b: Mode = "rgb"
    jitter: bool = True
    mirror: bool = True
    cache: Path | None = None
    value_range: str = "auto"

    def facts(self, root: Path, train: Split | None = None) -> UnpairedFacts:
        """See the base; `train` tells the ranges."""
        find_unpaired(root)
        told = read_domains(root)
        limits = {} if train is None else train.limits
        return UnpairedFacts(
            name=told.name,
            a=told.a,
            b=told.b,
            palette_a=told.palette_a,
            palette_b=told.palette_b,
            limits_a=limits.get("a", PLAIN),
            limits_b=limits.get("b", PLAIN),
        )

    def held_out(self, root: Path) -> str:
        """See the base."""
        layout = find_unpaired(root)
        places = " and ".join(str(layout.folder(side, "test")) for side in "AB")
        return held_out_split(layout, f"{root} has no held-out images of both domains: put some into {places}.")

    def has(self, root: Path, split: str) -> bool:
        """See the base."""
        return find_unpaired(root).has(split)

    def count(self, root: Path, split: str) -> int:
        """See the base."""
        return max(len(paths) for paths in find_unpaired(root).listing(split).values())

    def load(self, root: Path, split: str, *, strict: bool = False, on_file: OnFile | None = None) -> Split:
        """See the base."""
        layout = find_unpaired(root)
        listing = layout.listing(split)
        ranges = self.ranges(layout)
        if split == "train":
            for said in ranges.told:
                note(said)
        groups = tuple(
            self._rows(layout, split, side, listing[side], mode, ranges.limits.get(side, PLAIN))
            for side, mode in (("A", self.mode_a), ("B", self.mode_b))
        )
        head = [
            "unpaired",
            layout.pattern,
            str(root.resolve()),
            split,
            self.size,
            self.mode_a,
            self.mode_b,
            *ranges.key,
        ]
        entry = load_arrays(
            Decoding(
                where=str(root),
                unit=self.unit,
                size=self.size,
                key=key_of(head, ((str(path), path) for paths in listing.values() for path in paths)),
                groups=groups,
                head=lambda files: ["unpaired", files["a"], files["b"], self.size, self.mode_a, self.mode_b],
                strict=strict,
                on_file=on_file,
            ),
            self.cache,
        )
        total = sum(map(len, groups))
        name_problems(root, split, self.unit, [problem for _, problem in entry.skipped], total)
        return Split(
            name=split,
            arrays={name: torch.from_numpy(array) for name, array in entry.arrays.items()},
            files=entry.files,
            count=max(map(len, entry.arrays.values())),
            sha256=entry.sha256,
            skipped=tuple(name for name, _ in entry.skipped),
            limits={side.lower(): limits for side, limits in ranges.limits.items()},
        )

    def ranges(self, layout: TwoDomains) -> Found:
        """The ranges of the domains "A" and "B"; class numbers of label maps have none.

        Raises:
            BadInputError: no usual range holds the values of a domain.
        """
        listings = all_listings(layout)
        modes = (("A", self.mode_a), ("B", self.mode_b))
        sides = {
            side: [path for listing in listings for path in listing[side]]
            for side, mode in modes
            if mode != "labels"
        }
        return find_ranges(layout.root, sides, self.value_range, self.cache)

    def _rows(
        self, layout: TwoDomains, split: str, side: str, paths: list[Path], mode: Mode, limits: Limits
    ) -> Rows:
        def read(row: int) -> tuple[Bytes]:
            return (pixels_of(open_image(paths[row], mode, limits), self.size, mode),)

        folder = layout.folder(side, split)
        return Rows(
            names=tuple(path.relative_to(folder).as_posix() for path in paths),
            arrays={side.lower(): ArraySpec.of_images(self.size, mode)},
            read=read,
        )

    def for_judging(self, root: Path) -> UnpairedData:
        """Label maps are read as they are, never blended by resizing."""
        told = read_domains(root)
        return replace(
            self,
            mode_a="labels" if told.palette_a is not None and self.mode_a == "rgb" else self.mode_a,
            mode_b="labels" if told.palette_b is not None and self.mode_b == "rgb" else self.mode_b,
        )

    def source(self, split: Split, *, seed: int, device: torch.device) -> Source:
        """Rows of "a" and "b", float32 in -1..1: A in a fresh order each time round, B drawn for each position."""
        return _UnpairedSource(self, split.arrays, seed=seed, device=device)


class _UnpairedSource(Source):
    def __init__(
        self, data: UnpairedData, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device
    ) -> None:
        self.data, self.seed, self.device = data, seed, device
        self.a, self.b = arrays["a"], arrays["b"]

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    def row(self, position: int) -> dict[str, Tensor]:
        row_a = row_at(derive_seed(self.seed, "order a"), position, len(self.a))
        # By index, the same two images would meet in every epoch where both domains have the same length.
        draws = torch.Generator().manual_seed(derive_seed(self.seed, "order b", position))
        row_b = int(torch.randint(len(self.b), (1,), generator=draws))
        return {
            "a": self._image("a", self.a[row_a], self.data.mode_a, position),
            "b": self._image("b", self.b[row_b], self.data.mode_b, position),
        }

    def _image(self, side: Literal["a", "b"], pixels: Tensor, mode: Mode, position: int) -> Tensor:
        (image,) = augment(
            [to_float(pixels.to(self.device))],
            [mode != "labels"],
            derive_seed(self.seed, f"augment {side}"),
            position,
            jitter=self.data.jitter,
            mirror=self.data.mirror,
        )
        return image
