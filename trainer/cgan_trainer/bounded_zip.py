"""Zips of unknown origin: the list of members and every member are read within stated bounds.

A zip can name a million members in a few megabytes, give one stretch of bytes many names, and inflate to a
thousand times its size. zipfile checks none of it. `BoundedZip` refuses such a file before it takes the memory.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from types import TracebackType
from typing import BinaryIO, Final, Self

__all__ = ["TOO_MUCH", "BoundedZip", "UnboundedError", "inflated_limit"]

MAX_MEMBERS: Final = 20_100
MAX_LISTING_BYTES: Final = 8 * 2**20
MAX_EXTRA_BYTES: Final = 256 * 2**20
PIECE_BYTES: Final = 2**20
TOO_MUCH: Final = "unpacked it would have more bytes than a file of its size can hold"


class UnboundedError(Exception):
    """The zip is damaged, or would take more time or memory than its size allows; says why."""


def inflated_limit(file_bytes: int) -> int:
    """How many bytes a compressed file may inflate to: weights hardly compress, so hardly more than it has."""
    return file_bytes + MAX_EXTRA_BYTES


class BoundedZip:
    """The members of a zip by name, in their order.

    Args:
        stream: a seekable file; it stays open.
        file_bytes: its size.
        inflated_bytes: how much compressed members may inflate to, all together; 0: none may be compressed.

    Raises:
        UnboundedError: too many members, one listed twice, more bytes than the file can hold, or a damaged list.
    """

    def __init__(self, stream: BinaryIO, file_bytes: int, *, inflated_bytes: int) -> None:
        guard = _Guard(stream)
        try:
            self._archive = zipfile.ZipFile(guard)
        except zipfile.BadZipFile:
            raise
        # Of damaged lists zipfile makes NotImplementedError, struct.error, UnicodeDecodeError, ...
        except (NotImplementedError, ValueError, OverflowError) as error:
            raise UnboundedError(f"its list of parts is damaged ({error})") from error
        guard.limit = None
        listed = self._archive.infolist()
        self.members = {member.filename: member for member in listed}
        kinds = {member.compress_type for member in listed}
        if len(self.members) < len(listed) or len(listed) > MAX_MEMBERS:
            raise UnboundedError("its parts are listed twice or are too many")
        if not kinds <= ({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} if inflated_bytes else {zipfile.ZIP_STORED}):
            raise UnboundedError("its parts are compressed in a way that no such file is")
        stored = sum(member.file_size for member in listed if member.compress_type == zipfile.ZIP_STORED)
        inflated = sum(member.file_size for member in listed) - stored
        if stored > file_bytes or inflated > inflated_bytes:
            raise UnboundedError(TOO_MUCH)

    def head(self, name: str, count: int) -> bytes:
        """The first `count` bytes of a member."""
        with self._archive.open(name) as member:
            return member.read(count)

    def member(self, name: str) -> io.BytesIO:
        """A member in memory, checked by its sum. It is copied piece by piece, so that it is there once.

        Raises:
            UnboundedError: the member is shorter than it claims.
            BadZipFile: its sum is wrong, as where it is longer than it claims.
        """
        stream = io.BytesIO()
        # zipfile inflates no more of a member than it claims to have.
        with self._archive.open(name) as member:
            shutil.copyfileobj(member, stream, PIECE_BYTES)
        if stream.tell() != self.members[name].file_size:
            raise UnboundedError(f"its part {name} is shorter than it claims")
        stream.seek(0)
        return stream

    def first_damaged(self) -> str | None:
        """The first member whose sum is wrong, after all before it were read; None where all are sound."""
        return self._archive.testzip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()


class _Guard:
    """The stream as zipfile sees it: while it opens the file, the list of members may not be read if too long."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.limit: int | None = MAX_LISTING_BYTES

    def read(self, count: int = -1) -> bytes:
        """Like the stream's."""
        if self.limit is None:
            return self.stream.read(count)
        data = self.stream.read(self.limit + 1 if count < 0 else min(count, self.limit + 1))
        if len(data) > self.limit:
            raise UnboundedError("its list of parts is too long")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Like the stream's."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """Like the stream's."""
        return self.stream.tell()

    def seekable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """The stream is not ours to close."""
