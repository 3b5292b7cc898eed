"""Write a file or a folder so that every reader sees all of it or nothing, and a crash loses nothing.

Everything is written under a temporary name beside its destination, flushed to the disk and renamed; the old
content stays valid until the rename. A process holds a lock of the kernel on each of its temporaries. The lock ends
with the process, so a temporary that nobody holds is left over from a crash: the next write to the same folder
removes it, whatever its name. Names and locks also tell processes of other machines and containers apart, which
process numbers do not.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from cgan_runtime.errors import UsageError

__all__ = ["atomic_folder", "is_temporary", "sweep_leftovers", "temporary_folder", "write_atomic"]

Look = Callable[[Path], object]

_TEMPORARY: Final = re.compile(r"^\..*\.cgan-tmp-[0-9a-f]{8}$", re.DOTALL)
_ASIDE: Final = re.compile(r"^\.(?P<name>.*)\.cgan-old$", re.DOTALL)
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_swept: Final[set[Path]] = set()


def write_atomic(path: Path, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    """Write `path`, replacing what was there in one step.

    Args:
        path: the file; its folder must exist.
        content: the bytes, a text (UTF-8), or a function that writes into the stream it is given.

    Raises:
        OSError: the disk is full or the folder not writable; `path` is then as it was.
    """
    if (folder := path.parent.absolute()) not in _swept:  # once: a folder may get thousands of files
        _swept.add(folder)
        sweep_leftovers(folder)
    temporary, handle = _temporary(path, folder=False)
    try:
        with os.fdopen(handle, "wb") as stream:
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
def atomic_folder(path: Path, *, replace: Look | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` when the block ends without an exception.

    A link is followed: the folder it points to is written.

    Args:
        path: the folder to make.
        replace: looks at what is there already and raises where it must not be lost. It looks before the block
            and once more at what was taken away, before that is removed. Nothing is replaced without it.

    Raises:
        UsageError: `path` exists and there is no `replace`; or what `replace` raises.
        OSError: the disk is full or the parent not writable; `path` is then as it was.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(path.parent)
    if path.exists():
        _look(path, replace)
    with temporary_folder(path) as temporary:
        yield temporary
        for item in sorted(temporary.rglob("*")):
            _sync(item)
        _sync(temporary)
        if (old := _swap_in(temporary, path)) is not None:
            try:
                _look(old, replace, path)
            except BaseException:
                shutil.rmtree(path)
                old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)
    _sync(path.parent)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, removed at the end if it is still there under its own name."""
    temporary, handle = _temporary(path, folder=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def is_temporary(path: Path) -> bool:
    """Whether the name is one that this module gives to what is unfinished."""
    return _TEMPORARY.match(path.name) is not None


def sweep_leftovers(folder: Path) -> None:
    """Remove from a folder what processes that ended left unfinished; put back what they had moved aside."""
    with contextlib.suppress(OSError):  # not there, or not ours to read: nothing of ours to remove either
        for entry in list(os.scandir(folder)):
            if _TEMPORARY.match(entry.name) or _ASIDE.match(entry.name):
                _sweep(Path(entry.path))


def _sweep(leftover: Path) -> None:
    with contextlib.suppress(OSError), _held(leftover):  # somebody holds it, or another process was faster
        aside = _ASIDE.match(leftover.name)
        if aside is not None and not (path := leftover.with_name(aside["name"])).exists():
            leftover.rename(path)
        elif leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _temporary(path: Path, *, folder: bool) -> tuple[Path, int]:
    """A new file or folder beside `path`, and an open handle that holds it."""
    while True:
        temporary = path.with_name(f".{path.name[:40]}.cgan-tmp-{secrets.token_hex(4)}")
        if folder:
            temporary.mkdir()
        flags = os.O_RDONLY if folder else os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            handle = os.open(temporary, flags, 0o666)
        except FileNotFoundError:  # taken for a leftover before it was held
            continue
        with contextlib.suppress(OSError):  # a file system without locks: then nothing is swept there either
            fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(temporary.stat(), os.fstat(handle)):
                return temporary, handle
        os.close(handle)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a file or folder; OSError where another process does."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _look(found: Path, replace: Look | None, path: Path | None = None) -> None:
    if replace is None:
        raise UsageError(f"{path or found} exists already; choose another name.")
    replace(found)


def _swap_in(temporary: Path, path: Path) -> Path | None:
    """Give `temporary` the name `path`; returns where the old content is now."""
    if not path.exists():
        temporary.rename(path)
        return None
    # One system call exchanges the two names, so `path` is never absent.
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        arguments = (_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE)
        if renameat2(*arguments) == 0:
            return temporary
    aside = path.with_name(f".{path.name}.cgan-old")
    with _held(path):
        path.rename(aside)
        temporary.rename(path)
    return aside


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder; not every file system lets a folder be opened."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
