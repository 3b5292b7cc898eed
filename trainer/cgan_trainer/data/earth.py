"""Tiles cut from two pixel-aligned images of the whole Earth, split by place.

The images are equirectangular: a column is a longitude, a row a latitude. A tile lies wholly inside one longitude
band and bands of different splits have a gap between them, so nothing of a test tile was ever seen, not even its
neighbour. Inside a split tiles overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cgan_trainer.data.dataset_writer import MadePair

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Box", "EarthGrid", "Tile", "cut"]

Box = tuple[int, int, int, int]  # left, top, right, bottom in source pixels


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One pair. `share` of the tile is what it is chosen by (land, or light), 0..1."""

    file: str
    split: str
    column: int
    row: int
    box: Box
    share: float

    def describe(self, share_of: str) -> dict[str, Any]:
        """For `dataset.json`, the share under the name of what it is a share of."""
        described = asdict(self)
        described[share_of] = described.pop("share")
        return described


@dataclass(frozen=True, kw_only=True)
class EarthGrid:
    """Where tiles may lie.

    Attributes:
        width: columns of the images, all round the Earth.
        height: rows of the images, from pole to pole.
        size: side of a tile.
        stride_x: columns between two tiles of a band.
        stride_y: rows between two tiles of a band.
        top: first row used.
        bottom: end of the rows used.
        gap: columns between bands of different splits.
        bands: (split, first column, end column), from west to east.
    """

    width: int
    height: int
    size: int
    stride_x: int
    stride_y: int
    top: int
    bottom: int
    gap: int
    bands: tuple[tuple[str, int, int], ...]

    def boxes(self, split: str) -> Iterator[Box]:
        """Every place of a tile of this split, band by band."""
        for name, left, end in self.bands:
            if name != split:
                continue
            for x in range(left, end - self.size + 1, self.stride_x):
                for y in range(self.top, self.bottom - self.size + 1, self.stride_y):
                    yield (x, y, x + self.size, y + self.size)

    def tile(self, split: str, box: Box, share: float) -> Tile:
        """The tile at a place."""
        x, y = box[:2]
        return Tile(
            file=f"x{x:04d}_y{y:04d}.png",
            split=split,
            column=x // self.stride_x,
            row=(y - self.top) // self.stride_y,
            box=box,
            share=share,
        )

    def describe(self) -> dict[str, Any]:
        """The split rule for `dataset.json`."""
        return {
            "rule": "a tile lies wholly inside one longitude band; bands of different splits are "
            f"{self.gap} pixels apart",
            "bands": [{"split": split, "left": left, "end": end} for split, left, end in self.bands],
            "size": self.size,
            "stride": [self.stride_x, self.stride_y],
            "rows": [self.top, self.bottom],
        }


def cut(tiles: list[Tile], left: Image, right: Image) -> Iterator[MadePair]:
    """The pairs of the tiles, from two images of the same size."""
    for tile in tiles:
        yield MadePair(split=tile.split, file=tile.file, left=left.crop(tile.box), right=right.crop(tile.box))
