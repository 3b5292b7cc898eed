"""Writes a dataset of ours: its files and `dataset.json`, complete or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgan_runtime.atomic import atomic_folder, write_atomic
from cgan_runtime.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "FORMAT",
    "SPLITS",
    "MadeFile",
    "MadePair",
    "as_png",
    "require_made_here",
    "side_by_side",
    "write_dataset",
    "write_files",
]

FORMAT = "cgan-deploy-dataset"  # what dataset.json of a dataset of ours begins with
SPLITS = ("train", "val", "test")
OnFile = Callable[[int, int], None]  # told (files written, files in all)


@dataclass(frozen=True, kw_only=True)
class MadePair:
    """One pair to be written to `split/file`."""

    split: str
    file: str
    left: Image
    right: Image


@dataclass(frozen=True, kw_only=True)
class MadeFile:
    """One file to be written to `path` below the dataset."""

    path: str
    data: bytes


def write_dataset(
    out: Path,
    pairs: Iterable[MadePair],
    *,
    total: int,
    described: dict[str, Any],
    on_pair: OnFile | None = None,
) -> None:
    """Fill `out` with `{train,val,test}/*.png` and `dataset.json`; a dataset already there is replaced.

    Args:
        out: the folder to make.
        pairs: the pairs, both sides of one size.
        total: how many there are.
        described: name, domains, sources, split rule, licence, pairs; goes to `dataset.json`.
        on_pair: told (pairs written, pairs in all) after each pair.
    """
    files = map(side_by_side, pairs)
    write_files(out, files, total=total, described={"kind": "paired", **described}, on_file=on_pair)


def write_files(
    out: Path,
    files: Iterable[MadeFile],
    *,
    total: int,
    described: dict[str, Any],
    on_file: OnFile | None = None,
) -> None:
    """Fill `out` with the files and `dataset.json`; a dataset already there is replaced.

    Args:
        out: the folder to make.
        files: what to write, wherever below it.
        total: how many there are.
        described: kind, name, sources and so on; goes to `dataset.json`.
        on_file: told (files written, files in all) after each.

    Raises:
        UsageError: as `require_made_here`.
    """
    with atomic_folder(out, replace=require_made_here) as partial:
        for done, file in enumerate(files, start=1):
            path = partial / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)  # the folder is flushed to the disk before it gets its name
            if on_file is not None:
                on_file(done, total)
        content = {"format": FORMAT, "version": 1, **described, "listing": _listing(partial)}
        text = json.dumps(content, indent=1) + "\n"
        write_atomic(partial / "dataset.json", text)


def require_made_here(out: Path) -> None:
    """Let a dataset of ours be replaced that holds the files it was made with, and an empty folder.

    A dataset made before `dataset.json` had a "listing" is known by its format alone.

    Raises:
        UsageError: something else is there, or files came into it or were taken out.
    """
    try:
        told = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        if out.is_dir() and not any(out.iterdir()):
            return
        raise UsageError(f"{out} exists and is not a dataset that cgan-data made: choose another --out.")
    if told.get("listing", _listing(out)) != _listing(out):
        raise UsageError(
            f"{out} does not hold the files that cgan-data wrote there, so it is not replaced: choose another "
            "--out, or remove it yourself."
        )


def _listing(root: Path) -> str:
    """SHA-256 of the names of all files but dataset.json, relative and in order."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())
    text = "\n".join(name for name in names if name != "dataset.json")
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def as_png(image: Image) -> bytes:
    """The image as a PNG file, the same bytes every time."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


def side_by_side(pair: MadePair) -> MadeFile:
    """The pair as one PNG file, twice as wide as its sides."""
    import PIL.Image

    image = PIL.Image.new("RGB", (pair.left.width + pair.right.width, pair.left.height))
    image.paste(pair.left, (0, 0))
    image.paste(pair.right, (pair.left.width, 0))
    return MadeFile(path=f"{pair.split}/{pair.file}", data=as_png(image))
