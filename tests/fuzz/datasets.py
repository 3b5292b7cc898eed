"""Every layout of data sets, one of its files damaged: what `verify` accepts can be loaded as training loads it."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from cgan_runtime.errors import BadInputError, CganError
from cgan_trainer.data.kinds import DataKind
from cgan_trainer.data.kinds.labelled import LabelledData
from cgan_trainer.data.kinds.paired import PairedData
from cgan_trainer.data.kinds.unpaired import UnpairedData
from cgan_trainer.data.verify import verify
from PIL import Image

from tests.fuzz.base import Target, refusal
from tests.fuzz.damage import damaged, damaged_json
from tests.fuzz.pictures import png_48
from tests.helpers import LABEL_COLORS, smooth_images
from tests.trainer.test_data_labelled import NAMES as IDX_NAMES

SIDE: Final = 16
KINDS: Final[dict[str, Callable[[], DataKind[Any]]]] = {
    "paired": lambda: PairedData(SIDE),
    "labelled": lambda: LabelledData(SIDE),
    "unpaired": lambda: UnpairedData(SIDE),
}
DESCRIPTION: Final = "dataset.json"


@dataclass
class Dataset:
    """A folder, or a list in a folder."""

    name: str
    root: Path
    kind: str
    listed: str = ""
    changed: tuple[Path, bytes] | None = None

    @property
    def data(self) -> Path:
        """What a user names."""
        return self.root / self.listed

    def damage(self, draws: random.Random) -> str:
        if self.changed is not None:
            path, sound = self.changed
            path.write_bytes(sound)
        files = sorted(path for path in self.root.rglob("*") if path.is_file())
        told = [path for path in files if path.suffix in (".json", ".csv", ".tsv", ".jsonl", ".gz", "")]
        path = draws.choice(told if told and draws.random() < 0.7 else files)
        sound, other = path.read_bytes(), draws.choice(files).read_bytes()
        if path.suffix == ".json" and draws.random() < 0.7:
            way, data = damaged_json(draws, sound)
        elif path.suffix == ".gz" and draws.random() < 0.7:
            way, inner = damaged(draws, gzip.decompress(sound))
            data = gzip.compress(inner, mtime=0)
        else:
            way, data = damaged(draws, sound, other)
        self.changed = (path, sound)
        path.write_bytes(data)
        return f"{path.relative_to(self.root)}: {way}"

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())

    def use(self) -> str:
        self._forget()
        try:
            verdict = verify(self.data, SIDE)
        except CganError as error:
            looked, found = refusal(error), None
        else:
            looked, found = "accepted" if verdict.ok else "failed by a check", verdict.kind
        kind = KINDS[found or self.kind]()
        try:
            facts = kind.facts(self.data)
            split = kind.load(self.data, "train")
            kind.facts(self.data, split)
            self._used(kind, split.arrays, kind.load(self.data, kind.held_out(self.data)).count)
        except BadInputError as error:
            assert looked != "accepted", f"verified, and not loaded: {error}"
            return f"{looked}, {refusal(error)} by training"
        assert facts.name.isprintable(), facts.name
        return f"{looked}, loaded"

    def _used(self, kind: DataKind[Any], arrays: Any, held_out: int) -> None:
        assert held_out > 0
        split = kind.load(self.data, "train", strict=False)
        assert all(torch.equal(array, arrays[name]) for name, array in split.arrays.items()), (
            "loaded twice, differs"
        )
        source = kind.source(split, seed=1, device=torch.device("cpu"))
        for position in (0, len(source) - 1):
            row = source.row(position)
            assert all(bool(torch.isfinite(value.float()).all()) for value in row.values())

    def _forget(self) -> None:
        cache = Path(os.environ["CGAN_CACHE"])
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()


def targets(folder: Path) -> list[Target]:
    """One for each of LAYOUTS; decoded images are kept below `folder`."""
    os.environ["CGAN_CACHE"] = str(folder / "cache")
    found: list[Target] = []
    for name, (kind, listed, make) in LAYOUTS.items():
        root = folder / name
        root.mkdir()
        make(root)
        found.append(Dataset(name=name, root=root, kind=kind, listed=listed))
    return found


def _images(folder: Path, count: int, *, seed: int, width: int = 1, suffix: str = ".png") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, pixels in enumerate(smooth_images(count, size=2 * SIDE, seed=seed)):
        image = Image.fromarray(pixels).resize((width * 2 * SIDE, 2 * SIDE))
        paths.append(folder / f"{number}{suffix}")
        image.save(paths[-1])
    return paths


def _side_by_side(root: Path) -> None:
    _images(root / "train", 3, seed=0, width=2)
    _images(root / "val", 2, seed=1, width=2)
    palette = {"names": ["ground", "red", "green"], "colors": LABEL_COLORS}
    told = {"name": "blocks", "kind": "paired", "domains": {"A": "a", "B": "b"}, "palettes": {"A": palette}}
    (root / DESCRIPTION).write_text(json.dumps(told))


def _two_trees(root: Path) -> None:
    for seed, place in enumerate(("A/train", "B/train", "A/val", "B/val")):
        _images(root / place, 2, seed=seed, suffix=".jpg")
    (root / "A" / "train" / "wide.png").write_bytes(png_48())
    (root / "B" / "train" / "wide.png").write_bytes(png_48(1))


def _pairs_list(root: Path, separator: str, encoding: str) -> None:
    images = [path.name for path in _images(root, 6, seed=2)]
    splits = ("train", "train", "val")
    rows = [("a", "b", "split"), *zip(images[:3], images[3:], splits, strict=True)]
    suffix = "tsv" if separator == "\t" else "csv"
    (root / f"pairs.{suffix}").write_bytes("\n".join(map(separator.join, rows)).encode(encoding))


def _pairs_lines(root: Path) -> None:
    images = [path.name for path in _images(root, 6, seed=3)]
    rows = [{"a": images[n], "b": images[n + 3], "split": "val" if n else "train"} for n in range(3)]
    (root / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _label_list(root: Path) -> None:
    images = [path.name for path in _images(root, 6, seed=4)]
    rows = [f"{name},{'cat' if n % 2 else 'dog'},{'val' if n > 3 else 'train'}" for n, name in enumerate(images)]
    (root / "labels.csv").write_text("\n".join(("file,label,split", *rows)))
    (root / DESCRIPTION).write_text(json.dumps({"name": "pets", "kind": "labelled", "classes": ["cat", "dog"]}))


def _class_folders(root: Path) -> None:
    for seed, place in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        _images(root / place, 2, seed=seed)
    (root / DESCRIPTION).write_text(json.dumps({"name": "pets", "classes": ["cat", "dog"]}))


def _idx(root: Path, *, zipped: bool) -> None:
    contents = []
    for count, seed in ((6, 5), (4, 6)):
        pixels = smooth_images(count, size=SIDE, seed=seed)[:, :, :, 0]
        contents.append(struct.pack(">4I", 2051, *pixels.shape) + pixels.tobytes())
        contents.append(struct.pack(">2I", 2049, count) + bytes(number % 2 for number in range(count)))
    for name, data in zip(IDX_NAMES, contents, strict=True):
        path = root / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(data, mtime=0) if zipped else data)


def _two_domains(root: Path) -> None:
    for seed, place in enumerate(("trainA", "trainB", "testA", "testB")):
        _images(root / place, 2, seed=seed, suffix=".webp" if seed % 2 else ".tif")
    (root / DESCRIPTION).write_text(
        json.dumps({"name": "places", "kind": "unpaired", "domains": {"A": "a", "B": "b"}})
    )


LAYOUTS: Final[dict[str, tuple[str, str, Callable[[Path], None]]]] = {
    "side-by-side": ("paired", "", _side_by_side),
    "two-trees": ("paired", "", _two_trees),
    "pairs-csv": ("paired", "pairs.csv", lambda root: _pairs_list(root, ",", "utf-8")),
    "pairs-tsv": ("paired", "pairs.tsv", lambda root: _pairs_list(root, "\t", "utf-16")),
    "pairs-jsonl": ("paired", "pairs.jsonl", _pairs_lines),
    "label-list": ("labelled", "labels.csv", _label_list),
    "class-folders": ("labelled", "", _class_folders),
    "idx": ("labelled", "", lambda root: _idx(root, zipped=False)),
    "idx-gz": ("labelled", "", lambda root: _idx(root, zipped=True)),
    "two-domains": ("unpaired", "", _two_domains),
}
