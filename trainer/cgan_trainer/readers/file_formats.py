"""From a file to its values: torch's zip, torch's old format, safetensors, numpy's npz, and archives around one.

Every length a file claims is compared with the bytes it has before memory is taken. What is inside a pickle is
described by safe_unpickler.py, never run. Whatever is wrong ends as one sentence (BadInputError).
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from cgan_runtime.errors import BadInputError, CganError
from torch import Tensor

from cgan_trainer.bounded_zip import BoundedZip, UnboundedError, inflated_limit
from cgan_trainer.file_kind import GZIP, is_tar, kind_of_file
from cgan_trainer.readers.archives import from_gzip, tar_members, the_only_checkpoint
from cgan_trainer.safe_unpickler import ForeignObject, NotPlainError, Storage, TensorRef, plain_from_pickle

__all__ = ["MAX_FILE_BYTES", "MAX_TENSORS", "Content", "content_of"]

MAX_FILE_BYTES: Final = 4 * 2**30
MAX_TENSORS: Final = 20_000
MAX_NESTING: Final = 8
MAX_ARCHIVES: Final = 3
MAX_LISTED: Final = 64
# Views may share bytes (tied weights), but not so often that a small file fills the memory.
MAX_SHARING: Final = 4
MAX_PICKLE_BYTES: Final = 64 * 2**20
MAX_HEADER_BYTES: Final = 8 * 2**20
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_AGAIN: Final = "download or copy it again"

Records = Callable[[Storage], memoryview]
Stream = io.BufferedReader | io.BytesIO


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file holds.

    Attributes:
        kind: of the file, in words.
        value: a tensor, or dicts of tensors and plain values (lists of dicts count as dicts).
        name: of the file with the weights: of the member, where they lay in an archive.
        file_bytes: size of the file with the weights.
        steps: which archives were opened, in words.
    """

    kind: str
    value: Any
    name: str
    file_bytes: int
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Room:
    """How much may still be unpacked from archives, in bytes, and how many archives lie around the file."""

    left_bytes: int
    archives: int = 0


def content_of(stream: Stream, file_bytes: int, label: str, name: str, room: _Room | None = None) -> Content:
    """What a file holds.

    Args:
        stream: the file, seekable, at its beginning.
        file_bytes: its size.
        label: what to call it in messages.
        name: of the file, without its folder.
        room: what archives around it have left; None: it lies in none.

    Raises:
        BadInputError: not one of the known kinds, damaged, too large, or holding objects of somebody's code.
    """
    if not file_bytes:
        raise BadInputError(f"{label} is empty: {_AGAIN}.")
    try:
        room = room or _Room(left_bytes=inflated_limit(file_bytes))
        head = stream.read(512)
        stream.seek(0)
        if head.startswith(b"PK\x03\x04"):
            return _from_zip(stream, file_bytes, label, name, room)
        if head.startswith(GZIP):
            inner = io.BytesIO(from_gzip(stream, room.left_bytes))
            return _unpacked(inner, f"{label} (unpacked)", name.removesuffix(".gz"), "gzip", room)
        if is_tar(head):
            return _from_tar(stream, file_bytes, label, room)
        if head.startswith(b"\x80"):
            return _content("PyTorch (before 1.6)", _from_legacy(stream, file_bytes), name, file_bytes)
        if _is_safetensors(stream, head, file_bytes):
            stream.seek(0)
            return _content("safetensors", _from_safetensors(stream.read()), name, file_bytes)
    except BadInputError:
        raise
    except MemoryError as error:
        raise CganError(f"{label} needs more memory than this machine has free: close other programs.") from error
    except ForeignObject as error:
        raise BadInputError(
            f"{label} is a pickled Python object ({error.name}), and opening it would run code: load it where it "
            "was made and save generator.state_dict() instead."
        ) from error
    except zipfile.BadZipFile as error:
        raise BadInputError(
            f"{label} is truncated or an incomplete download ({file_bytes} bytes, {error}): {_AGAIN}."
        ) from error
    except (NotPlainError, UnboundedError) as error:
        raise BadInputError(f"{label} is damaged or not a PyTorch file ({_short(error)}): {_AGAIN}.") from error
    # Damaged bytes make zipfile, numpy, safetensors and torch raise almost anything.
    except Exception as error:
        raise BadInputError(f"{label} is damaged or cut short ({_short(error)}): {_AGAIN}.") from error
    kind = kind_of_file(head, name)
    raise BadInputError(f"{label} is {kind.what}, which is not read here: {kind.way}.")


def _content(kind: str, value: Any, name: str, file_bytes: int) -> Content:
    return Content(kind=kind, value=value, name=name, file_bytes=file_bytes)


def _unpacked(stream: io.BytesIO, label: str, name: str, archive: str, room: _Room) -> Content:
    """The content of the file that lay in an archive."""
    size_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    left = _Room(left_bytes=room.left_bytes - size_bytes, archives=room.archives + 1)
    if left.archives > MAX_ARCHIVES or left.left_bytes < 0:
        raise BadInputError(f"{label} is too large for an archive, or in too many: unpack it, and name the file.")
    inner = content_of(stream, size_bytes, label, name.rpartition("/")[2], left)
    step = f"{inner.name} taken from a {archive} archive"
    return replace(inner, steps=(step, *inner.steps))


def _from_tar(stream: BinaryIO, file_bytes: int, label: str, room: _Room) -> Content:
    members = tar_members(stream)
    if {"storages", "tensors"} & {member.name for member in members}:
        raise BadInputError(
            f"{label} is in the tar format of PyTorch before 0.4, which is not read here: load it with an old "
            "PyTorch and save its state_dict() again."
        )
    only = the_only_checkpoint([(m.name, m.head) for m in members], label, "a tar archive")
    member = next(member for member in members if member.name == only)
    if member.size_bytes > file_bytes - member.start:  # first: reading takes as much memory as is asked for
        raise UnboundedError(f"its part {only} is shorter than it claims")
    stream.seek(member.start)
    return _unpacked(io.BytesIO(stream.read(member.size_bytes)), f"{label}, {only}", only, "tar", room)


def _from_zip(stream: BinaryIO, file_bytes: int, label: str, name: str, room: _Room) -> Content:
    with BoundedZip(stream, file_bytes, inflated_bytes=room.left_bytes) as archive:
        members = archive.members
        names = {path.partition("/")[2] for path in members}
        if "constants.pkl" in names or any(path.startswith("code/") for path in names):
            raise BadInputError(
                f"{label} is a TorchScript archive (a program, not weights): save the state_dict() of the "
                "generator it was made from."
            )
        if members and all(path.endswith(".npy") for path in members):
            arrays = {path.removesuffix(".npy"): _from_npy(archive.member(path)) for path in members}
            return _content("npz", arrays, name, sum(member.file_size for member in members.values()))
        pickles = [path for path in members if path.count("/") == 1 and path.endswith("/data.pkl")]
        if len(pickles) != 1:
            heads = [(path, archive.head(path, 512)) for path in members if not path.endswith("/")]
            only = the_only_checkpoint(heads, label, "a zip archive")
            return _unpacked(archive.member(only), f"{label}, {only}", only, "zip", room)
        root = pickles[0].removesuffix("data.pkl")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise NotPlainError("its parts are compressed, which PyTorch never does")
        if f"{root}byteorder" in members and archive.member(f"{root}byteorder").read() != b"little":
            raise NotPlainError("its numbers are in big-endian order")
        if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise NotPlainError("its description of the tensors is too long")
        value = plain_from_pickle(archive.member(pickles[0]))
        filled = _filled(value, lambda s: archive.member(f"{root}data/{s.key}").getbuffer(), file_bytes)
        return _content("PyTorch", filled, name, file_bytes)


def _from_legacy(stream: Stream, file_bytes: int) -> Any:
    """Five pickles (magic, version, machine, value, storage keys), then each storage with its length."""
    pickles = io.BytesIO(stream.read(MAX_PICKLE_BYTES))
    magic, _, machine = (plain_from_pickle(pickles) for _ in range(3))
    if magic != _LEGACY_MAGIC:
        raise ForeignObject("not written by torch.save")
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise NotPlainError("its numbers are in big-endian order")
    value = plain_from_pickle(pickles)
    keys = plain_from_pickle(pickles)
    stream.seek(pickles.tell())
    pickles.close()  # up to 64 MiB of weights too
    widths = {s.key: _dtype(s).itemsize for s in _storages(value)}
    if not isinstance(keys, list) or any(type(key) not in (str, int) for key in keys):
        raise NotPlainError("its storages are listed in an unknown way")
    records = {str(key): _legacy_record(stream, widths.get(str(key), 1), file_bytes) for key in keys}
    return _filled(value, lambda s: records.pop(s.key), file_bytes)


def _legacy_record(stream: Stream, width: int, file_bytes: int) -> memoryview:
    (numel,) = struct.unpack("<q", stream.read(8))
    if not 0 <= numel * width <= file_bytes - stream.tell():  # first: reading takes as much memory as is asked for
        raise NotPlainError("a storage is shorter than it claims")
    data = memoryview(bytearray(numel * width))
    stream.readinto(data)
    return data


def _from_safetensors(data: bytes) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise BadInputError(
            'safetensors files need a package that is not installed; run: pip install "cgan-deploy[export]"'
        ) from error
    tensors: dict[str, Tensor] = load(data)
    return tensors


def _from_npy(stream: io.BytesIO) -> Tensor:
    data = stream.getbuffer()
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise NotPlainError(f"an array has the unknown version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    if dtype.kind not in "fiub" or not dtype.isnative:
        raise NotPlainError(f"an array holds {dtype.name}, not numbers")
    if any(axis < 0 for axis in shape) or len(data) - stream.tell() != math.prod(shape) * dtype.itemsize:
        raise NotPlainError("an array is shorter or longer than its shape")
    flat = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    array = flat.reshape(shape, order="F" if by_columns else "C")
    return torch.from_numpy(np.require(array, requirements=["C", "A"]))


def _storages(value: Any) -> list[Storage]:
    found: list[Storage] = []
    _mapped(value, lambda ref: found.append(ref.storage))
    return found


def _filled(value: Any, record: Records, file_bytes: int) -> Any:
    """`value` with every TensorRef replaced by its tensor; a storage that several share is read once."""
    budget = file_bytes * MAX_SHARING
    count = 0
    flats: dict[str, tuple[Storage, Tensor]] = {}

    def tensor(ref: TensorRef) -> Tensor:
        nonlocal budget, count
        budget -= math.prod(ref.shape) * _dtype(ref.storage).itemsize
        count += 1
        if budget < 0 or count > MAX_TENSORS:
            raise NotPlainError("its tensors claim more bytes than the file has")
        if ref.storage.key not in flats:
            flats[ref.storage.key] = (ref.storage, _flat(ref.storage, record(ref.storage)))
        storage, flat = flats[ref.storage.key]
        if storage != ref.storage:
            raise NotPlainError("a storage is described in two ways")
        return _view(ref, flat)

    return _mapped(value, tensor)


def _flat(storage: Storage, data: memoryview) -> Tensor:
    """All elements of a storage, on one axis; they stay where they are."""
    dtype = _dtype(storage)
    if len(data) != storage.numel * dtype.itemsize:
        raise NotPlainError("a storage is shorter or longer than it claims")
    return torch.frombuffer(data, dtype=dtype) if data else torch.zeros(0, dtype=dtype)


def _view(ref: TensorRef, flat: Tensor) -> Tensor:
    numel = math.prod(ref.shape)
    if len(ref.shape) != len(ref.stride):
        raise NotPlainError("a tensor has a shape without strides")
    if numel == 0:
        return torch.zeros(ref.shape, dtype=flat.dtype)
    reach = ref.offset + sum((n - 1) * step for n, step in zip(ref.shape, ref.stride, strict=True))
    if reach >= len(flat) or numel > len(flat):
        raise NotPlainError("a tensor reaches beyond its storage")
    return flat.as_strided(ref.shape, ref.stride, ref.offset)


def _dtype(storage: Storage) -> torch.dtype:
    dtype = getattr(torch, storage.dtype)
    assert isinstance(dtype, torch.dtype)  # noqa: S101 - the names are safe_unpickler.py's own
    return dtype


def _mapped(value: Any, leaf: Callable[[TensorRef], Any]) -> Any:
    """Dicts, and lists of dicts, copied with `leaf` applied to every TensorRef; what lies too deep is dropped."""
    visited = 0

    def copy(item: Any, depth: int) -> Any:
        nonlocal visited
        visited += 1
        if visited > 10 * MAX_TENSORS:  # dicts that hold each other many times over
            raise NotPlainError("its values are too many")
        if isinstance(item, TensorRef):
            return leaf(item)
        if isinstance(item, list | tuple) and len(item) <= MAX_LISTED and any(isinstance(i, dict) for i in item):
            item = dict(enumerate(item))
        if not isinstance(item, Mapping):
            return item
        # The state of an optimiser is as large as the net twice over, and never read.
        dropped = {"optimizer_states", "state" if "param_groups" in item else ""}
        return {
            key: copy(inner, depth + 1) for key, inner in item.items() if depth < MAX_NESTING and key not in dropped
        }

    return copy(value, 0)


def _is_safetensors(stream: BinaryIO, head: bytes, file_bytes: int) -> bool:
    """Whether the file begins with a length and a description of tensors in JSON."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    if length > min(file_bytes - 8, MAX_HEADER_BYTES):
        return False
    stream.seek(8)
    try:
        header = json.loads(stream.read(length))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and len(header) <= MAX_TENSORS


def _short(problem: Exception) -> str:
    words = " ".join(str(problem).split()) or type(problem).__name__
    return words if len(words) <= 120 else f"{words[:117]}..."
