"""Which kind of data a folder holds, told by the names in it, and the way out where another kind was needed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.description import read_description
from cgan_trainer.data.images import list_images
from cgan_trainer.data.layouts.base import SPLITS
from cgan_trainer.data.layouts.class_folders import class_folders_of, holds_only_folders
from cgan_trainer.data.layouts.idx import IdxFiles
from cgan_trainer.data.layouts.list_files import SUFFIXES, columns_of
from cgan_trainer.data.layouts.two_domains import PATTERNS, TwoDomains
from cgan_trainer.data.layouts.two_trees import TwoTrees

__all__ = ["COMMANDS", "Seen", "look_at", "refuse_other_kind", "refuse_untrained"]

# A first run for each kind: minutes to an hour on two CPU cores. Without the options it would be the paper's, which
# takes days there.
COMMANDS = {
    "paired": "cgan-train pix2pix --ngf 32 --ndf 32 --images 2000",
    "labelled": "cgan-train cdcgan --width 64 --images 100000",
    "unpaired": "cgan-train cyclegan --net resnet-6 --ngf 16 --ndf 16 --images 1000",
}
_THINGS = {
    "paired": "pairs",
    "labelled": "labelled images",
    "unpaired": "two domains without pairs",
    "captioned": "captioned images",
    "super-resolution": "images in two resolutions",
}
_NEEDS = {
    "paired": "pix2pix needs pairs",
    "labelled": "labelled images are needed here: train/CLASS/ folders, IDX files, or a list with file,label",
    "unpaired": "two domains are needed here: trainA/ and trainB/",
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was recognised: the kind ("paired", "labelled", "unpaired"), and what told it, after "holds"."""

    kind: str
    what: str


def look_at(root: Path) -> Seen | None:
    """The kind of a dataset folder or list; None where nothing tells it. What dataset.json says comes first."""
    if not root.is_dir():
        return _look_at_list(root)
    ways = (_look_at_description, _look_at_idx, _look_at_domains, _look_at_trees, _look_at_splits)
    return next((seen for seen in (look(root) for look in ways) if seen is not None), None)


def refuse_other_kind(root: Path, needed: str) -> None:
    """Say what the folder is where it is of another kind, and which command takes it.

    Raises:
        BadInputError: it is of another kind.
    """
    seen = look_at(root)
    if seen is None or seen.kind == needed:
        return
    refuse_untrained(root, seen)
    command = " ".join(COMMANDS[seen.kind].split()[:2])
    way_out = f"{command} takes them"
    if needed == "paired" and seen.kind == "unpaired":
        way_out += (
            f"; {_NEEDS[needed]}: if equal names in them are pairs, rename the folders to A/train/ and B/train/"
        )
    elif needed == "paired" and "class folders" in seen.what:
        way_out += f"; {_NEEDS[needed]}: if these are pairs, A in the left half, move them up into train/"
    else:
        way_out += f"; {_NEEDS[needed]}"
    raise BadInputError(f"{root} holds {seen.what}: {way_out}.")


def refuse_untrained(root: Path, seen: Seen) -> None:
    """Say so where no family trains on data of this kind.

    Raises:
        BadInputError: none does.
    """
    if seen.kind not in COMMANDS:
        known = ", ".join(_THINGS[kind] for kind in COMMANDS)
        raise BadInputError(f"{root} holds {seen.what}, which nothing here trains on yet: give {known}.")


def _look_at_list(path: Path) -> Seen | None:
    columns = columns_of(path) if path.suffix.lower() in SUFFIXES else set()
    if {"file", "label"} <= columns:
        return Seen(kind="labelled", what="a list of images and labels")
    if {"a", "b"} <= columns:
        return Seen(kind="paired", what="a list of pairs")
    return None


def _look_at_description(root: Path) -> Seen | None:
    with contextlib.suppress(BadInputError):  # whoever reads the dataset says what is wrong with the file
        told = read_description(root).kind
        if told is not None:
            return Seen(kind=told, what=f"{_THINGS[told]} (its dataset.json says so)")
    return None


def _look_at_idx(root: Path) -> Seen | None:
    idx = IdxFiles.recognise(root)
    return None if idx is None else Seen(kind="labelled", what=f"IDX files of labelled images ({idx.seen})")


def _look_at_domains(root: Path) -> Seen | None:
    domains = TwoDomains.recognise(root)
    if domains is None or domains.pattern != PATTERNS[0]:
        return None
    return Seen(kind="unpaired", what=f"{domains.seen}, two domains without pairs")


def _look_at_trees(root: Path) -> Seen | None:
    trees = TwoTrees.recognise(root)
    if trees is None:
        return None
    if trees.has_shared_names():
        return Seen(kind="paired", what=f"pairs in {trees.seen}")
    return Seen(kind="unpaired", what=f"{trees.seen} without a common name")


def _look_at_splits(root: Path) -> Seen | None:
    """Class folders and side-by-side pairs in sub-folders have the same names: the shape of an image decides."""
    split = next((split for split in SPLITS if (root / split).is_dir()), None)
    if split is None:
        return None
    folder = root / split
    folders = class_folders_of(folder)
    if holds_only_folders(folder):
        if len(folders) == 1 or any(_is_wide(path) for path in folders[:3]):
            return Seen(kind="paired", what=f"side-by-side pairs below {split}/")
        names = ", ".join(f"{split}/{path.name}/" for path in folders[:2])
        return Seen(kind="labelled", what=f"class folders ({names}{', ...' if len(folders) > 2 else ''})")
    return (
        Seen(kind="paired", what=f"images directly in {split}/, side-by-side pairs")
        if any(folder.iterdir())
        else None
    )


def _is_wide(folder: Path) -> bool:
    """Whether the first image is wider than tall, as two halves side by side are."""
    import PIL.Image

    for path in list_images(folder):
        try:
            with PIL.Image.open(path) as image:
                return image.width > image.height
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
            continue
    return False
