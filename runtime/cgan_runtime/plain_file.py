"""Open a file of a bundle: a plain file of a size that is known before a byte of it is read."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cgan_runtime.errors import BundleError

__all__ = ["open_plain", "read_plain", "refuse_other_kinds"]


@contextlib.contextmanager
def open_plain(path: Path) -> Iterator[tuple[io.BufferedReader, int]]:
    """The file, open for reading, and its size in bytes; what was looked at is what is read.

    Raises:
        BundleError: it is missing, a link, a pipe, a device or a folder, or cannot be read.
    """
    try:
        # Without O_NONBLOCK a pipe would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse_other_kinds(path, stat.S_IFLNK)
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from error
    with os.fdopen(handle, "rb") as stream:
        state = os.fstat(handle)
        refuse_other_kinds(path, state.st_mode)
        yield stream, state.st_size


def read_plain(path: Path, limit: int) -> bytes | None:
    """The content; None where the file has more than `limit` bytes, which are then not read.

    Raises:
        BundleError: as `open_plain`.
    """
    with open_plain(path) as (stream, size):
        data = stream.read(limit + 1) if size <= limit else None
    return data if data is not None and len(data) <= limit else None


def refuse_other_kinds(path: Path, mode: int) -> None:
    """Stop at what is not a plain file.

    Raises:
        BundleError: says what it is.
    """
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "not a plain file"
        raise BundleError(f"{path} is {kind}; a bundle holds plain files only, so copy the real file there.")
