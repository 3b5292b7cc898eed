"""A and B in folders of their own: `ROOT/A/train/NAME` with `ROOT/B/train/NAME`, or `ROOT/train/A/NAME` and so on.

The two files of a pair have the same path below their folder; extensions may differ (`.jpg` photo, `.png` labels).
Where no names agree, a last `_A` and `_B` is taken off: `x_A.png` belongs to `x_B.png`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_formats import READ_WORDS

from cgan_trainer.data.images import list_images
from cgan_trainer.data.layouts.base import SPLITS, Layout, Listing, Orphan, PairFiles

__all__ = ["TwoTrees"]


@dataclass(frozen=True, kw_only=True)
class TwoTrees(Layout):
    """Two folders of equal names.

    Attributes:
        split_first: `ROOT/train/A` rather than `ROOT/A/train`.
    """

    kind: ClassVar[str] = "two trees"
    split_first: bool

    @classmethod
    def recognise(cls, root: Path) -> TwoTrees | None:
        """The layout, if the folder looks like it."""
        for split_first in (False, True):
            layout = cls(root=root, split_first=split_first)
            if any(layout.folder("A", split).is_dir() and layout.folder("B", split).is_dir() for split in SPLITS):
                return layout
        return None

    @property
    def seen(self) -> str:
        """The two folders of the first split found."""
        split = next(split for split in SPLITS if self.has(split))
        return " and ".join(f"{self.folder(side, split).relative_to(self.root).as_posix()}/" for side in "AB")

    def folder(self, side: str, split: str) -> Path:
        """Where the images of one side of a split lie."""
        return self.root / split / side if self.split_first else self.root / side / split

    def has(self, split: str) -> bool:
        """Whether both folders are there."""
        return all(self.folder(side, split).is_dir() for side in "AB")

    def has_shared_names(self) -> bool:
        """Whether some image has a partner: without any, these are two domains, not pairs."""
        split = next(split for split in SPLITS if self.has(split))
        found = _by_name(self._folders(split))
        return bool(found["A"].keys() & found["B"].keys())

    def listing(self, split: str) -> Listing:
        """Pairs by equal names; an image without its partner is an orphan."""
        folders = self._folders(split)
        for folder in folders.values():
            if not folder.is_dir():
                raise BadInputError(
                    f"{self.root} has {self.seen} but no {folder}: put the images of {split} there."
                )
        found = _by_name(folders)
        shared = sorted(found["A"].keys() & found["B"].keys())
        if not shared:
            raise BadInputError(_why_none(found, folders))
        orphans = [
            Orphan(
                name=path.relative_to(self.root).as_posix(),
                problem=f"{path} has no partner in {folders[other]}: add it, or remove the image.",
            )
            for side, other in (("A", "B"), ("B", "A"))
            for stem, path in found[side].items()
            if stem not in found[other]
        ]
        return Listing(
            pairs=tuple(
                PairFiles(
                    name=found["A"][stem].relative_to(folders["A"]).as_posix(),
                    a=found["A"][stem],
                    b=found["B"][stem],
                )
                for stem in shared
            ),
            orphans=tuple(orphans),
        )

    def _folders(self, split: str) -> dict[str, Path]:
        return {side: self.folder(side, split) for side in "AB"}


def _by_name(folders: dict[str, Path]) -> dict[str, dict[str, Path]]:
    """The images of both sides by the name they share with their partner."""
    found = {side: _by_stem(folder, "") for side, folder in folders.items()}
    if not found["A"].keys() & found["B"].keys():
        found = {side: _by_stem(folder, f"_{side}") for side, folder in folders.items()}
    return found


def _by_stem(folder: Path, ending: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix().removesuffix(ending)
        if stem in found:
            raise BadInputError(f"{path} and {found[stem]} have the same name: which is meant? Remove one of them.")
        found[stem] = path
    return found


def _why_none(found: dict[str, dict[str, Path]], folders: dict[str, Path]) -> str:
    for side, folder in folders.items():
        if not found[side]:
            return f"{folder} holds no images: the {side} sides of the pairs are needed there, as {READ_WORDS}."
    a, b = (next(iter(found[side].values())).name for side in "AB")
    return (
        f"{folders['A']} and {folders['B']} have no name in common ({a}, {b}): pix2pix needs pairs, two images "
        "of the same thing under the same name; cgan-train cyclegan takes unpaired ones."
    )
