"""A request to infer, as both protocols give it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cgan_runtime.gateway.refusal import Refusal

__all__ = ["DTYPES", "InferRequest", "Sent", "Wanted", "byte_strings", "pack_strings"]

# Little-endian, as the protocol says. BYTES has none: each element is its length (uint32), then its bytes.
DTYPES: Final = {"FP32": "<f4", "INT64": "<i8", "UINT64": "<u8", "UINT32": "<u4", "BOOL": "|b1"}
Buffer = bytes | memoryview


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """An input as it was sent, or an output as it was answered.

    Attributes:
        name: of the tensor.
        datatype: of the protocol.
        shape: with the rows first.
        raw: its elements, little-endian, in C order.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: Buffer

    def array(self) -> npt.NDArray[Any]:
        """A view of its elements, of any datatype but BYTES; the size was checked."""
        return np.frombuffer(self.raw, DTYPES[self.datatype]).reshape(self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """An output that was asked for, over HTTP as binary data or as JSON."""

    name: str
    binary: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class InferRequest:
    """What was asked.

    Attributes:
        id: chosen by the client, repeated in the answer.
        inputs: as they were sent.
        wanted: outputs; none are all.
        binary: over HTTP: outputs that are not in `wanted` are answered as binary data.
        seconds: the client's own limit of time.
        final: over gRPC: the last message of an answer is to say that it is the last.
        parameters: for the model, of our own making; those of callers are not passed on.
    """

    id: str = ""
    inputs: tuple[Sent, ...]
    wanted: tuple[Wanted, ...] = ()
    binary: bool = True
    seconds: float | None = None
    final: bool = False
    parameters: Mapping[str, bool] = field(default_factory=dict)


def byte_strings(sent: Sent) -> Iterator[bytes]:
    """The elements of a BYTES tensor.

    Raises:
        Refusal: the lengths do not add up.
    """
    raw, start, count = memoryview(sent.raw), 0, 0
    while start + 4 <= len(raw):
        (length,) = struct.unpack_from("<I", raw, start)
        start += 4
        if start + length > len(raw):
            break
        yield bytes(raw[start : start + length])
        start, count = start + length, count + 1
    if start != len(raw) or count != int(np.prod(sent.shape, dtype=object)):
        raise Refusal(
            f"{sent.name} is BYTES {list(sent.shape)}, but its data is not that many elements, each behind its "
            "length as 4 bytes."
        )


def pack_strings(values: list[bytes]) -> bytes:
    """A BYTES tensor's raw form."""
    return b"".join(part for value in values for part in (struct.pack("<I", len(value)), value))
