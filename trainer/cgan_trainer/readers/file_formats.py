"""From the bytes of a file to its values: torch's zip, torch's old format, safetensors, numpy's npz.

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
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from cgan_runtime.errors import BadInputError
from torch import Tensor

from cgan_trainer.file_kind import describe_file
from cgan_trainer.readers.safe_unpickler import ForeignObject, NotPlainError, Storage, TensorRef, plain_from_pickle

__all__ = ["MAX_FILE_BYTES", "MAX_TENSORS", "content_of"]

MAX_FILE_BYTES: Final = 4 * 2**30
MAX_TENSORS: Final = 20_000
MAX_UNPACKED_BYTES: Final = 4 * 2**30
MAX_NESTING: Final = 8
# Views may share bytes (tied weights), but not so often that a small file fills the memory.
MAX_SHARING: Final = 4
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_AGAIN: Final = "download or copy it again"

Records = Callable[[Storage], bytes]


def content_of(data: bytes, label: str) -> tuple[str, Any]:
    """The kind of file and what it holds: a tensor, or dicts and lists of tensors and plain values.

    Args:
        data: the whole file.
        label: what to call it in messages.

    Raises:
        BadInputError: not one of the four kinds, damaged, too large, or holding objects of somebody's code.
    """
    if not data:
        raise BadInputError(f"{label} is empty: {_AGAIN}.")
    try:
        if data.startswith(b"PK\x03\x04"):
            return _from_zip(data, label)
        if _is_tar(data):
            raise BadInputError(
                f"{label} is in the tar format of PyTorch before 0.4, which is not read here: load it with an old "
                "PyTorch and save its state_dict() again."
            )
        if data.startswith(b"\x80"):
            return "PyTorch (before 1.6)", _from_legacy(data)
        if _is_safetensors(data):
            return "safetensors", _from_safetensors(data)
    except (BadInputError, MemoryError):
        raise
    except ForeignObject as error:
        raise BadInputError(
            f"{label} is a pickled Python object ({error.name}), and opening it would run code: load it where it "
            "was made and save generator.state_dict() instead."
        ) from error
    except NotPlainError as error:
        raise BadInputError(f"{label} is damaged or not a PyTorch file ({_short(error)}): {_AGAIN}.") from error
    # Damaged bytes make zipfile, numpy, safetensors and torch raise almost anything.
    except Exception as error:
        raise BadInputError(f"{label} is damaged or cut short ({_short(error)}): {_AGAIN}.") from error
    raise BadInputError(
        f"{label} is {describe_file(data[:512])}, not a checkpoint: name a .pth, .pt, .bin, .safetensors or .npz "
        "with the weights of a generator."
    )


def _from_zip(data: bytes, label: str) -> tuple[str, Any]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise BadInputError(
            f"{label} is truncated or an incomplete download ({len(data)} bytes, {error}): {_AGAIN}."
        ) from error
    with archive:
        members = {member.filename: member for member in archive.infolist()}
        if len(members) < len(archive.infolist()) or len(members) > MAX_TENSORS + 100:
            raise NotPlainError("its parts are listed twice or are too many")
        if sum(member.file_size for member in members.values()) > MAX_UNPACKED_BYTES:
            raise NotPlainError(f"unpacked it would have more than {MAX_UNPACKED_BYTES >> 30} GiB")
        names = {name.partition("/")[2] for name in members}
        if "constants.pkl" in names or any(name.startswith("code/") for name in names):
            raise BadInputError(
                f"{label} is a TorchScript archive (a program, not weights): save the state_dict() of the "
                "generator it was made from."
            )
        if members and all(name.endswith(".npy") for name in members):
            return "npz", {name.removesuffix(".npy"): _from_npy(archive.read(name)) for name in members}
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise BadInputError(f"{label} is a zip of something else, not a checkpoint: name the file inside it.")
        root = pickles[0].removesuffix("data.pkl")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise NotPlainError("its parts are compressed, which PyTorch never does")
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise NotPlainError("its numbers are in big-endian order")
        value = plain_from_pickle(io.BytesIO(archive.read(pickles[0])))
        return "PyTorch", _filled(value, lambda s: archive.read(f"{root}data/{s.key}"), len(data))


def _from_legacy(data: bytes) -> Any:
    """Five pickles (magic, version, machine, value, storage keys), then each storage with its length."""
    stream = io.BytesIO(data)
    magic, _, machine = (plain_from_pickle(stream) for _ in range(3))
    if magic != _LEGACY_MAGIC:
        raise ForeignObject("not written by torch.save")
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise NotPlainError("its numbers are in big-endian order")
    value = plain_from_pickle(stream)
    keys = plain_from_pickle(stream)
    widths = {s.key: _dtype(s).itemsize for s in _storages(value)}
    records = {str(key): _legacy_record(stream, widths.get(str(key), 1)) for key in keys}
    return _filled(value, lambda s: records[s.key], len(data))


def _legacy_record(stream: BinaryIO, width: int) -> bytes:
    (numel,) = struct.unpack("<q", stream.read(8))
    record = stream.read(max(numel, 0) * width) if numel < 2**40 else b""
    if numel < 0 or len(record) != numel * width:
        raise NotPlainError("a storage is shorter than it claims")
    return record


def _from_safetensors(data: bytes) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise BadInputError(
            'safetensors files need a package that is not installed; run: pip install "cgan-deploy[export]"'
        ) from error
    tensors: dict[str, Tensor] = load(data)
    return tensors


def _from_npy(data: bytes) -> Tensor:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise NotPlainError(f"an array has the unknown version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    if dtype.kind not in "fiub" or not dtype.isnative:
        raise NotPlainError(f"an array holds {dtype.name}, not numbers")
    rest = data[stream.tell() :]
    if len(rest) != math.prod(shape) * dtype.itemsize:
        raise NotPlainError("an array is shorter or longer than its shape")
    array = np.frombuffer(rest, dtype=dtype).reshape(shape, order="F" if by_columns else "C")
    return torch.from_numpy(np.array(array, order="C"))


def _storages(value: Any) -> list[Storage]:
    found: list[Storage] = []
    _mapped(value, lambda ref: found.append(ref.storage))
    return found


def _filled(value: Any, record: Records, file_bytes: int) -> Any:
    """`value` with every TensorRef replaced by its tensor."""
    budget = file_bytes * MAX_SHARING
    count = 0

    def tensor(ref: TensorRef) -> Tensor:
        nonlocal budget, count
        budget -= math.prod(ref.shape) * _dtype(ref.storage).itemsize
        count += 1
        if budget < 0 or count > MAX_TENSORS:
            raise NotPlainError("its tensors claim more bytes than the file has")
        return _tensor(ref, record(ref.storage))

    return _mapped(value, tensor)


def _tensor(ref: TensorRef, data: bytes) -> Tensor:
    dtype, numel = _dtype(ref.storage), math.prod(ref.shape)
    if len(data) != ref.storage.numel * dtype.itemsize:
        raise NotPlainError("a storage is shorter or longer than it claims")
    if len(ref.shape) != len(ref.stride) or len(ref.shape) > 8:
        raise NotPlainError("a tensor has a shape without strides")
    if numel == 0:
        return torch.zeros(ref.shape, dtype=dtype)
    reach = ref.offset + sum((n - 1) * step for n, step in zip(ref.shape, ref.stride, strict=True))
    if reach >= ref.storage.numel or numel > ref.storage.numel:
        raise NotPlainError("a tensor reaches beyond its storage")
    flat = torch.frombuffer(bytearray(data), dtype=dtype)
    return flat.as_strided(ref.shape, ref.stride, ref.offset).clone(memory_format=torch.contiguous_format)


def _dtype(storage: Storage) -> torch.dtype:
    dtype = getattr(torch, storage.dtype)
    assert isinstance(dtype, torch.dtype)  # noqa: S101 - the names are safe_unpickler.py's own
    return dtype


def _mapped(value: Any, leaf: Callable[[TensorRef], Any]) -> Any:
    """Dicts copied with `leaf` applied to every TensorRef in them; what lies too deep for weights is dropped."""
    visited = 0

    def copy(item: Any, depth: int) -> Any:
        nonlocal visited
        visited += 1
        if visited > 10 * MAX_TENSORS:  # dicts that hold each other many times over
            raise NotPlainError("its values are too many")
        if isinstance(item, TensorRef):
            return leaf(item)
        if not isinstance(item, Mapping):
            return item
        # The state of an optimiser is as large as the net twice over, and never read.
        return {
            key: copy(inner, depth + 1)
            for key, inner in item.items()
            if depth < MAX_NESTING and key not in ("state", "optimizer_states")
        }

    return copy(value, 0)


def _is_safetensors(data: bytes) -> bool:
    if len(data) < 10:
        return False
    (length,) = struct.unpack("<Q", data[:8])
    if data[8:9] != b"{" or length > len(data) - 8:
        return False
    try:
        return isinstance(json.loads(data[8 : 8 + length]), dict)
    except (ValueError, RecursionError):
        return False


def _is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def _short(problem: Exception) -> str:
    words = " ".join(str(problem).split()) or type(problem).__name__
    return words if len(words) <= 120 else f"{words[:117]}..."
