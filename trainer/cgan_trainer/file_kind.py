"""What a file is that is no checkpoint, from its first bytes or its name, and what to do instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["GZIP", "FileKind", "foreign_kind", "is_tar", "kind_of_file", "may_be_weights"]

_SAVE: Final = "save the generator's state_dict() where the model was made, and export that .pth"
_TENSORFLOW: Final = (
    "of TensorFlow files cgan-export reads the generator of pix2pix-tensorflow, saved as an .npz "
    '("TensorFlow" in docs/checkpoints.md says how)'
)
_UNPACK: Final = "unpack it and name the checkpoint inside"


GZIP: Final = b"\x1f\x8b\x08"


@dataclass(frozen=True)
class FileKind:
    """What a file is ("an HDF5 file, as Keras writes them") and the way out, as an instruction."""

    what: str
    way: str


_WEB_PAGE: Final = FileKind("a web page (a failed download)", "download the file itself")
_LFS: Final = FileKind("a Git LFS pointer", "fetch the file itself with git lfs pull")
_ONNX: Final = FileKind(
    "an ONNX graph",
    "export the checkpoint that it was made from, whose layout it has lost; cgan-export makes the ONNX file itself",
)
_HDF5: Final = FileKind("an HDF5 file, as Keras and h5py write them", _TENSORFLOW)
_KERAS: Final = FileKind("a Keras model", _TENSORFLOW)
_SAVED_MODEL: Final = FileKind("a TensorFlow graph", _TENSORFLOW)
_TF_CHECKPOINT: Final = FileKind("part of a TensorFlow checkpoint", _TENSORFLOW)
_TFLITE: Final = FileKind("a TensorFlow Lite model", _TENSORFLOW)
_TORCH7: Final = FileKind("a file of Lua Torch", f"convert it to PyTorch first; {_SAVE}")
_ENGINE: Final = FileKind(
    "a TensorRT engine, a program for one kind of GPU", "export the checkpoint that it was made from"
)
_GGUF: Final = FileKind("a GGUF file of a language model", _SAVE)
_JAX: Final = FileKind("a checkpoint of JAX or Flax", _SAVE)
_PADDLE: Final = FileKind("a checkpoint of PaddlePaddle", _SAVE)
_COREML: Final = FileKind("a Core ML model", "export the checkpoint that it was made from")
_IMAGE: Final = FileKind("an image", "name the checkpoint; cgan-translate takes images")

# The first bytes of each kind.
_MAGIC: Final[tuple[tuple[bytes, FileKind], ...]] = (
    (b"version https://git-lfs", _LFS),
    (b"\x89HDF\r\n\x1a\n", _HDF5),
    (b"ftrt", _ENGINE),
    (b"ptrt", _ENGINE),
    (b"GGUF", _GGUF),
    (b"\x04\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00V 1", _TORCH7),
    (b"\x03\x00\x00\x00\x01\x00\x00\x00", _TORCH7),
    (b"\x89PNG", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),
    (b"BZh", FileKind("a bzip2 archive", _UNPACK)),
    (b"\xfd7zXZ\x00", FileKind("an xz archive", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", FileKind("a Zstandard archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7-Zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", FileKind("a RAR archive", _UNPACK)),
)
_PATTERNS: Final[tuple[tuple[bytes, FileKind], ...]] = (
    (rb"(?s:.{4})TFL3", _TFLITE),
    (rb"model_checkpoint_path:", _TF_CHECKPOINT),
    # Protocol buffers: a version, then the name of what wrote an ONNX file, or a graph (more than 127 bytes).
    (rb"\x08[\x01-\x20](\x12[\x00-\x40][\x1a\x20-\x7e]|[:B])", _ONNX),
    (rb"\x08\x01\x12[\x80-\xff]|\n[\x01-\xff]{1,3}\n[\x01-\x7f][\w./-]+\x12", _SAVED_MODEL),
)
# What the bytes do not tell.
_NAMES: Final[tuple[tuple[str, FileKind], ...]] = (
    (r"\.onnx", _ONNX),
    (r"\.(h5|hdf5)", _HDF5),
    (r"\.keras", _KERAS),
    (r"\.pb(txt)?", _SAVED_MODEL),
    (r"\.(index|meta|data-\d+-of-\d+)", _TF_CHECKPOINT),
    (r"(^|/)checkpoint", _TF_CHECKPOINT),
    (r"\.tflite", _TFLITE),
    (r"\.t7", _TORCH7),
    (r"\.(engine|plan|trt)", _ENGINE),
    (r"\.(msgpack|orbax)", _JAX),
    (r"\.(pdparams|pdmodel|pdopt)", _PADDLE),
    (r"\.(mlmodel|mlpackage)", _COREML),
)


def foreign_kind(head: bytes, name: str = "") -> FileKind | None:
    """The kind of a file of another program; None where neither its first bytes nor its name tell.

    Args:
        head: its first bytes, some hundreds.
        name: of the file, where there is one. It does not count against bytes that are PyTorch's.
    """
    by_name = next((kind for end, kind in _NAMES if re.search(rf"{end}$", name, re.IGNORECASE)), None)
    if head.startswith((b"PK", b"\x80")):
        return by_name if by_name in (_KERAS, _PADDLE) else None
    return _kind_by_bytes(head) or by_name


def kind_of_file(head: bytes, name: str = "") -> FileKind:
    """The same for a file that is no checkpoint: whatever it is has a name."""
    if (kind := foreign_kind(head, name)) is not None:
        return kind
    way = "name a .pth, .pt, .ckpt, .bin, .safetensors or .npz with the weights of a generator"
    if head.startswith(b"\x80"):
        return FileKind("a bare pickle, which could run code when opened,", way)
    return FileKind("a text file" if b"\0" not in head and head.isascii() else "a file of another kind", way)


def is_tar(head: bytes) -> bool:
    """Whether a file begins with the header of a tar; needs 512 bytes."""
    return head[257:262] == b"ustar"


def may_be_weights(head: bytes) -> bool:
    """Whether a file begins like one of the kinds that the readers open: PyTorch's, safetensors, npz, archives."""
    if head.startswith((b"PK\x03\x04", b"\x80", GZIP)) or is_tar(head):
        return True
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _kind_by_bytes(head: bytes) -> FileKind | None:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return _WEB_PAGE
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return next((kind for pattern, kind in _PATTERNS if re.match(pattern, head)), None)
