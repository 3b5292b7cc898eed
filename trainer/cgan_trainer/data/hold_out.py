"""A tenth of the training images held out, in a new folder: the one that was brought stays as it is."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cgan_runtime.atomic import atomic_folder
from cgan_runtime.claims import claim
from cgan_runtime.errors import BadInputError

from cgan_trainer.data.layouts import TwoDomains, find_labelled, find_layout, find_unpaired
from cgan_trainer.data.layouts.class_folders import ClassFolders

__all__ = ["hold_out"]

ONE_IN = 10
Unit = tuple[str, tuple[Path, ...]]  # what stays together: its name, and its files


def hold_out(root: Path, out: Path, kind: str) -> dict[str, int]:
    """Make a dataset with a val split out of one that has train only; its files are linked, or copied.

    A tenth of the pairs, or of the images of each class or domain, are held out, at least one: those whose names
    have the smallest SHA-256. The same images are held out each time.

    Args:
        root: the dataset, a folder.
        out: the folder to make.
        kind: "paired", "labelled" or "unpaired".

    Returns:
        How many images or pairs there are in "train" and "val".

    Raises:
        UsageError: `out` exists.
        BadInputError: the dataset is a list or IDX files, or a class or domain has one image alone.
    """
    groups = _GROUPS[kind](root)
    counts = {"train": 0, "val": 0}
    placed: list[tuple[Path, Path]] = []
    for where, units in groups.items():
        if len(units) < 2:
            raise BadInputError(f"{where} has {len(units)} image to train on and none to hold out: add some.")
        ordered = sorted(units, key=lambda unit: hashlib.sha256(unit[0].encode()).digest())
        count = max(1, len(units) // ONE_IN)
        for place, (_, files) in enumerate(ordered):
            split = "val" if place < count else "train"
            counts[split] += 1
            placed += [(file, _moved(file.relative_to(root), split)) for file in files]
    with claim(out), atomic_folder(out) as folder:
        for file, target in placed:
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            _link(file, folder / target)
        if (root / "dataset.json").is_file():
            shutil.copyfile(root / "dataset.json", folder / "dataset.json")
    return counts


def _pairs(root: Path) -> dict[str, list[Unit]]:
    if root.is_file():
        raise BadInputError(
            f"{root} is a list: leave its column split out, and a tenth of it is held out by itself."
        )
    pairs = find_layout(root).listing("train").pairs
    return {str(root): [(pair.name, (pair.a,) if pair.b is None else (pair.a, pair.b)) for pair in pairs]}


def _classes(root: Path) -> dict[str, list[Unit]]:
    layout = find_labelled(root)
    if not isinstance(layout, ClassFolders):
        raise BadInputError(
            f"{root} is kept as {layout.kind}, which is not split here: leave the column split out of a list; IDX "
            "files have their held-out images in t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte."
        )
    listing = layout.listing("train")
    groups: dict[str, list[Unit]] = defaultdict(list)
    for (name, path), label in zip(listing.read, listing.labels, strict=True):
        groups[f"class {layout.classes[label]} of {root}"].append((name, (path,)))
    return groups


def _domains(root: Path) -> dict[str, list[Unit]]:
    layout: TwoDomains = find_unpaired(root)
    return {
        str(layout.folder(side, "train")): _units(root, paths) for side, paths in layout.listing("train").items()
    }


def _units(root: Path, paths: Iterable[Path]) -> list[Unit]:
    return [(path.relative_to(root).as_posix(), (path,)) for path in paths]


_GROUPS = {"paired": _pairs, "labelled": _classes, "unpaired": _domains}


def _moved(path: Path, split: str) -> Path:
    """A/train/x, train/A/x or trainA/x below another split: the first folder that is called so."""
    parts = list(path.parts)
    place = next(at for at, part in enumerate(parts) if part in ("train", "trainA", "trainB"))
    parts[place] = parts[place].replace("train", split)
    return Path(*parts)


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file.resolve(), target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, target)
