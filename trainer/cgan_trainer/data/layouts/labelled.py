"""What a layout of labelled images says: which images a split has, and the class of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from cgan_runtime.image_values import PLAIN, Limits

from cgan_trainer.data.images import Mode
from cgan_trainer.data.layouts.base import Orphan

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LabelledFiles", "LabelledLayout", "class_order"]


class OpenRow(Protocol):
    """Opens one image of a split."""

    def __call__(self, row: int, mode: Mode, limits: Limits = PLAIN) -> Image:
        """The image in its own size; values of more than 8 bits are scaled by the limits."""


@dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """One split of labelled images, before any is decoded.

    Attributes:
        names: of the images, the same on every machine.
        labels: the number of the class of each image.
        open: given a row, a mode and limits, the image; raises BadInputError for a broken one.
        read: the files that hold them, each with what it is called there.
        stored: what the files are, "PNG" for example; empty: each image says it itself.
        orphans: images that cannot be used, for they are not there.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    open: OpenRow
    read: tuple[tuple[str, Path], ...]
    stored: str = ""
    orphans: tuple[Orphan, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class LabelledLayout(ABC):
    """A way to keep labelled images. Names and labels are read, images are not.

    Attributes:
        kind: what the layout is called.
        root: the folder or file that was named as the dataset.
        named: the classes as dataset.json names them, in the order of their numbers; empty: not told.
    """

    kind: ClassVar[str]
    root: Path
    named: tuple[str, ...] = ()

    @property
    @abstractmethod
    def seen(self) -> str:
        """What was seen that told this layout, for example "train/ with 10 class folders"."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers.

        Raises:
            BadInputError: they cannot be told, or do not fit those of dataset.json.
        """

    @abstractmethod
    def has(self, split: str) -> bool:
        """Whether there is a place for this split; it may still be empty."""

    @abstractmethod
    def listing(self, split: str) -> LabelledFiles:
        """The images of a split.

        Raises:
            BadInputError: there is no such split, or no image in it, or labels that do not fit.
        """


def class_order(names: set[str]) -> tuple[str, ...]:
    """Numbers by their value (9 before 10), other names by the alphabet."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
