"""A request over gRPC, and the messages that both protocols exchange with Triton."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from cgan_runtime.gateway.json_request import refuse_shared_memory
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.request import DTYPES, InferRequest, Sent, Wanted, pack_strings
from cgan_runtime.gateway.settings import Limits

__all__ = ["message_of", "read_message", "redirected", "relabelled"]

# Field of InferTensorContents by datatype.
CONTENTS: Final = {
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "UINT32": "uint_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
VERSION: Final = "1"  # of every model inside Triton; what was published later has another name there


def read_message(data: bytes, limits: Limits) -> tuple[str, str, InferRequest]:
    """Model, version and request of a serialised ModelInferRequest.

    Raises:
        Refusal: it is not a request, or beyond the limits.
    """
    try:
        message = pb.ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise Refusal("the request is not a ModelInferRequest.") from error
    if len(message.inputs) + len(message.outputs) > limits.tensors:
        raise Refusal(f"the request names more than {limits.tensors} inputs and outputs.", reason="too_large")
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise Refusal(f"there are {len(message.inputs)} inputs, but raw_input_contents has {len(raw)} items.")
    inputs = tuple(_input(tensor, raw[index] if raw else None) for index, tensor in enumerate(message.inputs))
    for output in message.outputs:
        refuse_shared_memory(output.parameters, output.name[:80])
        if "classification" in output.parameters:
            raise Refusal(f"{output.name[:80]}: classification is not offered; ask for the tensor.")
    untouched = bool(raw) and not (
        message.parameters or any(item.parameters for item in (*message.inputs, *message.outputs))
    )
    request = InferRequest(
        id=message.id[:256],
        inputs=inputs,
        wanted=tuple(Wanted(name=output.name) for output in message.outputs),
        seconds=message.parameters["timeout"].int64_param / 1e6 or None
        if "timeout" in message.parameters
        else None,
        message=data if untouched else None,
    )
    return message.model_name, message.model_version, request


def message_of(request: InferRequest, model: str) -> bytes:
    """The serialised ModelInferRequest of it, to a model inside Triton."""
    if request.message is not None:
        return redirected(request.message, model)
    message = pb.ModelInferRequest(model_name=model, model_version=VERSION, id=request.id)
    for sent in request.inputs:
        message.inputs.add(name=sent.name, datatype=sent.datatype, shape=sent.shape)
        message.raw_input_contents.append(bytes(sent.raw))
    for wanted in request.wanted:
        message.outputs.add(name=wanted.name)
    return bytes(message.SerializeToString())


def redirected(data: bytes, model: str) -> bytes:
    """A serialised ModelInferRequest, to a model inside Triton: of a field that comes twice the last one counts."""
    return data + bytes(pb.ModelInferRequest(model_name=model, model_version=VERSION).SerializeToString())


def relabelled(data: bytes, model: str, version: int, parameters: Mapping[str, str]) -> bytes:
    """A serialised ModelInferResponse under the public name and version, with more parameters; likewise."""
    tail = pb.ModelInferResponse(model_name=model, model_version=str(version))
    for key, value in parameters.items():
        tail.parameters[key].string_param = value
    return data + bytes(tail.SerializeToString())


def _input(tensor: Any, raw: bytes | None) -> Sent:
    name = tensor.name[:80]
    refuse_shared_memory(tensor.parameters, name)
    if raw is None:
        raw = _packed(tensor, name)
    elif tensor.HasField("contents"):
        raise Refusal(f"{name} has contents although the request has raw_input_contents; give one of them.")
    return Sent(name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape), raw=raw)


def _packed(tensor: Any, name: str) -> bytes:
    """The raw form of an input whose values are in the message."""
    if tensor.datatype not in CONTENTS:
        raise Refusal(f"{name} is {tensor.datatype[:20]}; one of {', '.join(CONTENTS)} is needed.")
    values = getattr(tensor.contents, CONTENTS[tensor.datatype])
    if tensor.datatype == "BYTES":
        return pack_strings(list(values))
    return np.array(values, dtype=DTYPES[tensor.datatype]).tobytes()
