"""An answer over HTTP: JSON, and binary data behind it where it was asked for."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
from pydantic_core import to_json
from tritonclient.grpc import service_pb2 as pb

from cgan_runtime.gateway.front import Answer
from cgan_runtime.gateway.json_values import SAFE_INTEGERS
from cgan_runtime.gateway.request import DTYPES, InferRequest, Sent, byte_strings

__all__ = ["write_answer"]

# Beside those of requests, what a server for GPUs may answer.
OTHER_DTYPES: Final = {"FP16": "<f2", "FP64": "<f8", "INT32": "<i4"}


def write_answer(answer: Answer, request: InferRequest) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON where binary data follows it."""
    message = pb.ModelInferResponse.FromString(answer.message)
    binary = {wanted.name: wanted.binary for wanted in request.wanted}
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for tensor, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        shape = tuple(tensor.shape)
        item: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(shape)}
        if binary.get(tensor.name, request.binary):
            item["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            item["data"] = _values(Sent(name=tensor.name, datatype=tensor.datatype, shape=shape, raw=raw))
        outputs.append(item)
    head: dict[str, Any] = {
        "model_name": answer.model.name,
        "model_version": str(answer.model.route.version),
        **({"id": request.id} if request.id else {}),
        "parameters": answer.model.made_by,
        "outputs": outputs,
    }
    text = to_json(head, inf_nan_mode="constants")
    return (b"".join((text, *tail)), len(text)) if tail else (text, None)


def _values(tensor: Sent) -> list[Any]:
    """Elements in C order. JSON holds neither bytes nor large numbers: files are base64, 2**53 is text."""
    if tensor.datatype == "BYTES":
        return [_text(value) for value in byte_strings(tensor)]
    dtype = {**DTYPES, **OTHER_DTYPES}[tensor.datatype]
    values: list[Any] = np.frombuffer(tensor.raw, dtype).tolist()
    if tensor.datatype in ("UINT64", "INT64"):
        return [value if abs(value) < SAFE_INTEGERS else str(value) for value in values]
    return values


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:  # a PNG never is text: its first byte is none
        return base64.b64encode(value).decode()
