"""FashionMNIST: 70,000 images of clothes, 28x28, in ten classes (Xiao, Rasul, Vollgraf 2017), as IDX files.

Source: the four files of the Debian package dataset-fashion-mnist, or the same files from elsewhere. They are
checked, and kept as they are.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.dataset_writer import MadeFile, write_files
from cgan_trainer.data.layouts.idx import Content, find_idx, parse_idx
from cgan_trainer.data.sources import DebianFiles, RawFile, read_debian

__all__ = ["CLASSES", "FILES", "Clothes", "make_fashion"]

CLASSES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
PARTS: tuple[tuple[str, Content], ...] = (
    ("train", "images"),
    ("train", "labels"),
    ("test", "images"),
    ("test", "labels"),
)
FILES = DebianFiles(
    package="dataset-fashion-mnist",
    folder=PurePosixPath("/usr/share/datasets/fashion-mnist"),
    names=(
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ),
)
SIDE = 28
LABELS_SHA256 = {
    "train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
LICENCE = "FashionMNIST, copyright 2017 Zalando SE, MIT licence; from the Debian package dataset-fashion-mnist."


@dataclass(frozen=True, kw_only=True)
class Clothes:
    """One image: its split and class."""

    split: str
    label: int


def make_fashion(
    out: Path, source: Path | None = None, on_file: Callable[[int, int], None] | None = None
) -> list[Clothes]:
    """Write the dataset to `out`: the four IDX files, and dataset.json with the names of the classes.

    Args:
        out: the folder to make.
        source: a folder with the IDX files, or the package as a .deb; None means the installed package.
        on_file: told (files written, files in all) after each file.

    Raises:
        CganError: the package is not installed.
        BadInputError: a file is missing, damaged, or not FashionMNIST's.
    """
    raw = _read(source)
    made = _check(raw)
    described = {
        "kind": "labelled",
        "name": "fashion-mnist",
        "classes": list(CLASSES),
        "sources": [file.describe() for file in raw.values()],
        "split": {"rule": "as published: the t10k files are test"},
        "licence": LICENCE,
    }
    files = [MadeFile(path=file.name, data=file.data) for file in raw.values()]
    write_files(out, files, total=len(files), described=described, on_file=on_file)
    return made


def _read(source: Path | None) -> dict[str, RawFile]:
    """The four files; in a folder they may have any of their names, plain or gzipped."""
    if source is not None and source.is_dir():
        paths = [path for split, content in PARTS if (path := find_idx(source, split, content)) is not None]
        if len(paths) == len(PARTS):
            package = "FashionMNIST (a folder)"
            return {path.name: RawFile(name=path.name, package=package, data=path.read_bytes()) for path in paths}
    return read_debian(FILES, source)


def _check(raw: dict[str, RawFile]) -> list[Clothes]:
    """What is in the files.

    Raises:
        BadInputError: they are no IDX files, or other ones than FashionMNIST's: MNIST's have the same names.
    """
    made: list[Clothes] = []
    parts = [
        parse_idx(io.BytesIO(file.data), file.name, part[1]) for part, file in zip(PARTS, raw.values(), strict=True)
    ]
    train_images, train_labels, test_images, test_labels = parts
    splits = (("train", train_images, train_labels), ("test", test_images, test_labels))
    for split, images, labels in splits:
        found = hashlib.sha256(labels.tobytes()).hexdigest()
        if found != LABELS_SHA256[split] or images.shape != (len(labels), SIDE, SIDE):
            raise BadInputError(
                f"the {split} files hold {len(images)} images and {len(labels)} labels that are not "
                f"FashionMNIST's: take those of the Debian package {FILES.package}, or train on yours as they are."
            )
        made += [Clothes(split=split, label=label) for label in labels.tolist()]
    return made
