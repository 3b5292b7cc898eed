"""Files and folders that are either complete or absent, whatever happens while they are written.

Everything is written under a temporary name beside its destination, flushed to the disk, and renamed. The name
carries the process id, so what a killed process left behind can be told from what a living one is writing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_folder", "atomic_write", "sweep_leftovers"]

_MARK = ".partial-"


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace `path` by what `write` puts into the stream; on any failure the old file stays as it was."""
    partial = _partial(path)
    try:
        with partial.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:  # KeyboardInterrupt too: nothing half-written stays behind
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes `path` (replacing it), on failure it disappears."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(path)
    partial = _partial(path)
    partial.mkdir()
    try:
        yield partial
        for folder in (partial, *(entry for entry in partial.rglob("*") if entry.is_dir())):
            _sync_folder(folder)
        _replace_folder(partial, path)
    except BaseException:  # KeyboardInterrupt too
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def sweep_leftovers(path: Path) -> None:
    """Remove what processes that no longer run left of `path`."""
    for leftover in path.parent.glob(f".{path.name}{_MARK}*"):
        owner = leftover.name.rpartition("-")[2]
        if owner.isdecimal() and int(owner) != os.getpid() and not _is_running(int(owner)):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}{_MARK}{os.getpid()}")


def _replace_folder(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
        return
    # A full folder cannot be replaced in one step: the old one steps aside for two renames, no longer.
    aside = path.with_name(f".{path.name}.old{_MARK}{os.getpid()}")
    path.rename(aside)
    try:
        new.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut; not every system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
