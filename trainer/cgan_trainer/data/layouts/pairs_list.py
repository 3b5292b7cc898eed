"""A list of pairs: `pairs.csv` with a header `a,b,split`, or `pairs.jsonl` with an object a line and the same keys.

Paths are relative to the list. Without `split` every pair is put into train or val by its name: val takes the names
whose SHA-256, read as a number, is divisible by ten. So a pair stays where it is when others are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.layouts.base import Layout, Listing, Orphan, PairFiles
from cgan_trainer.data.layouts.list_files import is_there, listed_file, read_rows, split_of

__all__ = ["PairsList"]


@dataclass(frozen=True, kw_only=True)
class _Row:
    line: int
    a: str
    b: str
    split: str


@dataclass(frozen=True, kw_only=True)
class PairsList(Layout):
    """The layout for images that lie elsewhere, in any arrangement."""

    kind: ClassVar[str] = "pairs list"

    @property
    def seen(self) -> str:
        """The name of the list and how many pairs it has."""
        return f"{self.root.name} with {len(self._rows)} pairs"

    def has(self, split: str) -> bool:
        """Whether a row names the split."""
        return any(row.split == split for row in self._rows)

    def listing(self, split: str) -> Listing:
        """The rows of a split, sorted by name; those that name a missing file are orphans."""
        rows = sorted((row for row in self._rows if row.split == split), key=lambda row: (row.a, row.b))
        if not rows:
            raise BadInputError(f"{self.root} has no pair with split {split}: add some rows, a,b,{split}.")
        pairs, orphans = [], []
        for row in rows:
            a, b = listed_file(self.root, row.a), listed_file(self.root, row.b)
            missing = next((path for path in (a, b) if not is_there(path)), None)
            if missing is None:
                pairs.append(PairFiles(name=row.a, a=a, b=b))
            else:
                problem = (
                    f"{missing} does not exist ({self.root}, line {row.line}): paths are relative to the list."
                )
                orphans.append(Orphan(name=row.a, problem=problem))
        if not pairs:
            raise BadInputError(orphans[0].problem)
        return Listing(pairs=tuple(pairs), orphans=tuple(orphans))

    @cached_property
    def _rows(self) -> tuple[_Row, ...]:
        return read_rows(self.root, ("a", "b"), "pairs", _row)


def _row(path: Path, line: int, values: dict[str, Any]) -> _Row:
    a, b = values.get("a"), values.get("b")
    if not isinstance(a, str) or not isinstance(b, str) or not a or not b:
        raise BadInputError(f"{path}, line {line} lacks a or b: every pair names two image files.")
    return _Row(line=line, a=a, b=b, split=split_of(path, line, values, a))
