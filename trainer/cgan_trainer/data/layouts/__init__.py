"""The layouts a dataset may have, and the functions that tell them apart by looking."""

from __future__ import annotations

from pathlib import Path

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.description import read_description
from cgan_trainer.data.layouts.base import SPLITS, Layout, Listing, PairFiles
from cgan_trainer.data.layouts.class_folders import ClassFolders, holds_only_folders
from cgan_trainer.data.layouts.idx import IdxFiles
from cgan_trainer.data.layouts.label_list import LabelList
from cgan_trainer.data.layouts.labelled import LabelledFiles, LabelledLayout
from cgan_trainer.data.layouts.list_files import SUFFIXES
from cgan_trainer.data.layouts.pairs_list import PairsList
from cgan_trainer.data.layouts.recognise import refuse_other_kind
from cgan_trainer.data.layouts.side_by_side import SideBySide
from cgan_trainer.data.layouts.two_domains import TwoDomains
from cgan_trainer.data.layouts.two_trees import TwoTrees

__all__ = [
    "SPLITS",
    "LabelledFiles",
    "LabelledLayout",
    "Layout",
    "Listing",
    "PairFiles",
    "TwoDomains",
    "find_labelled",
    "find_layout",
    "find_unpaired",
]


def find_layout(root: Path) -> Layout:
    """Look at a folder (or a list of pairs) and say which layout of pairs it has.

    Raises:
        BadInputError: nothing is there, or another kind of data, or images without pairs.
    """
    _check_there(root, "list of pairs", "satellite")
    if root.is_file():
        refuse_other_kind(root, "paired")
        return PairsList(root=root)
    _refuse_told(root, "paired")
    two_trees = TwoTrees.recognise(root)
    if two_trees is not None:
        return two_trees
    refuse_other_kind(root, "paired")
    if not any((root / split).is_dir() for split in SPLITS):
        _refuse(root)
    return SideBySide(root=root)


def find_labelled(root: Path) -> LabelledLayout:
    """Look at a folder (or a list of images and labels) and say which layout of labelled images it has.

    Raises:
        BadInputError: nothing is there, or another kind of data.
    """
    _check_there(root, "list of images and labels", "mnist-5k")
    _refuse_told(root, "labelled")
    named = read_description(root).classes
    if root.is_file():
        refuse_other_kind(root, "labelled")
        return LabelList(root=root, named=named)
    idx = IdxFiles.recognise(root, named)
    if idx is not None:
        return idx
    # Folders in folders may be classes, whatever the shape of their images.
    if not any((root / split).is_dir() and holds_only_folders(root / split) for split in SPLITS):
        refuse_other_kind(root, "labelled")
        _refuse_list(root)
    return ClassFolders(root=root, named=named)


def find_unpaired(root: Path) -> TwoDomains:
    """Look at a folder and say how it keeps two domains without pairs. Pairs in two trees will do.

    Raises:
        BadInputError: nothing is there, or another kind of data.
    """
    if root.is_file():
        raise BadInputError(f"{root} is a file: name a folder with trainA/ and trainB/ in it.")
    _check_there(root, "", "satellite-unpaired")
    found = TwoDomains.recognise(root)
    if found is None:
        refuse_other_kind(root, "unpaired")
        raise BadInputError(
            f"{root} has no trainA/ and trainB/: put the images of one domain into {root / 'trainA'}, those of the "
            f"other into {root / 'trainB'}, and some held-out ones into testA/ and testB/."
        )
    return found


def _check_there(root: Path, listed: str, example: str) -> None:
    if root.is_dir() or (listed and root.is_file() and root.suffix.lower() in SUFFIXES):
        return
    no_list = f", and no {listed} (.csv, .tsv, .jsonl)" if listed else ""
    what = f"is not a folder{no_list}" if root.exists() else "does not exist"
    places = "trainA/ and trainB/" if example == "satellite-unpaired" else "train/ and val/"
    raise BadInputError(
        f"{root} {what}: name a dataset folder with {places} in it, for example the one that `cgan-data {example}` "
        "makes."
    )


def _refuse_told(root: Path, needed: str) -> None:
    """Where dataset.json names another kind, the folders' names do not matter."""
    if read_description(root).kind not in (None, needed):
        refuse_other_kind(root, needed)


def _refuse(root: Path) -> None:
    """Raise where it is known what the folder lacks: say what is there and what to do."""
    if (root / "A").is_dir() and (root / "B").is_dir():
        raise BadInputError(
            f"{root} has A/ and B/ but no train/ in them: move the images to A/train/ and B/train/, and some "
            "held-out pairs to A/val/ and B/val/."
        )
    _refuse_list(root)


def _refuse_list(root: Path) -> None:
    for suffix in SUFFIXES:
        listed = sorted(root.glob(f"*{suffix}"))
        if listed:
            raise BadInputError(f"{root} has no train/ folder, but a list: name it, --data {listed[0]}.")
