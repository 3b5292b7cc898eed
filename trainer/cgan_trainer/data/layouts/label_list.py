"""A list of labelled images: `labels.csv` with a header `file,label,split`, or `labels.jsonl` with the same keys.

Paths are relative to the list. A label is the name of a class, or its number. Without `split` every image is put
into train or val by its name, as in a list of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import PLAIN, Limits

from cgan_trainer.data.images import Mode, open_image
from cgan_trainer.data.layouts.base import Orphan
from cgan_trainer.data.layouts.labelled import LabelledFiles, LabelledLayout, class_order
from cgan_trainer.data.layouts.list_files import is_there, listed_file, read_rows, split_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LabelList"]


@dataclass(frozen=True, kw_only=True)
class _Row:
    line: int
    file: str
    label: str
    split: str


@dataclass(frozen=True, kw_only=True)
class LabelList(LabelledLayout):
    """The layout for images that lie elsewhere, in any arrangement."""

    kind: ClassVar[str] = "label list"

    @property
    def seen(self) -> str:
        """The name of the list and how many images it has."""
        return f"{self.root.name} with {len(self._rows)} images"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Those of dataset.json, else the labels of all splits, sorted."""
        return self.named or class_order({row.label for row in self._rows})

    def has(self, split: str) -> bool:
        """Whether a row names the split."""
        return any(row.split == split for row in self._rows)

    def listing(self, split: str) -> LabelledFiles:
        """The rows of a split, sorted by name; those that name a missing file are orphans."""
        rows = sorted((row for row in self._rows if row.split == split), key=lambda row: row.file)
        if not rows:
            raise BadInputError(f"{self.root} has no image with split {split}: add some rows, file,label,{split}.")
        paths: list[Path] = []
        kept: list[_Row] = []
        orphans: list[Orphan] = []
        for row in rows:
            path = listed_file(self.root, row.file)
            if is_there(path):
                paths.append(path)
                kept.append(row)
            else:
                problem = f"{path} does not exist ({self.root}, line {row.line}): paths are relative to the list."
                orphans.append(Orphan(name=row.file, problem=problem))
        if not kept:
            raise BadInputError(orphans[0].problem)

        def open_row(row: int, mode: Mode, limits: Limits = PLAIN) -> Image:
            return open_image(paths[row], mode, limits)

        names = tuple(row.file for row in kept)
        return LabelledFiles(
            names=names,
            labels=tuple(self._number(row) for row in kept),
            open=open_row,
            read=tuple(zip(names, paths, strict=True)),
            orphans=tuple(orphans),
        )

    def _number(self, row: _Row) -> int:
        if row.label in self.classes:
            return self.classes.index(row.label)
        if row.label.isdecimal() and int(row.label) < len(self.classes):
            return int(row.label)
        raise BadInputError(
            f"{self.root}, line {row.line} has label {row.label!r}, which is none of the {len(self.classes)} "
            "classes in dataset.json: give a name or a number of one."
        )

    @cached_property
    def _rows(self) -> tuple[_Row, ...]:
        return read_rows(self.root, ("file", "label"), "images", _row)


def _row(path: Path, line: int, values: dict[str, Any]) -> _Row:
    file, label = values.get("file"), values.get("label")
    if not isinstance(file, str) or not isinstance(label, str | int) or not file or str(label) == "":
        raise BadInputError(f"{path}, line {line} lacks file or label: every row names an image and its class.")
    return _Row(line=line, file=file, label=str(label), split=split_of(path, line, values, file))
