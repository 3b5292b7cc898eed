"""Maps or shaded relief, and satellite images of other places: two domains without a pair.

The same images as `satellite`. A place on the Earth is in one domain of one split: bands of longitude belong to A
or B in turn, so that both domains see coasts, mountains and deserts, and 4 degrees lie between two bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cgan_trainer.data.dataset_writer import MadeFile, as_png, write_files
from cgan_trainer.data.earth import EarthGrid, Tile
from cgan_trainer.data.satellite import (
    IMAGE,
    LAND,
    PACKAGE,
    SUBJECTS,
    Subject,
    describe_tiles,
    plan_tiles,
    read_earth,
    read_land,
)
from cgan_trainer.data.sources import read_wheel

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["GRID", "SPLITS", "make_satellite_unpaired"]

SPLITS = ("trainA", "trainB", "testA", "testB")
GRID = EarthGrid(
    width=5400,
    height=2700,
    size=256,
    stride_x=128,
    stride_y=64,
    top=450,  # 60 degrees north
    bottom=2250,
    gap=64,  # 4 degrees
    bands=(  # longitude = column / 15 - 180
        ("trainA", 640, 1024),  # 137 to 112 west: western North America
        ("testB", 1088, 1344),  # 107 to 90 west: the middle of North America
        ("trainB", 1408, 1792),  # 86 to 61 west: eastern North America, the Andes
        ("trainA", 1856, 2240),  # 56 to 31 west: Newfoundland, Brazil
        ("testA", 2432, 2688),  # 18 to 1 west: Iberia, West Africa
        ("trainB", 2752, 3136),  # 3 to 29 east: Europe, the middle of Africa
        ("trainA", 3200, 3584),  # 33 to 59 east: East Africa, Arabia, Russia
        ("trainB", 3648, 4032),  # 63 to 89 east: India, Central Asia
        ("testA", 4096, 4352),  # 93 to 110 east: Indochina, western China
        ("trainA", 4416, 4800),  # 114 to 140 east: eastern China, western Australia
        ("testB", 4864, 5120),  # 144 to 161 east: eastern Australia, Kamchatka
    ),
)


def make_satellite_unpaired(
    out: Path, subject: Subject = SUBJECTS[0], on_tile: Callable[[int, int], None] | None = None
) -> list[Tile]:
    """Write the dataset to `out`: `{trainA,trainB,testA,testB}/*.png`, 256x256.

    Args:
        out: the folder to make.
        subject: what domain A shows; B is the satellite image.
        on_tile: told (tiles written, tiles in all) after each tile.
    """
    raw = read_wheel(PACKAGE, (subject.file, IMAGE, LAND))
    tiles = plan_tiles(read_land(raw[LAND]), GRID, SPLITS)
    earths = {"A": read_earth(raw[subject.file], subject.scale), "B": read_earth(raw[IMAGE])}
    described = {
        "kind": "unpaired",
        "name": "satellite-unpaired",
        "domains": {"A": subject.domain, "B": "satellite"},
        **describe_tiles(raw, subject, GRID, tiles),
    }
    write_files(out, _cut(tiles, earths), total=len(tiles), described=described, on_file=on_tile)
    return tiles


def _cut(tiles: list[Tile], earths: dict[str, Image]) -> Iterator[MadeFile]:
    for tile in tiles:
        image = earths[tile.split[-1]].crop(tile.box)
        yield MadeFile(path=f"{tile.split}/{tile.file}", data=as_png(image))
