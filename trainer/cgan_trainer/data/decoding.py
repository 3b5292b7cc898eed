"""Picture files to arrays of one size, on every core; what cannot be decoded is reported, not raised."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from cgan_runtime.errors import BadInputError

from cgan_trainer.data.layouts import PairFiles
from cgan_trainer.data.pictures import CHANNELS, Mode, open_picture, resize

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Bytes", "Modes", "decode_into", "open_pair", "shape_of"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Modes = tuple[Mode, Mode]
MAX_THREADS = 8


def shape_of(count: int, size: int, mode: Mode) -> tuple[int, int, int, int]:
    """Count, channels, rows, columns of one side."""
    return count, CHANNELS[mode], size, size


def decode_into(
    sides: tuple[Bytes, Bytes],
    pairs: Sequence[PairFiles],
    modes: Modes,
    *,
    strict: bool,
    on_file: Callable[[int, int], None] | None,
) -> dict[int, str]:
    """Fill row i of both sides with pair i.

    Threads are enough: Pillow gives up the interpreter's lock while it decodes and resizes.

    Args:
        sides: arrays of `shape_of`.
        pairs: what to decode.
        modes: how the pixels of A and B are meant.
        strict: raise for the first broken pair instead of going on.
        on_file: told (pairs done, pairs in all) after each pair, on the calling thread.

    Returns:
        Row to sentence for every pair that is broken; such a row holds nothing of use.
    """
    size = sides[0].shape[-1]

    def fill(row: int) -> str | None:
        try:
            for side, picture, mode in zip(sides, open_pair(pairs[row], modes), modes, strict=True):
                pixels = np.asarray(resize(picture, size, mode))
                side[row] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        except BadInputError as error:
            return str(error)
        return None

    broken = {}
    pool = ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1))
    try:
        for row, problem in enumerate(pool.map(fill, range(len(pairs)))):
            if problem is not None and strict:
                raise BadInputError(problem)
            if problem is not None:
                broken[row] = problem
            if on_file is not None:
                on_file(row + 1, len(pairs))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C is not kept waiting for thousands of pictures
    return broken


def open_pair(files: PairFiles, modes: Modes) -> tuple[Image, Image]:
    """Both sides in their own size.

    Raises:
        BadInputError: a file is broken, cannot be halved, or the sides have different proportions.
    """
    if files.b is None:
        # One file, one decoding: only where both sides are labels are the numbers in it class numbers.
        return _halves(files, "labels" if modes == ("labels", "labels") else "rgb", modes)
    a, b = open_picture(files.a, modes[0]), open_picture(files.b, modes[1])
    if abs(a.width * b.height - b.width * a.height) > 0.01 * a.width * b.height:
        raise BadInputError(
            f"{files.a} is {a.width}x{a.height} but {files.b} is {b.width}x{b.height}: both sides of a pair "
            "show the same view in the same proportions; replace or remove them."
        )
    return a, b


def _halves(files: PairFiles, read_as: Mode, modes: Modes) -> tuple[Image, Image]:
    picture = open_picture(files.a, read_as)
    width, height = picture.size
    if width % 2:
        raise BadInputError(
            f"{files.a} is {width}x{height}: a side-by-side pair has an even width, A in the left half and B in "
            "the right; replace or remove it."
        )
    boxes = ((0, 0, width // 2, height), (width // 2, 0, width, height))
    a, b = (
        picture.crop(box).convert("L") if mode == "grey" else picture.crop(box)
        for box, mode in zip(boxes, modes, strict=True)
    )
    return a, b
