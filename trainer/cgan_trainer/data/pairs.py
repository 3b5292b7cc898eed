"""A split of pairs, decoded once: from files in any layout to two tensors, through the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cgan_runtime.errors import BadInputError
from cgan_runtime.progress import note
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.cache import CacheEntry, allocate, cache_folder, key_of, read_entry, write_entry
from cgan_trainer.data.decoding import Bytes, Modes, decode_into, shape_of
from cgan_trainer.data.domains import Domains, palette_of, read_domains
from cgan_trainer.data.layouts import PairFiles, find_layout
from cgan_trainer.data.pictures import CHANNELS

__all__ = [
    "Domains",
    "Modes",
    "Pairs",
    "count_pairs",
    "find_validation",
    "load_pairs",
    "palette_of",
    "read_domains",
]

RGB: Modes = ("rgb", "rgb")
NAMED = 5  # broken pictures told one by one


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """A split in memory: the loader never waits for a decoder.

    Attributes:
        files: names of the pairs, in the order of the rows.
        a: side A, 0..255; 3 channels, or 1 for grey.
        b: side B, likewise.
        sha256: hex digest over names and pixels: equal digests train equal weights.
        skipped: names of what is in the dataset but broken or without partner.
    """

    files: tuple[str, ...]
    a: UInt8[Tensor, "n ca h w"]
    b: UInt8[Tensor, "n cb h w"]
    sha256: str
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)


def find_validation(root: Path) -> str:
    """`val`, or `test` where held-out pictures are called that."""
    layout = find_layout(root)
    for split in ("val", "test"):
        if layout.has(split):
            try:
                layout.listing(split)
            except BadInputError as error:  # an empty folder: the other one may have pictures
                note(f"No validation with {split}: {error}")
                continue
            return split
    where = f"{root / 'val'}" if root.is_dir() else "rows with split val"
    raise BadInputError(f"{root} has no pictures under val/ or test/: put some held-out pairs into {where}.")


def count_pairs(root: Path, split: str) -> int:
    """How many pairs a split lists; the pictures are not opened.

    Raises:
        BadInputError: as `load_pairs`, where names alone show it.
    """
    return len(find_layout(root).listing(split).pairs)


def load_pairs(
    root: Path,
    split: str,
    size: int,
    on_file: Callable[[int, int], None] | None = None,
    *,
    modes: Modes = RGB,
    strict: bool = False,
    cache: Path | None = None,
) -> Pairs:
    """Every pair of a split at size x size, resized where it has another size.

    Decoded pixels are kept in the cache; where that cannot be written they are only kept in memory. A broken
    picture is named on stderr and left out.

    Args:
        root: the dataset folder, or a list of pairs.
        split: "train", "val" or "test".
        size: side in pixels.
        on_file: told (pairs done, pairs in all) after each pair; once if they come from the cache.
        modes: how the pixels of A and B are meant.
        strict: raise for the first broken picture instead.
        cache: where decoded pixels are kept; None means `cache_folder()`.

    Raises:
        BadInputError: the dataset, or its every picture, cannot be used; or a picture, if strict.
    """
    layout = find_layout(root)
    listing = layout.listing(split)
    if strict and listing.orphans:
        raise BadInputError(listing.orphans[0].problem)
    folder = (cache_folder() if cache is None else cache) / key_of(layout, split, listing.pairs, size, modes)
    entry = read_entry(folder)
    if entry is not None and on_file is not None:
        on_file(len(listing.pairs), len(listing.pairs))
    if entry is None:
        work = _Decoding(
            pairs=listing.pairs, size=size, modes=modes, strict=strict, on_file=on_file, where=f"{root}"
        )
        entry = _through_cache(folder, work)
    if strict and entry.skipped:
        raise BadInputError(entry.skipped[0][1])
    problems = [(orphan.name, orphan.problem) for orphan in listing.orphans] + list(entry.skipped)
    _tell(root, split, [problem for _, problem in problems], len(entry.files) + len(problems))
    return Pairs(
        files=entry.files,
        a=torch.from_numpy(entry.a),
        b=torch.from_numpy(entry.b),
        sha256=entry.sha256,
        skipped=tuple(name for name, _ in problems),
    )


@dataclass(frozen=True, kw_only=True)
class _Decoding:
    """The work left when the cache has nothing."""

    pairs: tuple[PairFiles, ...]
    size: int
    modes: Modes
    strict: bool
    on_file: Callable[[int, int], None] | None
    where: str

    def run(self, make: Callable[[str, tuple[int, ...]], Bytes]) -> CacheEntry:
        """Decode into arrays from `make(name, shape)`; broken rows are taken out."""
        a, b = (
            make(side, shape_of(len(self.pairs), self.size, mode))
            for side, mode in zip("ab", self.modes, strict=True)
        )
        broken = decode_into((a, b), self.pairs, self.modes, strict=self.strict, on_file=self.on_file)
        if len(broken) == len(self.pairs):
            raise BadInputError(f"none of the {len(self.pairs)} pictures can be used; the first: {broken[0]}")
        if broken:
            rows = [row for row in range(len(self.pairs)) if row not in broken]
            a, b = (_without(make, side, whole, rows) for side, whole in (("a", a), ("b", b)))
        files = tuple(pair.name for row, pair in enumerate(self.pairs) if row not in broken)
        return CacheEntry(
            files=files,
            a=a,
            b=b,
            skipped=tuple((self.pairs[row].name, problem) for row, problem in broken.items()),
            sha256=_digest(files, a, b, self.size, self.modes),
        )

    def in_memory(self) -> CacheEntry:
        """Without a cache."""
        _check_memory(len(self.pairs), self.size, self.modes, self.where)
        return self.run(lambda _, shape: np.empty(shape, dtype=np.uint8))


def _through_cache(folder: Path, work: _Decoding) -> CacheEntry:
    def fill(partial: Path) -> CacheEntry:
        entry = work.run(lambda name, shape: allocate(partial / f"{name}.npy", shape))
        for side in "ab":
            kept = partial / f"{side}.kept.npy"
            if kept.exists():
                kept.replace(partial / f"{side}.npy")
        return entry

    try:
        return write_entry(folder, fill)
    except OSError as error:
        made_meanwhile = read_entry(folder)  # by another process of the same training
        if made_meanwhile is not None:
            return made_meanwhile
        note(f"The cache {folder.parent} cannot be written ({error.strerror or error}): going on without it.")
        return work.in_memory()


def _without(make: Callable[[str, tuple[int, ...]], Bytes], side: str, whole: Bytes, rows: list[int]) -> Bytes:
    kept = make(f"{side}.kept", (len(rows), *whole.shape[1:]))
    for to, row in enumerate(rows):
        kept[to] = whole[row]
    return kept


def _digest(files: tuple[str, ...], a: Bytes, b: Bytes, size: int, modes: Modes) -> str:
    head = [files, size] if modes == RGB else [files, size, modes]
    digest = hashlib.sha256(json.dumps(head).encode())
    for side in (a, b):
        digest.update(np.ascontiguousarray(side).data)
    return digest.hexdigest()


def _tell(root: Path, split: str, problems: list[str], total: int) -> None:
    if not problems:
        return
    note(f"{root}: {len(problems)} of {total} {split} pairs are left out:")
    for problem in problems[:NAMED]:
        note(f"  {problem}")
    if len(problems) > NAMED:
        note(f"  and {len(problems) - NAMED} more")


def _check_memory(count: int, size: int, modes: Modes, where: str) -> None:
    needed_bytes = count * sum(CHANNELS[mode] for mode in modes) * size * size
    try:
        available_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system says
        return
    # Free memory does not count what the file cache would give back: only a clear excess is refused.
    if needed_bytes > 4 * available_bytes:
        raise BadInputError(
            f"{where} needs {needed_bytes / 2**30:.1f} GiB of memory for {count} pairs at {size}x{size}, but "
            f"{available_bytes / 2**30:.1f} GiB are free: use a smaller --size or fewer pictures."
        )
