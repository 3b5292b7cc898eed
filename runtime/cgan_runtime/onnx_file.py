"""Tell whether an ONNX file keeps tensors in other files, without the onnx package.

A bundle's graph must be self-contained: a path inside it would be read with the rights of the server. The
check walks the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) along the fields of
onnx.proto that can hold a tensor, skipping weights unread, so it costs microseconds for any file size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["has_external_data"]

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
_MAX_DEPTH: Final = 64
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def has_external_data(model: bytes | memoryview) -> bool:
    """True when any tensor of the model, in sub-graphs and functions too, points to another file.

    Raises:
        ValueError: the bytes are not a protobuf message of the expected form.
    """
    return _has_external(memoryview(model), "Model", 0)


def _has_external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply for an ONNX model")
    for number, wire_type, payload in _fields(message):
        if kind == "Tensor":
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and payload[0] != 0):
                return True
            continue
        nested = _NESTED[kind].get(number) if wire_type == _LENGTH else None
        if nested and _has_external(payload, nested, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(field number, wire type, payload) of each field; a varint's payload is its encoded bytes."""
    at = 0
    while at < len(message):
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
