"""The layouts a dataset may have, and the one function that tells them apart by looking."""

from __future__ import annotations

from pathlib import Path

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.layouts.base import SPLITS, Layout, Listing, PairFiles
from cgan_trainer.data.layouts.pairs_list import SUFFIXES, PairsList
from cgan_trainer.data.layouts.side_by_side import SideBySide
from cgan_trainer.data.layouts.two_trees import TwoTrees

__all__ = ["SPLITS", "Layout", "Listing", "PairFiles", "find_layout"]


def find_layout(root: Path) -> Layout:
    """Look at a folder (or a list of pairs) and say which layout it has.

    Raises:
        BadInputError: nothing is there, or pictures without pairs.
    """
    if root.is_file() and root.suffix.lower() in SUFFIXES:
        return PairsList(root=root)
    if not root.is_dir():
        what = "is not a folder, and no list of pairs (.csv, .jsonl)" if root.exists() else "does not exist"
        raise BadInputError(
            f"{root} {what}: name a dataset folder with train/ and val/ in it, for example the one that "
            "`cgan-data satellite` makes."
        )
    two_trees = TwoTrees.recognise(root)
    if two_trees is not None:
        return two_trees
    if any((root / split).is_dir() for split in SPLITS):
        return SideBySide(root=root)
    _refuse(root)
    return SideBySide(root=root)


def _refuse(root: Path) -> None:
    """Say what it is, where it is something that can be named."""
    for split in SPLITS:
        if (root / f"{split}A").is_dir() and (root / f"{split}B").is_dir():
            raise BadInputError(
                f"{root} has {split}A/ and {split}B/, the layout of unpaired pictures: pix2pix needs pairs; if "
                f"equal names in them are pairs, rename them to A/{split}/ and B/{split}/."
            )
    if (root / "A").is_dir() and (root / "B").is_dir():
        raise BadInputError(
            f"{root} has A/ and B/ but no train/ in them: move the pictures to A/train/ and B/train/, and some "
            "held-out pairs to A/val/ and B/val/."
        )
    for suffix in SUFFIXES:
        listed = sorted(root.glob(f"*{suffix}"))
        if listed:
            raise BadInputError(f"{root} has no train/ folder, but a list: name it, --data {listed[0]}.")
