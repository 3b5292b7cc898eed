"""A request over gRPC, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from cgan_runtime.gateway.json_request import refuse_shared_memory
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.request import DTYPES, InferRequest, Sent, Wanted, pack_strings
from cgan_runtime.gateway.served import ServedModel
from cgan_runtime.gateway.settings import Limits

__all__ = ["answer_message", "in_stream", "read_message"]

# Field of InferTensorContents by datatype.
CONTENTS: Final = {
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "UINT32": "uint_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
FINAL: Final = "triton_final_response"
EMPTY_FINAL: Final = "triton_enable_empty_final_response"


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
    request = InferRequest(
        id=message.id[:256],
        inputs=inputs,
        wanted=tuple(Wanted(name=output.name) for output in message.outputs),
        seconds=message.parameters["timeout"].int64_param / 1e6 or None
        if "timeout" in message.parameters
        else None,
        final=EMPTY_FINAL in message.parameters,
    )
    return message.model_name, message.model_version, request


def answer_message(outputs: Sequence[Sent], request: InferRequest, model: ServedModel) -> bytes:
    """The serialised ModelInferResponse, under the public name and version of the model.

    Fields of a message may follow each other in any order, so the tensors are put behind the rest as they are: the
    library would copy each of them three times.
    """
    head = pb.ModelInferResponse(model_name=model.name, model_version=str(model.route.version), id=request.id)
    for key, value in model.made_by.items():
        head.parameters[key].string_param = value
    if request.final:
        head.parameters[FINAL].bool_param = True
    for output in outputs:
        head.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    parts: list[bytes | memoryview] = [head.SerializeToString()]
    for output in outputs:
        parts += (RAW_OUTPUT + encode_varint(len(output.raw)), output.raw)
    return b"".join(parts)


def in_stream(answer: bytes) -> bytes:
    """The serialised ModelStreamInferResponse around a serialised ModelInferResponse."""
    return b"".join((INFER_RESPONSE + encode_varint(len(answer)), answer))


def encode_varint(value: int) -> bytes:
    """A length as Protocol Buffers writes it: 7 bits per byte, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _tag(message: Any, field: str) -> bytes:
    """What stands before the length of a field of bytes or of a message."""
    return encode_varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2)


RAW_OUTPUT: Final = _tag(pb.ModelInferResponse, "raw_output_contents")
INFER_RESPONSE: Final = _tag(pb.ModelStreamInferResponse, "infer_response")


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
