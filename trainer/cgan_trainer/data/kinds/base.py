"""What a kind of data is: how a dataset of that kind is read, and which images a run takes from it, by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import torch
from cgan_runtime.image_values import Limits
from torch import Tensor

__all__ = ["DataKind", "Facts", "OnFile", "Source", "Split"]

OnFile = Callable[[int, int], None]  # told (files done, files in all)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a dataset says of itself, independent of its pixels. Kinds add their own fields.

    Attributes:
        name: of the dataset.
        partial: what is missing decides the networks, and only the pixels of the training split tell it.
    """

    name: str
    partial: bool = False


F = TypeVar("F", bound=Facts)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a dataset in memory, so that a step never waits for a decoder.

    Attributes:
        name: "train", "val" or "test".
        arrays: by name; images uint8 [n, c, h, w], labels int64 [n]. Unpaired arrays differ in n.
        files: by array, the name of each row.
        count: images of one epoch.
        sha256: hex digest over names and values: equal digests train equal weights.
        skipped: names of what is in the dataset, but broken or incomplete.
        limits: by array, the ranges that values of more than 8 bits were scaled by; absent: none had any.
    """

    name: str
    arrays: Mapping[str, Tensor]
    files: Mapping[str, tuple[str, ...]]
    count: int
    sha256: str
    skipped: tuple[str, ...] = field(default=())
    limits: Mapping[str, Limits] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.count


class Source(ABC):
    """The images of a run. Image number `position` is the same wherever and in whatever company it is asked for."""

    @abstractmethod
    def __len__(self) -> int:
        """Images of one epoch."""

    @abstractmethod
    def row(self, position: int) -> dict[str, Tensor]:
        """The tensors of one image of the run, without a batch axis, on the device that trains.

        Order, cut and mirroring follow from (seed, purpose, position) alone. Images are float32 in the range that
        the networks take, labels int64 scalars.
        """


class DataKind(ABC, Generic[F]):
    """One way in which datasets are kept, together with what a run asks of it (size, channels, augmentation)."""

    kind: ClassVar[str]
    """What this kind is called: "paired", "unpaired", "labelled"."""
    unit: ClassVar[str]
    """What is counted: "pairs", "images"."""

    @abstractmethod
    def facts(self, root: Path, train: Split | None = None) -> F:
        """What the dataset says of itself.

        Args:
            root: the dataset.
            train: the training split; what only its pixels can tell is missing without it.

        Raises:
            BadInputError: the dataset cannot be used.
        """

    @abstractmethod
    def held_out(self, root: Path) -> str:
        """The split to validate with: "val", or "test" where there is no other.

        Raises:
            BadInputError: there is none.
        """

    @abstractmethod
    def has(self, root: Path, split: str) -> bool:
        """Whether the dataset has this split."""

    @abstractmethod
    def count(self, root: Path, split: str) -> int:
        """How many images an epoch of a split has; no image is opened.

        Raises:
            BadInputError: as `load`, where names alone show it.
        """

    @abstractmethod
    def load(self, root: Path, split: str, *, strict: bool = False, on_file: OnFile | None = None) -> Split:
        """Every image of a split.

        Args:
            root: the dataset.
            split: "train", "val" or "test".
            strict: raise for the first broken image instead of naming and leaving it out.
            on_file: told how far it is.

        Raises:
            BadInputError: the dataset cannot be used; or an image, if strict.
        """

    def for_judging(self, root: Path) -> DataKind[F]:
        """The same data as an evaluation compares with it; by default as it is trained on."""
        del root
        return self

    @abstractmethod
    def source(self, split: Split, *, seed: int, device: torch.device) -> Source:
        """The images that a run of this seed takes from the split."""
