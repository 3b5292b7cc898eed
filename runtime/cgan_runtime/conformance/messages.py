"""Tensors to the JSON, the binary extension and the gRPC messages of the protocol, and back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cgan_runtime.conformance.checking import FailedError
from cgan_runtime.runners.base import Array

__all__ = [
    "HEADER",
    "Reply",
    "Tensor",
    "binary_request",
    "grpc_outputs",
    "grpc_request",
    "json_request",
    "outputs_of",
    "same_values",
]

HEADER: Final = "Inference-Header-Content-Length"
CONTENTS: Final = {"FP32": "fp32_contents", "INT64": "int64_contents", "UINT64": "uint64_contents"}


@dataclass(frozen=True)
class Tensor:
    """An input: its datatype is a name of the protocol; BYTES are an array of objects."""

    name: str
    datatype: str
    array: Array

    @property
    def raw(self) -> bytes:
        """Its bytes in the binary extension and in raw_input_contents."""
        from tritonclient.utils import serialize_byte_tensor

        if self.datatype == "BYTES":
            raw: bytes = serialize_byte_tensor(self.array).item()
            return raw
        return np.ascontiguousarray(self.array).tobytes()

    @property
    def plain(self) -> dict[str, Any]:
        """Its JSON."""
        data = [v.decode() if isinstance(v, bytes) else v for v in self.array.ravel().tolist()]
        return {**self.described, "data": data}

    @property
    def described(self) -> dict[str, Any]:
        """Its JSON without the values."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.array.shape)}


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP; the names of its headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The JSON of the body, or of its first part.

        Raises:
            FailedError: it is none.
        """
        length = self.headers.get(HEADER.lower())
        try:
            return json.loads(self.body[: int(length)] if length else self.body)
        except ValueError as error:
            raise FailedError(f"expected JSON, got {self}") from error

    def __str__(self) -> str:
        """The status and the beginning of the body."""
        return f"{self.status} {self.body[:160].decode(errors='replace')!r}"


def json_request(tensors: Sequence[Tensor], **more: Any) -> dict[str, Any]:
    """The body of a request, as a value."""
    return {**more, "inputs": [tensor.plain for tensor in tensors]}


def binary_request(tensors: Sequence[Tensor], binary: Collection[str], **more: Any) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request whose inputs in `binary` follow the JSON."""
    inputs, parts = [], []
    for tensor in tensors:
        if tensor.name in binary:
            inputs.append({**tensor.described, "parameters": {"binary_data_size": len(tensor.raw)}})
            parts.append(tensor.raw)
        else:
            inputs.append(tensor.plain)
    head = json.dumps({**more, "inputs": inputs}).encode()
    return head + b"".join(parts), {HEADER: str(len(head)), "Content-Type": "application/octet-stream"}


def outputs_of(reply: Reply) -> dict[str, Array]:
    """Every output of an answer, whether in the JSON or after it.

    Raises:
        FailedError: no 200, or sizes that do not fit.
    """
    if reply.status != 200:
        raise FailedError(f"expected 200, got {reply}")
    rest = reply.body[int(reply.headers.get(HEADER.lower(), len(reply.body))) :]
    found = {}
    for item in reply.json["outputs"]:
        size = item.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(item["data"], dtype=object)
            kind = _numpy_type(item["datatype"])
            flat = values.ravel() if kind is object else np.array([_number(v) for v in values.ravel()], dtype=kind)
        else:
            flat, rest = _from_raw(rest[:size], item["datatype"]), rest[size:]
        found[item["name"]] = _shaped(flat, item["shape"], item["name"])
    if rest:
        raise FailedError(f"expected as many bytes as the sizes say, got {len(rest)} more")
    return found


def grpc_request(model: str, tensors: Sequence[Tensor], *, typed: bool = False, **more: Any) -> Any:
    """A ModelInferRequest; `typed` puts the values into the message's own fields instead of raw bytes."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model, **more)
    for tensor in tensors:
        item = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        if typed:
            getattr(item.contents, CONTENTS[tensor.datatype]).extend(tensor.array.ravel().tolist())
        else:
            request.raw_input_contents.append(tensor.raw)
    return request


def grpc_outputs(response: Any) -> dict[str, Array]:
    """Every output of a ModelInferResponse with raw contents."""
    if len(response.outputs) != len(response.raw_output_contents):
        raise FailedError(f"{len(response.outputs)} outputs but {len(response.raw_output_contents)} raw contents")
    return {
        item.name: _shaped(_from_raw(raw, item.datatype), item.shape, item.name)
        for item, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def same_values(a: Array, b: Array) -> bool:
    """Whether shapes and values are equal; NaN equals NaN."""
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f"))


def _numpy_type(datatype: str) -> Any:
    from tritonclient.utils import triton_to_np_dtype

    return triton_to_np_dtype(datatype)


def _number(value: Any) -> Any:
    """A large integer may be a string of digits."""
    return int(value) if isinstance(value, str) else value


def _from_raw(raw: bytes, datatype: str) -> Array:
    from tritonclient.utils import deserialize_bytes_tensor

    if datatype == "BYTES":
        texts: Array = deserialize_bytes_tensor(raw)
        return texts
    return np.frombuffer(raw, dtype=_numpy_type(datatype))


def _shaped(flat: Array, shape: Sequence[int], name: str) -> Array:
    if flat.size != int(np.prod(shape)):
        raise FailedError(f"expected {list(shape)} values for {name}, got {flat.size}")
    return flat.reshape(tuple(shape))
