"""What a layout says of a dataset: which images belong together, split by split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

__all__ = ["SPLITS", "Layout", "Listing", "Orphan", "PairFiles"]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """One pair. `b` is None where one file holds both: A its left half, B its right.

    Attributes:
        name: what the pair is called, the same on every machine.
        a: the file of A.
        b: the file of B.
    """

    name: str
    a: Path
    b: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """An image that lacks its other half, and the sentence that says so."""

    name: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A split: its pairs, sorted, and what could not be paired."""

    pairs: tuple[PairFiles, ...]
    orphans: tuple[Orphan, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """A way to keep pairs. Names are read, images are not.

    Attributes:
        kind: what the layout is called.
        root: the folder or file that was named as the dataset.
    """

    kind: ClassVar[str]
    root: Path

    @property
    @abstractmethod
    def seen(self) -> str:
        """What was seen that told this layout, for example "A/train/ and B/train/"."""

    @abstractmethod
    def has(self, split: str) -> bool:
        """Whether there is a place for this split; it may still be empty."""

    @abstractmethod
    def listing(self, split: str) -> Listing:
        """The pairs of a split.

        Raises:
            BadInputError: there is no such split, or no pair in it.
        """
