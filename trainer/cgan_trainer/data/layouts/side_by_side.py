"""One file = A | B, cut at half the width: `ROOT/{train,val,test}/*`, at any depth below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_formats import READ_WORDS

from cgan_trainer.data.images import list_images
from cgan_trainer.data.layouts.base import Layout, Listing, PairFiles

__all__ = ["SideBySide"]


@dataclass(frozen=True, kw_only=True)
class SideBySide(Layout):
    """The layout of the published pix2pix datasets."""

    kind: ClassVar[str] = "side by side"

    @property
    def seen(self) -> str:
        """What was seen; this layout is assumed where no other one fits."""
        return "train/ with images, no A/ and B/"

    def has(self, split: str) -> bool:
        """Whether the folder is there."""
        return (self.root / split).is_dir()

    def listing(self, split: str) -> Listing:
        """Every image below the split's folder."""
        folder = self.root / split
        if not folder.is_dir():
            raise BadInputError(
                f"{self.root} has no {split}/ folder: put side-by-side pairs (A left, B right) into {folder}."
            )
        paths = list_images(folder)
        if not paths:
            raise BadInputError(f"{folder} holds no images: side-by-side pairs are needed, as {READ_WORDS}.")
        return Listing(pairs=tuple(PairFiles(name=path.relative_to(folder).as_posix(), a=path) for path in paths))
