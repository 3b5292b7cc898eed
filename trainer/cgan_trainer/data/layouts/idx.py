"""The IDX files of MNIST and its successors: one file of images and one of labels per split, plain or gzipped.

    ROOT/train-images-idx3-ubyte[.gz]  train-labels-idx1-ubyte[.gz]  t10k-images-idx3-ubyte[.gz]  t10k-labels-...

`t10k` is the test split. The files may lie in `ROOT`, `ROOT/raw` or `ROOT/NAME/raw`, and be called `idx3.ubyte`.
A file begins with big-endian 32-bit numbers: 2051, count, rows, columns (images); 2049, count (labels).
Source: LeCun, Cortes, Burges, "The MNIST database", file formats.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import PLAIN, Limits

from cgan_trainer.data.images import Mode
from cgan_trainer.data.layouts.labelled import LabelledFiles, LabelledLayout

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

__all__ = ["Content", "IdxFiles", "find_idx", "parse_idx", "read_idx"]

SPLITS = {"train": "train", "test": "t10k"}
MAGIC = {"images": 2051, "labels": 2049}
MAX_BYTES = 4 << 30
MOST_INFLATED = 1032  # bytes that a byte of a gzip file can stand for
Content = Literal["images", "labels"]


@dataclass(frozen=True, kw_only=True)
class IdxFiles(LabelledLayout):
    """The layout in which MNIST, FashionMNIST and KMNIST are published."""

    kind: ClassVar[str] = "IDX files"

    @classmethod
    def recognise(cls, root: Path, named: tuple[str, ...] = ()) -> IdxFiles | None:
        """The layout, if the folder holds a file of training images."""
        return None if find_idx(root, "train", "images") is None else cls(root=root, named=named)

    @property
    def seen(self) -> str:
        """The file of training images."""
        return self._path("train", "images").relative_to(self.root).as_posix()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Those of dataset.json, else the numbers from 0 to the largest label of train."""
        labels = read_idx(self._path("train", "labels"), "labels")
        count = int(labels.max()) + 1
        if self.named and len(self.named) < count:
            raise BadInputError(
                f"{self.root} has labels up to {count - 1}, but dataset.json names {len(self.named)} classes: name "
                f"{count}."
            )
        return self.named or tuple(str(number) for number in range(count))

    def has(self, split: str) -> bool:
        """Whether the images are there."""
        return split in SPLITS and find_idx(self.root, split, "images") is not None

    def listing(self, split: str) -> LabelledFiles:
        """Every image of the file; each is called by its row, "00007" for example."""
        images_path, labels_path = self._path(split, "images"), self._path(split, "labels")
        images, labels = read_idx(images_path, "images"), read_idx(labels_path, "labels")
        if len(images) != len(labels):
            raise BadInputError(
                f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} labels: both "
                "files of one download are needed."
            )
        if int(labels.max()) >= len(self.classes):
            raise BadInputError(
                f"{labels_path} has label {int(labels.max())}, but there are {len(self.classes)} classes."
            )

        def open_row(row: int, mode: Mode, limits: Limits = PLAIN) -> Image:
            import PIL.Image

            del limits  # its values have 8 bits

            return PIL.Image.fromarray(images[row]).convert("L" if mode == "grey" else "RGB")

        return LabelledFiles(
            names=tuple(f"{row:05d}" for row in range(len(images))),
            labels=tuple(labels.tolist()),
            open=open_row,
            read=((images_path.name, images_path), (labels_path.name, labels_path)),
            stored="IDX",
        )

    def _path(self, split: str, content: Content) -> Path:
        path = find_idx(self.root, split, content) if split in SPLITS else None
        if path is None:
            prefix = SPLITS.get(split)
            wanted = f"{prefix}-{content}-idx{_DIMENSIONS[content]}-ubyte" if prefix else f"{split} split"
            raise BadInputError(f"{self.root} holds IDX files, but no {wanted}[.gz]: put it beside the others.")
        return path


_DIMENSIONS = {"images": 3, "labels": 1}


def find_idx(root: Path, split: str, content: Content) -> Path | None:
    """The file, under any of its names, in the folder itself or in the `raw` folder that torchvision makes."""
    stem = f"{SPLITS[split]}-{content}-idx{_DIMENSIONS[content]}"
    names = [f"{stem}{dot}ubyte{ending}" for dot in "-." for ending in ("", ".gz")]
    for folder in (root, root / "raw", *sorted(root.glob("*/raw"))):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def read_idx(path: Path, content: Content) -> Bytes:
    """The values of a file; see `parse_idx`."""
    try:
        with path.open("rb") as stream:
            return parse_idx(stream, str(path), content)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error


def parse_idx(stream: BinaryIO, called: str, content: Content) -> Bytes:
    """The values: images uint8 [n, h, w], or labels uint8 [n]; gzipped or plain.

    Raises:
        BadInputError: it is none of these, is damaged, empty, or not as long as its header says.
    """
    import numpy as np

    zipped = stream.read(2) == b"\x1f\x8b"
    # A read takes memory for as much as it asks for, whether that is there or not.
    most_bytes = stream.seek(0, os.SEEK_END) * (MOST_INFLATED if zipped else 1)
    stream.seek(0)
    try:
        opened: gzip.GzipFile | BinaryIO = gzip.GzipFile(fileobj=stream) if zipped else stream
        head = opened.read(4 * (1 + _DIMENSIONS[content]))
        numbers = np.frombuffer(head[: len(head) // 4 * 4], dtype=">u4").tolist()
        if not numbers or numbers[0] != MAGIC[content]:
            begins = f"begins with the number {numbers[0]}" if numbers else "is empty"
            raise BadInputError(
                f"{called} {begins}, but IDX {content} begin with {MAGIC[content]}: download it again, or give it "
                "its own name."
            )
        shape = tuple(numbers[1:])
        wanted = math.prod(shape) if len(shape) == _DIMENSIONS[content] else 0
        if not 0 < wanted <= MAX_BYTES:
            raise BadInputError(f"{called} says it holds {_times(shape)} values: download it again.")
        data = opened.read(min(wanted, most_bytes) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInputError(f"{called} is damaged ({error}): download it again.") from error
    if len(data) != wanted:
        found = "more" if len(data) > wanted else f"only {len(data)}"
        raise BadInputError(
            f"{called} says it holds {_times(shape)} values, but there are {found}: download it again."
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "no"
