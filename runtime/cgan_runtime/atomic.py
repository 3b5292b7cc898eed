"""Write a file or a folder so that every reader sees all of it or nothing, and a crash loses nothing.

A sibling temporary is written, flushed to the disk and renamed; the old content stays valid until the
rename. Temporaries of processes that died are removed at the next write to the same place.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cgan_runtime.errors import UsageError

__all__ = ["atomic_folder", "write_atomic"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what was there in one step.

    Raises:
        OSError: the disk is full or the folder not writable; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` when the block ends without an exception.

    Raises:
        UsageError: `path` exists and `replace` is false.
        OSError: the disk is full or the parent not writable; `path` is then as it was.
    """
    if path.exists() and not replace:
        raise UsageError(f"{path} exists already; choose another name or add --force to replace it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
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


def _sweep(path: Path) -> None:
    for stale in path.parent.glob(f".{path.name}.tmp-*"):
        owner = stale.name.rpartition("-")[2]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(stale, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
