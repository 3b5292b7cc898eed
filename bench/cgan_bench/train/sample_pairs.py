"""Pairs to train on where none are given: smooth images from a fixed seed, written as files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from cgan_runtime.errors import BadInputError

__all__ = ["COUNT", "check_pairs", "write_pairs"]

COUNT: Final = 16
_GRID = 12  # colours per side before they are blended


def write_pairs(root: Path, size: int, *, count: int = COUNT) -> Path:
    """Fill root/train with `count` side-by-side PNGs of 2 size x size; returns root."""
    from PIL import Image

    folder = root / "train"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for index in range(count):
        coarse = Image.fromarray(draws.integers(0, 256, (_GRID, _GRID, 3), dtype=np.uint8))
        left = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
        pair = np.concatenate((left, 255 - left[:, :, ::-1]), axis=1)
        Image.fromarray(pair).save(folder / f"{index:02d}.png")
    return root


def check_pairs(root: Path) -> None:
    """Raises BadInputError where there is nothing to train on; the images themselves are not opened."""
    from cgan_runtime.errors import BadInputError as TrainersBadInputError
    from cgan_trainer.data.images import list_images
    from cgan_trainer.data.layouts import find_layout

    try:
        kind = find_layout(root).kind
    except TrainersBadInputError as error:
        raise BadInputError(str(error)) from error
    folder = root / "train"
    if kind != "side by side" or not folder.is_dir() or not list_images(folder):
        raise BadInputError(f"{root} has no side-by-side pairs in train/, and the plain loop reads no others.")
