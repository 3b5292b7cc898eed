"""What is sent: the same few requests again and again, made and serialised before the first clock starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from cgan_runtime.contract import Condition, Contract, ImageEncoding
from cgan_runtime.errors import ServerError
from cgan_runtime.images import pixels_from_tensor, png_bytes
from cgan_runtime.runners.base import Array
from cgan_runtime.serving.wire import png_inputs, travels_as_bytes
from cgan_runtime.triton_client import TritonClient

from cgan_bench.sizes import Size, at_size
from cgan_bench.workload import conditions_for, inputs_for

__all__ = ["Kind", "Request", "Served", "grpc_request", "http_request", "inputs_of", "raw_bytes", "served_model"]

Kind = Literal["tensors", "files", "core"]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model as its server describes it.

    Attributes:
        model: its name.
        kind: what it takes: conditions and seeds as tensors, files and seeds, or every input of the engine.
        contract: with numbers for axes.
        digest: of the model; empty where the server does not say it.
        half: whether the engine takes FP16.
    """

    model: str
    kind: Kind
    contract: Contract
    digest: str = ""
    half: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it travels.

    Attributes:
        body: the message of gRPC, or the body of HTTP.
        json_bytes: how much of the body of HTTP is JSON; the tensors follow.
    """

    body: bytes
    json_bytes: int = 0


def served_model(url: str, model: str, size: Size | None) -> Served:
    """Ask a server what it serves under a name.

    Raises:
        UsageError: no address of a server, or a size that the model does not take.
        ServerError: unreachable, no such model, or one that cgan-serve did not write.
    """
    client = TritonClient(url)
    try:
        settings, contract = client.settings(model), client.contract(model)
    finally:
        client.close()
    name = settings.get("name", model)
    kinds: dict[str, Kind] = {settings.get("core", f"{name}_core"): "core", f"{name}_png": "files", name: "tensors"}
    if model not in kinds:
        raise ServerError(f"{url} serves {name}, but the model {model} is none of {', '.join(sorted(kinds))}.")
    return Served(
        model=model,
        kind=kinds[model],
        contract=at_size(contract, size),
        digest=settings.get("model_digest", ""),
        half=settings.get("io") == "fp16",
    )


def inputs_of(served: Served, seeds: Sequence[int]) -> dict[str, Array]:
    """Every input [N, ...] of one request; files and text are bytes in an array of objects [N, 1].

    Args:
        served: the model.
        seeds: one per row; the conditions follow from them too.
    """
    if served.kind == "core":
        inputs = inputs_for(served.contract, seeds)
        if served.half:
            inputs = {n: v.astype(np.float16) if v.dtype == np.float32 else v for n, v in inputs.items()}
    else:
        conditions = conditions_for(served.contract, seeds)
        if served.kind == "files":
            wire = png_inputs(served.contract)
            inputs = {name: _as_sent(condition, conditions[condition.name]) for name, condition in wire.items()}
        else:
            inputs = conditions
        inputs["seed"] = np.array(seeds, dtype=np.uint64)
    # A scalar per row travels as [N, 1].
    return {name: value.reshape(-1, 1) if value.ndim == 1 else value for name, value in inputs.items()}


def grpc_request(model: str, inputs: Mapping[str, Array]) -> Request:
    """The message ModelInferRequest."""
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import np_to_triton_dtype

    message = service_pb2.ModelInferRequest(
        model_name=model,
        inputs=[
            {"name": name, "datatype": np_to_triton_dtype(value.dtype), "shape": value.shape}
            for name, value in inputs.items()
        ],
        raw_input_contents=[raw_bytes(value) for value in inputs.values()],
    )
    return Request(body=message.SerializeToString())


def http_request(inputs: Mapping[str, Array]) -> Request:
    """The body of a POST with binary tensors, which asks for binary tensors."""
    from tritonclient.http import InferenceServerClient, InferInput
    from tritonclient.utils import np_to_triton_dtype

    sent = []
    for name, value in inputs.items():
        item = InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
        item.set_data_from_numpy(np.ascontiguousarray(value))
        sent.append(item)
    body, json_bytes = InferenceServerClient.generate_request_body(sent)
    return Request(body=body, json_bytes=json_bytes)


def _as_sent(condition: Condition, values: Array) -> Array:
    """The values [N, ...] of a condition as NAME_png takes them."""
    if not travels_as_bytes(condition):
        return values
    encoding = condition.encoding
    files = [
        png_bytes(pixels_from_tensor(value, encoding))
        if isinstance(encoding, ImageEncoding)
        else str(int(value)).encode()
        for value in values
    ]
    return np.array(files, dtype=object).reshape(-1, 1)


def raw_bytes(value: Array) -> bytes:
    """A tensor as it travels: its bytes; of an array of bytes objects, each with its length in front."""
    if value.dtype != np.object_:
        return np.ascontiguousarray(value).tobytes()
    from tritonclient.utils import serialize_byte_tensor

    data: bytes = serialize_byte_tensor(value).item()
    return data
