"""Image files to arrays of one size, on every core; what cannot be decoded is reported, not raised."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import PLAIN, Limits

from cgan_trainer.data.images import CHANNELS, Mode, open_image, resize
from cgan_trainer.data.layouts import PairFiles

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Array", "ArraySpec", "Bytes", "Modes", "Rows", "decode_rows", "in_threads", "open_pair", "pixels_of"]

Array = np.ndarray[Any, np.dtype[Any]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Modes = tuple[Mode, Mode]
T = TypeVar("T")
U = TypeVar("U")
MAX_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """One array of a split, before it is filled: the shape of a row, and the dtype."""

    shape: tuple[int, ...]
    dtype: str = "uint8"

    @classmethod
    def of_images(cls, size: int, mode: Mode) -> ArraySpec:
        """Channels, rows, columns of an image of size x size."""
        return cls(shape=(CHANNELS[mode], size, size))

    def nbytes(self, rows: int) -> int:
        """Bytes that so many rows take."""
        return int(np.prod((rows, *self.shape), dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows that are read together: row i of every array here comes from one call of `read`.

    Attributes:
        names: of the rows.
        arrays: by name.
        read: given a row, its values for every array, in their order; raises BadInputError for a broken row.
    """

    names: tuple[str, ...]
    arrays: Mapping[str, ArraySpec]
    read: Callable[[int], Sequence[Any]]

    def __len__(self) -> int:
        return len(self.names)


def decode_rows(
    rows: Rows, arrays: Mapping[str, Array], *, strict: bool, on_row: Callable[[int], None]
) -> dict[int, str]:
    """Fill every row of the arrays.

    Args:
        rows: what to decode.
        arrays: by name, as `rows.arrays` says.
        strict: raise for the first broken row instead of going on.
        on_row: told how many rows are done after each, on the calling thread.

    Returns:
        Row to sentence for every row that is broken; such a row holds nothing of use.
    """

    def fill(row: int) -> str | None:
        try:
            for name, values in zip(rows.arrays, rows.read(row), strict=True):
                arrays[name][row] = values
        except BadInputError as error:
            return str(error)
        return None

    broken = {}
    with contextlib.closing(in_threads(fill, range(len(rows)))) as problems:
        for row, problem in enumerate(problems):
            if problem is not None and strict:
                raise BadInputError(problem)
            if problem is not None:
                broken[row] = problem
            on_row(row + 1)
    return broken


def in_threads(work: Callable[[T], U], items: Sequence[T]) -> Generator[U, None, None]:
    """`map(work, items)` in order, on every core.

    Threads are enough: Pillow gives up the interpreter's lock while it decodes and resizes.
    """
    pool = ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C is not kept waiting for thousands of images


def pixels_of(image: Image, size: int, mode: Mode) -> Bytes:
    """The image at size x size: uint8 [c, h, w]."""
    pixels = np.asarray(resize(image, size, mode))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def open_pair(
    files: PairFiles, modes: Modes, limits: tuple[Limits, Limits] = (PLAIN, PLAIN)
) -> tuple[Image, Image]:
    """Both sides in their own size.

    Raises:
        BadInputError: a file is broken, cannot be halved, or the sides have different proportions.
    """
    if files.b is None:
        # One file, one decoding: only where both sides are labels are the numbers in it class numbers.
        return _halves(files, "labels" if modes == ("labels", "labels") else "rgb", modes, limits[0])
    a, b = open_image(files.a, modes[0], limits[0]), open_image(files.b, modes[1], limits[1])
    if abs(a.width * b.height - b.width * a.height) > 0.01 * a.width * b.height:
        raise BadInputError(
            f"{files.a} is {a.width}x{a.height} but {files.b} is {b.width}x{b.height}: both sides of a pair "
            "show the same view in the same proportions; replace or remove them."
        )
    return a, b


def _halves(files: PairFiles, read_as: Mode, modes: Modes, limits: Limits) -> tuple[Image, Image]:
    image = open_image(files.a, read_as, limits)
    width, height = image.size
    if width % 2:
        raise BadInputError(
            f"{files.a} is {width}x{height}: a side-by-side pair has an even width, A in the left half and B in "
            "the right; replace or remove it."
        )
    boxes = ((0, 0, width // 2, height), (width // 2, 0, width, height))
    a, b = (
        image.crop(box).convert("L") if mode == "grey" else image.crop(box)
        for box, mode in zip(boxes, modes, strict=True)
    )
    return a, b
