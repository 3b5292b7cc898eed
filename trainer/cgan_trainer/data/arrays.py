"""A split as named arrays, decoded once: from the files of any layout to values in memory, through the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgan_runtime.errors import BadInputError
from cgan_runtime.progress import note

from cgan_trainer.data.cache import CacheEntry, allocate, cache_folder, read_entry, write_entry
from cgan_trainer.data.decoding import Array, ArraySpec, Rows, decode_rows

__all__ = ["Decoding", "load_arrays", "name_problems"]

Files = Mapping[str, tuple[str, ...]]
NAMED = 5  # broken images told one by one


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a split is decoded.

    Attributes:
        where: the dataset, for messages.
        unit: what is counted, "pairs" or "images".
        size: side of the images in pixels, for messages.
        key: of the cache (`cache.key_of`).
        groups: the rows; those of one group lose a broken row together.
        head: what the digest covers beside the values, given the names of the rows by array.
        strict: raise for the first broken row.
        on_file: told (rows done, rows in all) after each row; once if they come from the cache.
    """

    where: str
    unit: str
    size: int
    key: str
    groups: tuple[Rows, ...]
    head: Callable[[Files], list[Any]]
    strict: bool = False
    on_file: Callable[[int, int], None] | None = None

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.groups)

    def run(self, make: Callable[[str, int, ArraySpec], Array]) -> CacheEntry:
        """Decode into arrays from `make(name, rows, spec)`; broken rows are taken out.

        Raises:
            BadInputError: every row of a group is broken; or one, if strict.
        """
        files: dict[str, tuple[str, ...]] = {}
        arrays: dict[str, Array] = {}
        skipped: list[tuple[str, str]] = []
        before = 0
        for rows in self.groups:
            whole = {name: make(name, len(rows), spec) for name, spec in rows.arrays.items()}
            broken = decode_rows(rows, whole, strict=self.strict, on_row=self._report_from(before))
            if len(broken) == len(rows):
                raise BadInputError(f"none of the {len(rows)} images can be used; the first: {broken[0]}")
            kept = [row for row in range(len(rows)) if row not in broken]
            for name, array in whole.items():
                arrays[name] = array if not broken else _only(make, name, rows.arrays[name], array, kept)
                files[name] = tuple(rows.names[row] for row in kept)
            skipped += [(rows.names[row], problem) for row, problem in broken.items()]
            before += len(rows)
        return CacheEntry(
            files=files, arrays=arrays, skipped=tuple(skipped), sha256=_digest(self.head(files), arrays)
        )

    def in_memory(self) -> CacheEntry:
        """Decode into memory, without a cache."""
        self._check_memory()
        return self.run(lambda _, rows, spec: np.empty((rows, *spec.shape), dtype=spec.dtype))

    def _report_from(self, before: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            if self.on_file is not None:
                self.on_file(before + done, len(self))

        return report

    def _check_memory(self) -> None:
        needed_bytes = sum(spec.nbytes(len(rows)) for rows in self.groups for spec in rows.arrays.values())
        try:
            available_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):  # not every system says
            return
        # Free memory does not count what the file cache would give back: only a clear excess is refused.
        if needed_bytes > 4 * available_bytes:
            raise BadInputError(
                f"{self.where} needs {needed_bytes / 2**30:.1f} GiB of memory for {len(self)} {self.unit} at "
                f"{self.size}x{self.size}, but {available_bytes / 2**30:.1f} GiB are free: use a smaller --size or "
                "fewer images."
            )


def load_arrays(work: Decoding, cache: Path | None = None) -> CacheEntry:
    """The arrays of a split: from the cache, else decoded and kept there.

    Where the cache cannot be written they are only kept in memory.

    Args:
        work: what to decode.
        cache: where decoded values are kept; None means `cache_folder()`.

    Raises:
        BadInputError: every row of a group is broken; or one, if strict.
    """
    folder = (cache_folder() if cache is None else cache) / work.key
    entry = read_entry(folder)
    if entry is None:
        return _through_cache(folder, work)
    if work.on_file is not None:
        work.on_file(len(work), len(work))
    if work.strict and entry.skipped:
        raise BadInputError(entry.skipped[0][1])
    return entry


def name_problems(root: Path, split: str, unit: str, problems: Sequence[str], total: int) -> None:
    """Say on stderr what is left out of a split: how many, and the first few.

    Args:
        root: the dataset.
        split: of it.
        unit: what is counted.
        problems: a sentence each.
        total: how many there would be.
    """
    if not problems:
        return
    note(f"{root}: {len(problems)} of {total} {split} {unit} are left out:")
    for problem in problems[:NAMED]:
        note(f"  {problem}")
    if len(problems) > NAMED:
        note(f"  and {len(problems) - NAMED} more")


def _through_cache(folder: Path, work: Decoding) -> CacheEntry:
    def fill(partial: Path) -> CacheEntry:
        entry = work.run(lambda name, rows, spec: allocate(partial / f"{name}.npy", rows, spec))
        for name in entry.arrays:
            kept = partial / f"{name}.kept.npy"
            if kept.exists():
                kept.replace(partial / f"{name}.npy")
        return entry

    try:
        return write_entry(folder, fill)
    except OSError as error:
        made_meanwhile = read_entry(folder)  # by another process of the same training
        if made_meanwhile is not None:
            return made_meanwhile
        note(f"The cache {folder.parent} cannot be written ({error.strerror or error}): going on without it.")
        return work.in_memory()


def _only(
    make: Callable[[str, int, ArraySpec], Array], name: str, spec: ArraySpec, whole: Array, rows: list[int]
) -> Array:
    kept = make(f"{name}.kept", len(rows), spec)
    for to, row in enumerate(rows):
        kept[to] = whole[row]
    return kept


def _digest(head: list[Any], arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(json.dumps(head).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
