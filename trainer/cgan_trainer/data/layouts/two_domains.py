"""Two domains without pairs: `ROOT/trainA` with `ROOT/trainB`, or A and B as in two trees. Lengths may differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_formats import READ_WORDS

from cgan_trainer.data.images import list_images
from cgan_trainer.data.layouts.base import SPLITS

__all__ = ["TwoDomains"]

PATTERNS = ("{split}{side}", "{side}/{split}", "{split}/{side}")


@dataclass(frozen=True, kw_only=True)
class TwoDomains:
    """Two folders of images of two kinds; no image of one belongs to any of the other.

    Attributes:
        root: the dataset.
        pattern: one of PATTERNS.
    """

    root: Path
    pattern: str

    @classmethod
    def recognise(cls, root: Path) -> TwoDomains | None:
        """The layout, if a split has both folders."""
        for pattern in PATTERNS:
            layout = cls(root=root, pattern=pattern)
            if any(layout.has(split) for split in SPLITS):
                return layout
        return None

    @property
    def seen(self) -> str:
        """The two folders of the first split found."""
        split = next(split for split in SPLITS if self.has(split))
        return " and ".join(f"{self.folder(side, split).relative_to(self.root).as_posix()}/" for side in "AB")

    def folder(self, side: str, split: str) -> Path:
        """Where the images of one domain of a split lie."""
        return self.root / self.pattern.format(side=side, split=split)

    def has(self, split: str) -> bool:
        """Whether both folders are there."""
        return all(self.folder(side, split).is_dir() for side in "AB")

    def listing(self, split: str) -> dict[str, list[Path]]:
        """The images of both domains, by "A" and "B", sorted.

        Raises:
            BadInputError: a folder is not there, or holds no image.
        """
        found = {}
        for side in "AB":
            folder = self.folder(side, split)
            if not folder.is_dir():
                raise BadInputError(
                    f"{self.root} has {self.seen} but no {folder}: put the images of domain {side} there."
                )
            found[side] = list_images(folder)
            if not found[side]:
                raise BadInputError(
                    f"{folder} holds no images: the images of domain {side} are needed there, as {READ_WORDS}."
                )
        return found
