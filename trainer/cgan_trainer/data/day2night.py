"""Day -> night: the Earth by daylight and the lights of its cities, from above.

Source: `earth.jpg` and `night.jpg` of the Debian package xplanet-images, both 2048x1024 pixels, aligned and
equirectangular. Small: meant for demonstrations and for the opposite of a map, a target that is nearly all black.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.dataset_writer import SPLITS, write_dataset
from cgan_trainer.data.earth import Box, EarthGrid, Tile, cut
from cgan_trainer.data.sources import DebianFiles, RawFile, read_debian

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FILES", "GRID", "make_day2night"]

FILES = DebianFiles(
    package="xplanet-images", folder=PurePosixPath("/usr/share/xplanet/images"), names=("earth.jpg", "night.jpg")
)
LIT_FROM = 32  # of 255: brighter than what JPEG leaves around a light
LIT_SHARE = 0.0025  # a tile with less of it lit is left out: there is nothing to learn from black
GRID = EarthGrid(
    width=2048,
    height=1024,
    size=256,
    stride_x=128,
    stride_y=64,
    top=96,  # 73 degrees north
    bottom=864,  # 62 degrees south
    gap=32,  # 6 degrees
    bands=(  # longitude = column / 5.69 - 180
        ("train", 0, 928),  # the Americas
        ("test", 960, 1216),  # 11 west to 34 east: Europe, Africa
        ("train", 1248, 1664),  # the Middle East, India, western China
        ("val", 1696, 1952),  # 118 to 163 east: eastern China, Japan, Australia
    ),
)
LICENCE = (
    "Cut from earth.jpg and night.jpg of the Debian package xplanet-images: NASA Visible Earth, not copyrighted."
)


def make_day2night(
    out: Path, source: Path | None = None, on_tile: Callable[[int, int], None] | None = None
) -> list[Tile]:
    """Write the dataset to `out`: 512x256, day left, night right.

    Args:
        out: the folder to make.
        source: a folder with the two images, or the package as a .deb; None means the installed package.
        on_tile: told (tiles written, tiles in all) after each tile.
    """
    raw = read_debian(FILES, source)
    day, night = (_read(raw[name]) for name in FILES.names)
    tiles = plan_tiles(night)
    described = {
        "name": "day2night",
        "domains": {"A": "day", "B": "night"},
        "sources": [file.describe() for file in raw.values()],
        "split": {**GRID.describe(), "dark": f"tiles with less than {LIT_SHARE} lit are left out"},
        "licence": LICENCE,
        "tiles": [tile.describe("lit") for tile in tiles],
    }
    write_dataset(out, cut(tiles, day, night), total=len(tiles), described=described, on_pair=on_tile)
    return tiles


def plan_tiles(night: Image) -> list[Tile]:
    """Choose the tiles of every split that have enough light at night; the same every time."""
    tiles = []
    for split in SPLITS:
        measured = [GRID.tile(split, box, _lit_share(night, box)) for box in GRID.boxes(split)]
        tiles += sorted((tile for tile in measured if tile.share >= LIT_SHARE), key=lambda tile: tile.file)
    return tiles


def _lit_share(night: Image, box: Box) -> float:
    import numpy as np

    return round(float((np.asarray(night.crop(box)).max(axis=2) >= LIT_FROM).mean()), 4)


def _read(raw: RawFile) -> Image:
    from cgan_trainer.data.images import decode_rgb

    image = decode_rgb(raw.data, raw.name)
    if image.size != (GRID.width, GRID.height):
        raise BadInputError(
            f"{raw.name} is {image.width}x{image.height}, not {GRID.width}x{GRID.height}: it is not the one of "
            f"{FILES.package}."
        )
    return image
