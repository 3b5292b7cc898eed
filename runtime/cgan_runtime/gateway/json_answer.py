"""An answer over HTTP: JSON, and binary data behind it where it was asked for."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
from pydantic_core import to_json

from cgan_runtime.gateway.front import Answer
from cgan_runtime.gateway.json_values import SAFE_INTEGERS
from cgan_runtime.gateway.request import DTYPES, InferRequest, Sent, byte_strings

__all__ = ["write_answer"]

# Beside those of requests, what a server for GPUs may answer.
OTHER_DTYPES: Final = {"FP16": "<f2", "FP64": "<f8", "INT32": "<i4"}


def write_answer(answer: Answer, request: InferRequest) -> tuple[bytes, list[bytes | memoryview]]:
    """The JSON, and the binary data that follows it."""
    binary = {wanted.name: wanted.binary for wanted in request.wanted}
    outputs: list[dict[str, Any]] = []
    tail: list[bytes | memoryview] = []
    for tensor in answer.outputs:
        item: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary.get(tensor.name, request.binary):
            item["parameters"] = {"binary_data_size": len(tensor.raw)}
            tail.append(tensor.raw)
        else:
            item["data"] = _values(tensor)
        outputs.append(item)
    head: dict[str, Any] = {
        "model_name": answer.model.name,
        "model_version": str(answer.model.route.version),
        **({"id": request.id} if request.id else {}),
        "parameters": answer.model.made_by,
        "outputs": outputs,
    }
    return to_json(head, inf_nan_mode="constants"), tail


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
