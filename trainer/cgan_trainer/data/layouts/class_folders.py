"""A folder per class: `ROOT/{train,val,test}/CLASS/*`, at any depth below the class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_formats import READ_SUFFIXES, READ_WORDS
from cgan_runtime.image_values import PLAIN, Limits

from cgan_trainer.data.images import Mode, list_images, open_image
from cgan_trainer.data.layouts.base import SPLITS
from cgan_trainer.data.layouts.labelled import LabelledFiles, LabelledLayout, class_order

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ClassFolders", "class_folders_of", "holds_only_folders"]


@dataclass(frozen=True, kw_only=True)
class ClassFolders(LabelledLayout):
    """The folder's name is the class: a name in dataset.json, or its number there; any name without that file."""

    kind: ClassVar[str] = "class folders"

    @property
    def seen(self) -> str:
        """How many class folders there are."""
        split = next(split for split in SPLITS if self.has(split))
        return f"{split}/ with {len(class_folders_of(self.root / split))} class folders"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Those of dataset.json, else the folders of train."""
        return self.named or class_order(set(self._folders("train")))

    def has(self, split: str) -> bool:
        """Whether the folder is there."""
        return (self.root / split).is_dir()

    def listing(self, split: str) -> LabelledFiles:
        """The images of every class folder, class by class."""
        folders = self._folders(split)
        paths: list[Path] = []
        names: list[str] = []
        labels: list[int] = []
        for name in class_order(set(folders)):
            found = list_images(folders[name])
            if not found:
                raise BadInputError(
                    f"{folders[name]} holds no images: put those of class {name} there, as {READ_WORDS}, or remove "
                    "the folder."
                )
            paths += found
            names += [path.relative_to(self.root / split).as_posix() for path in found]
            labels += [self._number(name, split)] * len(found)

        def open_row(row: int, mode: Mode, limits: Limits = PLAIN) -> Image:
            return open_image(paths[row], mode, limits)

        return LabelledFiles(
            names=tuple(names), labels=tuple(labels), open=open_row, read=tuple(zip(names, paths, strict=True))
        )

    def _folders(self, split: str) -> dict[str, Path]:
        folder = self.root / split
        if not folder.is_dir():
            raise BadInputError(
                f"{self.root} has no {split}/ folder: put a folder of images per class into {folder}."
            )
        found = class_folders_of(folder)
        if not found:
            raise BadInputError(
                f"{folder} holds no class folders: put the images of each class into a folder of its name, for "
                f"example {folder / 'cat'}."
            )
        return {path.name: path for path in found}

    def _number(self, name: str, split: str) -> int:
        if name in self.classes:
            return self.classes.index(name)
        if self.named and name.isdecimal() and int(name) < len(self.named):
            return int(name)
        where = "dataset.json" if self.named else "train/"
        raise BadInputError(
            f"{self.root / split / name} is a class that {where} does not have ({_few(self.classes)}): rename or "
            "remove the folder."
        )


def class_folders_of(folder: Path) -> list[Path]:
    """The folders directly in it, sorted; hidden ones are skipped."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def holds_only_folders(folder: Path) -> bool:
    """Whether there are folders in it and no image beside them."""
    images = (
        path
        for path in folder.iterdir()
        if path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return bool(class_folders_of(folder)) and next(images, None) is None


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
