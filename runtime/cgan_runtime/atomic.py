"""Write a file or a folder so that every reader sees all of it or nothing, and a crash loses nothing.

Everything is written under a temporary name beside its destination, flushed to the disk and renamed; the old
content stays valid until the rename. The temporary's name carries the process id, so what a killed process left
behind can be told from what a living one is writing; it is removed at the next write to the same place.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from cgan_runtime.errors import UsageError

__all__ = ["atomic_folder", "sweep_leftovers", "write_atomic"]

_MARK: Final = ".tmp-"
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def write_atomic(path: Path, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    """Write `path`, replacing what was there in one step.

    Args:
        path: the file; its folder must exist.
        content: the bytes, a text (UTF-8), or a function that writes into the stream it is given.

    Raises:
        OSError: the disk is full or the folder not writable; `path` is then as it was.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as stream:
            if callable(content):
                content(stream)
            else:
                stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:  # KeyboardInterrupt too: nothing half-written stays behind
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` when the block ends without an exception.

    Raises:
        UsageError: `path` exists and `replace` is false.
        OSError: the disk is full or the parent not writable; `path` is then as it was.
    """
    if path.exists() and not replace:
        raise UsageError(f"{path} exists already; choose another name or add --force to replace it.")
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(path)
    temporary = _temporary(path)
    try:
        temporary.mkdir()
        yield temporary
        for item in sorted(temporary.rglob("*")):
            _sync(item)
        _sync(temporary)
        _swap_in(temporary, path)
    finally:  # after a swap it holds the old content, after a failure the unfinished one
        shutil.rmtree(temporary, ignore_errors=True)
    _sync(path.parent)


def sweep_leftovers(path: Path) -> None:
    """Remove what processes that no longer run left of `path`."""
    for leftover in path.parent.glob(f".{path.name}{_MARK}*"):
        owner = leftover.name.rpartition("-")[2]
        if not owner.isdecimal() or _is_running(int(owner)):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}{_MARK}{os.getpid()}")


def _swap_in(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
        return
    # One system call exchanges the two names, so `path` is never absent.
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        arguments = (_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE)
        if renameat2(*arguments) == 0:
            return
    aside = path.with_name(f".{path.name}.old-{os.getpid()}")
    path.rename(aside)
    temporary.rename(path)
    shutil.rmtree(aside, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else, so it runs
        return True
    return True


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder; not every file system lets a folder be opened."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
