"""Decoded images on the disk, mapped into memory: the second start of a training decodes nothing.

Below the cache folder (CGAN_CACHE, else the user's own) lies one folder per split, size and way of reading: an
`.npy` file for each of its arrays, and `entry.json`. Its name is a hash over everything that decides the values:
the names, sizes and times of the files, the modes, the decoder's version. A changed file makes another entry: none
is out of date.

An entry is checked before it is used: lengths, shapes and a SHA-256, over all bytes of a small array, over evenly
spread blocks of a large one. What fails is decoded again. Entries not used for a day make room when the cache
exceeds 20 GiB; `cgan-data cache --clear` empties it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgan_runtime.atomic import atomic_folder, is_temporary, write_atomic

from cgan_trainer.data.decoding import Array, ArraySpec

__all__ = [
    "CacheEntry",
    "allocate",
    "cache_folder",
    "clear_cache",
    "extents_folder",
    "key_of",
    "read_entry",
    "used_bytes",
    "write_entry",
]

VERSION = 2
LIMIT_BYTES = 20 << 30
UNUSED_S = 24 * 3600.0
HASHED_WHOLE_BYTES = 256 << 20  # a fifth of a second
BLOCK_BYTES, BLOCKS = 1 << 16, 1024


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """A decoded split.

    Attributes:
        files: the names of the rows, by array.
        arrays: by name.
        skipped: (name, sentence) of what was broken.
        sha256: of names and values.
    """

    files: Mapping[str, tuple[str, ...]]
    arrays: Mapping[str, Array]
    skipped: tuple[tuple[str, str], ...]
    sha256: str


def cache_folder() -> Path:
    """Where entries are kept: below CGAN_CACHE, or the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("CGAN_CACHE")
    return (Path(chosen) if chosen else platformdirs.user_cache_path("cgan-deploy")) / "pairs"


def extents_folder(folder: Path) -> Path:
    """Beside the cache folder: what the largest values of images of more than 8 bits are (value_ranges.py)."""
    return folder.with_name(f"{folder.name}-extents")


def key_of(head: list[Any], files: Iterable[tuple[str, Path]]) -> str:
    """A name for what decoding would give; only the files' entries in their folders are looked at.

    Args:
        head: whatever else decides the values, plain enough for JSON.
        files: each file that is read, and what its row is called.
    """
    import PIL

    digest = hashlib.sha256(json.dumps([VERSION, PIL.__version__, *head]).encode())
    for name, path in files:
        state = path.stat()
        # The time of the last change of the entry as well: a file copied over another may keep length and date, as
        # archives made for reproducible builds do.
        told = [name, str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        digest.update(json.dumps(told).encode())
    return digest.hexdigest()


def read_entry(folder: Path) -> CacheEntry | None:
    """The entry, mapped so that writing to the arrays never reaches the file; None if absent or damaged."""
    try:
        document = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        body = document["body"]
        if document["sha256"] != _digest_of(body) or body["key"] != folder.name or body["version"] != VERSION:
            return None
        arrays = {}
        for name, told in body["arrays"].items():
            path = folder / f"{name}.npy"
            if path.stat().st_size != told["bytes"] or hash_file(path) != told["sha256"]:
                return None
            arrays[name] = np.load(path, mmap_mode="c", allow_pickle=False)
            if str(arrays[name].dtype) != told["dtype"] or list(arrays[name].shape) != told["shape"]:
                return None
        os.utime(folder / "entry.json")  # used now
        return CacheEntry(
            files={name: tuple(told["files"]) for name, told in body["arrays"].items()},
            arrays=arrays,
            skipped=tuple((name, problem) for name, problem in body["skipped"]),
            sha256=body["values_sha256"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None  # whatever is wrong with it, the images themselves are still there


def write_entry(folder: Path, fill: Callable[[Path], CacheEntry]) -> CacheEntry:
    """Make an entry, complete or not at all.

    Args:
        folder: the entry, named by its key.
        fill: is given a folder, makes `NAME.npy` in it for each array by `allocate`, and returns their content.

    Raises:
        OSError: the disk is full, or the folder may not be written.
    """
    with atomic_folder(folder, replace=lambda _: None) as partial:  # the cache is ours, whatever lies in it
        entry = fill(partial)
        body = {
            "version": VERSION,
            "key": folder.name,
            "skipped": entry.skipped,
            "values_sha256": entry.sha256,
            "arrays": {
                name: {
                    "files": entry.files[name],
                    "bytes": (partial / f"{name}.npy").stat().st_size,
                    "shape": array.shape,
                    "dtype": str(array.dtype),
                    "sha256": hash_file(partial / f"{name}.npy"),
                }
                for name, array in entry.arrays.items()
            },
        }
        text = json.dumps({"sha256": _digest_of(body), "body": body})
        write_atomic(partial / "entry.json", text)
    _make_room(folder)
    written = read_entry(folder)
    if written is None:
        raise OSError(f"{folder} does not read back as it was written")
    return written


def allocate(path: Path, rows: int, spec: ArraySpec) -> Array:
    """A .npy file to write into as an array, its place on the disk reserved.

    Raises:
        OSError: the disk is full. Found here: later the process would be killed, not told.
    """
    array: Array = np.lib.format.open_memmap(path, mode="w+", dtype=spec.dtype, shape=(rows, *spec.shape))
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return array


def clear_cache(folder: Path) -> int:
    """Remove every entry, and nothing else; bytes set free."""
    freed_bytes = 0
    for entry in (*_entries(folder), *_entries(extents_folder(folder))):
        freed_bytes += _bytes_of(entry)
        shutil.rmtree(entry, ignore_errors=True)
    return freed_bytes


def used_bytes(folder: Path) -> tuple[int, int]:
    """(entries, bytes)."""
    sizes = [_bytes_of(entry) for entry in _entries(folder)]
    return len(sizes), sum(sizes)


def hash_file(path: Path) -> str:
    """SHA-256 over a file's length and bytes; of a large file, over 1024 blocks from its first to its last."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb", buffering=0) as stream:
        if size <= HASHED_WHOLE_BYTES:
            while block := stream.read(1 << 20):
                digest.update(block)
        else:
            for index in range(BLOCKS):
                stream.seek((size - BLOCK_BYTES) * index // (BLOCKS - 1))
                digest.update(stream.read(BLOCK_BYTES))
    return digest.hexdigest()


def _digest_of(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        # Hidden ones are what a killed process left half made.
        yield from (entry for entry in folder.iterdir() if entry.is_dir() and _is_ours(entry))


def _is_ours(entry: Path) -> bool:
    return (entry / "entry.json").is_file() or is_temporary(entry)


def _bytes_of(entry: Path) -> int:
    return sum(file.stat().st_size for file in entry.iterdir() if file.is_file())


def _make_room(newest: Path) -> None:
    """Remove the longest unused entries while the cache is too large; those of the last day stay."""
    marks = {entry: entry / "entry.json" for entry in _entries(newest.parent) if (entry / "entry.json").is_file()}
    left_bytes = sum(_bytes_of(entry) for entry in marks)
    for entry, mark in sorted(marks.items(), key=lambda item: item[1].stat().st_mtime):
        if left_bytes <= LIMIT_BYTES or time.time() - mark.stat().st_mtime < UNUSED_S:
            return
        left_bytes -= _bytes_of(entry)
        shutil.rmtree(entry, ignore_errors=True)
