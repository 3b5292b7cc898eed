"""Side-by-side pairs (one file = A|B, cut at half the width), decoded once into memory.

Layout: `ROOT/train/*.png`, `ROOT/val/*.png` and/or `ROOT/test/*.png`, any depth below.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from cgan_trainer.data.pictures import EXTENSIONS, list_pictures, open_rgb
from cgan_trainer.errors import BadInputError

__all__ = ["Domains", "Pairs", "find_validation", "load_pairs", "read_domains"]


@dataclass(frozen=True, kw_only=True)
class Domains:
    """What A and B show, for the contract's `meaning`; and the dataset's name."""

    name: str
    a: str = "A"
    b: str = "B"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """A split in memory: the loader never waits for a disk or a decoder.

    Attributes:
        files: names below the split folder, in the order of the rows.
        a: the left halves, 0..255.
        b: the right halves, 0..255.
        sha256: hex digest over names and pixels: equal digests train equal weights.
    """

    files: tuple[str, ...]
    a: UInt8[Tensor, "n 3 h w"]
    b: UInt8[Tensor, "n 3 h w"]
    sha256: str

    def __len__(self) -> int:
        return len(self.files)


def read_domains(root: Path) -> Domains:
    """From `dataset.json` when the dataset is one of ours, else A and B."""
    try:
        described = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
        domains = described["domains"]
        return Domains(name=str(described["name"]), a=str(domains["A"]), b=str(domains["B"]))
    except FileNotFoundError:
        return Domains(name=root.resolve().name)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BadInputError(
            f"{root / 'dataset.json'} cannot be read ({problem}): repair or remove it."
        ) from problem


def find_validation(root: Path) -> str:
    """`val`, or `test` where held-out pictures are called that."""
    for split in ("val", "test"):
        if (root / split).is_dir() and list_pictures(root / split):
            return split
    raise BadInputError(f"{root} has no pictures under val/ or test/: put some held-out pairs into {root / 'val'}.")


def load_pairs(root: Path, split: str, size: int, on_file: Callable[[int, int], None] | None = None) -> Pairs:
    """Decode every pair of a split to size x size (bicubic where it has another size).

    Args:
        root: the dataset folder.
        split: "train", "val" or "test".
        size: side in pixels.
        on_file: told (files done, files in all) after each file.
    """
    folder = root / split
    paths = _paths(root, split)
    _check_memory(len(paths), size, folder)
    pixels = np.empty((2, len(paths), 3, size, size), dtype=np.uint8)
    for index, path in enumerate(paths):
        for side, half in enumerate(_halves(path, size)):
            pixels[side, index] = np.asarray(half).transpose(2, 0, 1)
        if on_file is not None:
            on_file(index + 1, len(paths))
    files = tuple(path.relative_to(folder).as_posix() for path in paths)
    digest = hashlib.sha256(json.dumps([files, size]).encode())
    digest.update(pixels.data)
    a, b = torch.from_numpy(pixels)
    return Pairs(files=files, a=a, b=b, sha256=digest.hexdigest())


def _paths(root: Path, split: str) -> list[Path]:
    folder = root / split
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise BadInputError(
            f"{root} {what}: name a dataset folder with train/ and val/ in it, for example the one that "
            "`cgan-data satellite` makes."
        )
    if not folder.is_dir():
        raise BadInputError(
            f"{root} has no {split}/ folder: put side-by-side pairs (A left, B right) into {folder}."
        )
    paths = list_pictures(folder)
    if not paths:
        accepted = ", ".join(extension[1:] for extension in EXTENSIONS)
        raise BadInputError(f"{folder} holds no pictures: side-by-side pairs are needed, as {accepted}.")
    return paths


def _halves(path: Path, size: int) -> tuple[Image.Image, Image.Image]:
    picture = open_rgb(path)
    width, height = picture.size
    if width % 2:
        raise BadInputError(
            f"{path} is {width}x{height}: a side-by-side pair has an even width, A in the left half and B in the "
            "right; replace or remove it."
        )
    halves = (picture.crop((0, 0, width // 2, height)), picture.crop((width // 2, 0, width, height)))
    if halves[0].size == (size, size):
        return halves
    resized = tuple(half.resize((size, size), Image.Resampling.BICUBIC) for half in halves)
    return resized[0], resized[1]


def _check_memory(count: int, size: int, folder: Path) -> None:
    needed_bytes = count * 2 * 3 * size * size
    try:
        available_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system says
        return
    # Free memory does not count what the file cache would give back: only a clear excess is refused.
    if needed_bytes > 4 * available_bytes:
        raise BadInputError(
            f"{folder} needs {needed_bytes / 2**30:.1f} GiB of memory for {count} pairs at {size}x{size}, but "
            f"{available_bytes / 2**30:.1f} GiB are free: use a smaller --size or fewer pictures."
        )
