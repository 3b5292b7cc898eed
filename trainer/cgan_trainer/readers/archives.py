"""A checkpoint in a gzip, tar or zip: unpacked in memory, within bounds, where it is the only one in there.

No path of an archive is used for anything but its name in a message. Headers of tar files are read here and not
by tarfile, which older Pythons let search extended headers in quadratic time (CVE-2024-6232).
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from cgan_runtime.errors import BadInputError

from cgan_trainer.bounded_zip import TOO_MUCH, UnboundedError
from cgan_trainer.checkpoint_paths import files_in_words
from cgan_trainer.file_kind import foreign_kind, is_tar, may_be_weights

__all__ = ["TarMember", "from_gzip", "tar_members", "the_only_checkpoint"]

BLOCK: Final = 512
MAX_MEMBERS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class TarMember:
    """A regular file of a tar: its bytes lie in the archive from `start` on, and begin with `head`."""

    name: str
    start: int
    size_bytes: int
    head: bytes


def from_gzip(stream: BinaryIO, most_bytes: int) -> bytes:
    """The bytes in a gzip file.

    Raises:
        UnboundedError: they are more than `most_bytes`.
        OSError, EOFError, zlib.error: the file is damaged.
    """
    with gzip.GzipFile(fileobj=stream, mode="rb") as inner:
        data = inner.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UnboundedError(TOO_MUCH)
    return data


def tar_members(stream: BinaryIO) -> list[TarMember]:
    """The regular files in a tar.

    Raises:
        UnboundedError: it has more members than any archive of a checkpoint.
        ValueError: a header is damaged.
    """
    members: list[TarMember] = []
    at = 0
    for _ in range(MAX_MEMBERS):
        stream.seek(at)
        header = stream.read(BLOCK)
        if not is_tar(header):  # two empty blocks, or the end of the file
            return members
        size = _size(header[124:136])
        if header[156:157] in (b"0", b"\0"):
            head = stream.read(min(size, BLOCK))
            members.append(TarMember(name=_name(header), start=at + BLOCK, size_bytes=size, head=head))
        at += BLOCK * (1 + -(-size // BLOCK))
    raise UnboundedError("it has too many parts")


def the_only_checkpoint(members: Sequence[tuple[str, bytes]], label: str, archive: str) -> str:
    """The name of the one member that is a checkpoint, from names and first bytes.

    Raises:
        BadInputError: none is, or several are; names them.
    """
    files = [(name, head) for name, head in members if not _hidden(name)]
    found = [name for name, head in files if may_be_weights(head) and foreign_kind(head, name) is None]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInputError(
            f"{label} is {archive} with {len(found)} checkpoints ({files_in_words(found)}): unpack it, and name "
            "the one with the generator."
        )
    kinds = [kind for name, head in files if (kind := foreign_kind(head, name)) is not None]
    what = f"; it holds {kinds[0].what}: {kinds[0].way}" if kinds else ": name the file with the weights"
    names = files_in_words([name for name, _ in files]) or "nothing"
    raise BadInputError(f"{label} is {archive} without a checkpoint in it ({names}){what}.")


def _hidden(name: str) -> bool:
    """What systems leave in archives: ``__MACOSX/._net.pth``, ``.DS_Store``."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _size(field: bytes) -> int:
    """A number in a tar header: octal digits, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _name(header: bytes) -> str:
    parts = (header[345:500].partition(b"\0")[0], header[:100].partition(b"\0")[0])
    return "/".join(part.decode("utf-8", "replace") for part in parts if part).removeprefix("./")
