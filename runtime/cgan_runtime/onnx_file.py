"""Look at an ONNX file before a runtime loads it, without the onnx package.

A bundle's graph must be self-contained: a path inside it would be read with the rights of the server. The
check walks the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) along the fields of
onnx.proto that can hold a tensor, skipping weights unread, so it costs microseconds for any file size. On the way
each tensor's declared size is held to its data, because a runtime allocates what is declared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import prod
from typing import Final

__all__ = [
    "CONTRACT_KEY",
    "SHARED_CONDITIONS_KEY",
    "has_external_data",
    "has_halves",
    "metadata",
    "require_sound",
]

# Keys of metadata_props. The second is "1" where conditions of one row serve any number of rows of noise.
CONTRACT_KEY: Final = "cgan.contract"
SHARED_CONDITIONS_KEY: Final = "cgan.shared_conditions"

# Message type -> field number -> type of the nested message (onnx.proto, IR version 3 to 13).
_NESTED: Final[dict[str, dict[int, str]]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
_TENSOR_EXTERNAL_DATA: Final = 13
_TENSOR_DATA_LOCATION: Final = 14
_TENSOR_DIMS: Final = 1
_TENSOR_DATA_TYPE: Final = 2
_FLOAT16: Final = 10  # TensorProto.DataType
_MODEL_METADATA: Final = 14
_MAX_DEPTH: Final = 64
_MAX_FIELDS: Final = 1_000_000  # a large U-Net has some 10,000
_MAX_DIMENSIONS: Final = 32
_MAX_METADATA_BYTES: Final = 2_000_000
_ELEMENTS_PER_BYTE: Final = 4  # of the smallest type, two bits
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def has_external_data(model: bytes | memoryview) -> bool:
    """True when any tensor of the model, in sub-graphs and functions too, points to another file.

    Raises:
        ValueError: the bytes are not a protobuf message of the expected form.
    """
    budget = itertools.count()
    return any(_is_external(tensor, budget) for _, tensor in _tensors(model, budget))


def has_halves(model: bytes | memoryview) -> bool:
    """True when any tensor of the model holds float16 values, as the weights of an FP16 artifact do.

    Raises:
        ValueError: as `has_external_data`.
    """
    budget = itertools.count()
    return any(
        number == _TENSOR_DATA_TYPE and _varint(payload, 0)[0] == _FLOAT16
        for _, tensor in _tensors(model, budget)
        for number, _, payload in _fields(tensor, budget)
    )


def require_sound(model: bytes | memoryview) -> None:
    """Stop at what a bundle's graph never has and what would make a runtime read other files or fill the memory.

    Raises:
        ValueError: not a protobuf message of the expected form; a tensor in another file, a sparse one, or one
            that says it has more values than its data can hold.
    """
    budget = itertools.count()
    for is_sparse, tensor in _tensors(model, budget):
        if is_sparse:
            raise ValueError("it has sparse tensors")
        if _is_external(tensor, budget):
            raise ValueError("it keeps tensors in other files")
        count = prod(_dimensions(tensor, budget))
        if count > len(tensor) * _ELEMENTS_PER_BYTE:
            raise ValueError(f"a tensor of it says that it has {count:.3g} values, in {len(tensor)} bytes")


def metadata(model: bytes | memoryview) -> dict[str, str]:
    """The model's metadata_props.

    Raises:
        ValueError: as `has_external_data`, or text that is not UTF-8 or longer than 2 MB.
    """
    found: dict[str, str] = {}
    budget = itertools.count()
    for number, wire_type, payload in _fields(memoryview(model), budget):
        if number == _MODEL_METADATA and wire_type == _LENGTH:
            if len(payload) > _MAX_METADATA_BYTES:
                raise ValueError("its metadata is too long")
            entry = {key: bytes(text).decode() for key, kind, text in _fields(payload, budget) if kind == _LENGTH}
            found[entry.get(1, "")] = entry.get(2, "")
    return found


def _tensors(model: bytes | memoryview, budget: Iterator[int]) -> Iterator[tuple[bool, memoryview]]:
    """Every TensorProto of the model, and whether it is a part of a sparse one."""
    waiting = [(memoryview(model), "Model", 0)]
    while waiting:
        message, kind, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply for an ONNX model")
        for number, wire_type, payload in _fields(message, budget):
            nested = _NESTED[kind].get(number) if wire_type == _LENGTH else None
            if nested == "Tensor":
                yield kind == "Sparse", payload
            elif nested:
                waiting.append((payload, nested, depth + 1))


def _is_external(tensor: memoryview, budget: Iterator[int]) -> bool:
    return any(
        number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and payload[0] != 0)
        for number, _, payload in _fields(tensor, budget)
    )


def _dimensions(tensor: memoryview, budget: Iterator[int]) -> list[int]:
    """The declared shape; a negative size comes as one near 2**64."""
    sizes: list[int] = []
    for number, wire_type, payload in _fields(tensor, budget):
        if number == _TENSOR_DIMS:
            at = 0
            while at < len(payload) and wire_type in (_VARINT, _LENGTH):
                size, at = _varint(payload, at)
                sizes.append(size)
                if len(sizes) > _MAX_DIMENSIONS:
                    raise ValueError(f"a tensor of it has more than {_MAX_DIMENSIONS} axes")
    return sizes


def _fields(message: memoryview, budget: Iterator[int]) -> Iterator[tuple[int, int, memoryview]]:
    """(field number, wire type, payload) of each field; a varint's payload is its encoded bytes.

    `budget` counts the fields of all messages of a model together.
    """
    at = 0
    while at < len(message):
        if next(budget) > _MAX_FIELDS:
            raise ValueError(f"it has more than {_MAX_FIELDS} parts")
        tag, at = _varint(message, at)
        start, wire_type = at, tag & 7
        if wire_type == _VARINT:
            _, at = _varint(message, at)
        elif wire_type == _LENGTH:
            length, start = _varint(message, at)
            at = start + length
        elif wire_type in (_FIXED64, _FIXED32):
            at += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type} is not in use by ONNX")
        if at > len(message):
            raise ValueError("a field ends beyond the end of the file")
        yield tag >> 3, wire_type, message[start:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("the file ends inside a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is longer than 64 bits")
