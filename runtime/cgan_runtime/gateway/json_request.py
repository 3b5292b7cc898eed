"""A request over HTTP: JSON, and binary data behind it (the protocol's binary extension)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic_core import from_json

from cgan_runtime.gateway.json_values import PACK, is_integer
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.request import InferRequest, Sent, Wanted
from cgan_runtime.gateway.settings import Limits

__all__ = ["read_request", "refuse_shared_memory"]

MAX_AXES: Final = 16
FIELDS: Final = frozenset({"id", "inputs", "outputs", "parameters"})


def read_request(body: bytes, header_length: int | None, limits: Limits) -> InferRequest:
    """What the body asks for.

    Args:
        body: inflated.
        header_length: length of the JSON where binary data follows it (Inference-Header-Content-Length).
        limits: of requests.

    Raises:
        Refusal: it is not a request, or beyond the limits.
    """
    length = len(body) if header_length is None else header_length
    if length > len(body):
        raise Refusal(f"Inference-Header-Content-Length is {length}, but the body has {len(body)} bytes.")
    if length > limits.json_bytes:
        raise Refusal(
            f"the JSON of the request has {length} bytes, at most {limits.json_bytes} are read: send tensors as "
            "binary data or over gRPC.",
            status=413,
            reason="too_large",
        )
    try:
        plain = from_json(body[:length], allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise Refusal(f"the request is not JSON that can be read ({error}).") from error
    if not isinstance(plain, dict) or not isinstance(plain.get("inputs"), list):
        raise Refusal('the request must be a JSON object with a list "inputs".')
    if unknown := sorted(set(plain) - FIELDS):
        raise Refusal(f"the request has a field {unknown[0][:40]!r}; known are {', '.join(sorted(FIELDS))}.")
    wanted = _list(plain, "outputs")
    if len(plain["inputs"]) + len(wanted) > limits.tensors:
        raise Refusal(f"the request names more than {limits.tensors} inputs and outputs.", reason="too_large")
    parameters = _parameters(plain, "the request")
    binary = _flag(parameters, "binary_data_output", "the request")
    tail = _Tail(memoryview(body)[length:])
    inputs = tuple(_input(item, tail) for item in plain["inputs"])
    if tail.left:
        raise Refusal(f"{tail.left} bytes of binary data belong to no input: binary_data_size adds up to less.")
    return InferRequest(
        id=_text(plain.get("id", ""), "id"),
        inputs=inputs,
        wanted=tuple(_output(item, binary=binary) for item in wanted),
        binary=binary,
        seconds=_seconds(parameters.get("timeout")),
    )


class _Tail:
    """The binary data, taken from the front by one input after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    @property
    def left(self) -> int:
        return len(self._data)

    def take(self, size: Any, name: str) -> memoryview:
        if not is_integer(size) or size < 0 or size > len(self._data):
            raise Refusal(
                f"{name} claims {str(size)[:40]} bytes of binary data, and {len(self._data)} are left: "
                "binary_data_size of every input must add up, and Inference-Header-Content-Length must be the "
                "length of the JSON."
            )
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def _input(item: Any, tail: _Tail) -> Sent:
    if not isinstance(item, dict):
        raise Refusal("each input must be a JSON object with name, datatype, shape and data.")
    name = _text(item.get("name"), "the name of an input")
    datatype, shape = _text(item.get("datatype"), f"the datatype of {name}"), _shape(item.get("shape"), name)
    parameters = _parameters(item, name)
    refuse_shared_memory(parameters, name)
    if "binary_data_size" in parameters:
        if "data" in item:
            raise Refusal(f"{name} has both data and binary_data_size; give one of them.")
        return Sent(name=name, datatype=datatype, shape=shape, raw=tail.take(parameters["binary_data_size"], name))
    if not isinstance(item.get("data"), list):
        raise Refusal(f"{name} has no list data, and no parameter binary_data_size.")
    pack = PACK.get(datatype)
    if pack is None:
        raise Refusal(f"{name} is {datatype[:20]}; one of {', '.join(PACK)} is needed.")
    return Sent(name=name, datatype=datatype, shape=shape, raw=pack(item["data"], name, shape))


def _output(item: Any, *, binary: bool) -> Wanted:
    if not isinstance(item, dict):
        raise Refusal("each output must be a JSON object with a name.")
    name = _text(item.get("name"), "the name of an output")
    parameters = _parameters(item, name)
    refuse_shared_memory(parameters, name)
    if parameters.get("classification"):
        raise Refusal(f"{name}: classification is not offered; ask for the tensor.")
    given = _flag(parameters, "binary_data", name) if "binary_data" in parameters else binary
    return Wanted(name=name, binary=given)


def refuse_shared_memory(parameters: Iterable[str], name: str) -> None:
    """Stop at a tensor that is to lie in shared memory.

    Raises:
        Refusal: it is.
    """
    if any(key.startswith("shared_memory") for key in parameters):
        raise Refusal(f"{name} names shared memory, which is not offered here: send its data in the request.")


def _shape(given: Any, name: str) -> tuple[int, ...]:
    if not isinstance(given, list) or not given or len(given) > MAX_AXES:
        raise Refusal(f"{name} needs a shape: a list of whole numbers, the rows first.")
    if not all(is_integer(axis) and 0 <= axis < 2**31 for axis in given):
        raise Refusal(f"the shape of {name} must be whole numbers from 0 to 2147483647.")
    return tuple(given)


def _list(plain: dict[str, Any], key: str) -> list[Any]:
    value = plain.get(key, [])
    if not isinstance(value, list):
        raise Refusal(f"{key} must be a list.")
    return value


def _parameters(item: dict[str, Any], name: str) -> dict[str, Any]:
    value = item.get("parameters", {})
    if not isinstance(value, dict):
        raise Refusal(f"the parameters of {name} must be a JSON object.")
    return value


def _flag(parameters: dict[str, Any], key: str, name: str) -> bool:
    value = parameters.get(key, False)
    if not isinstance(value, bool):
        raise Refusal(f"{key} of {name} must be true or false.")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > 256:
        raise Refusal(f"{what} must be text of at most 256 characters.")
    return value


def _seconds(microseconds: Any) -> float | None:
    if microseconds is None:
        return None
    if not is_integer(microseconds) or not 0 <= microseconds < 2**53:
        raise Refusal("the parameter timeout must be a whole number of microseconds.")
    return microseconds / 1e6 or None
