"""The protocol over gRPC: health, metadata, infer, errors, and Triton's stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from cgan_runtime.conformance.checking import Check, FailedError, NotOfferedError, require
from cgan_runtime.conformance.messages import grpc_outputs, grpc_request, json_request, outputs_of, same_values
from cgan_runtime.conformance.target import TIMEOUT_S, Target

__all__ = ["GRPC_CHECKS", "call", "stream"]


def call(target: Target, method: str, request: Any) -> Any:
    """The answer.

    Raises:
        NotOfferedError: nothing answers at the address, or it does not know the call.
        FailedError: any other error.
    """
    import grpc

    try:
        return getattr(target.server.stub, method)(request, timeout=TIMEOUT_S, metadata=target.server.metadata)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
            raise NotOfferedError(f"{method} at {target.server.grpc}: {error.details()}; see --grpc") from error
        raise FailedError(f"expected an answer, got {error.code().name} {error.details()!r}") from error


def stream(target: Target, requests: Iterable[Any]) -> list[Any]:
    """The answers of a stream that is closed after these requests; errors as in `call`."""
    import grpc

    try:
        answers = target.server.stub.ModelStreamInfer(
            iter(requests), timeout=TIMEOUT_S, metadata=target.server.metadata
        )
        return list(answers)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
            raise NotOfferedError(f"ModelStreamInfer at {target.server.grpc}: {error.details()}") from error
        raise FailedError(f"expected answers, got {error.code().name} {error.details()!r}") from error


def _messages() -> Any:
    from tritonclient.grpc import service_pb2

    return service_pb2


def _live(target: Target) -> None:
    require(call(target, "ServerLive", _messages().ServerLiveRequest()).live, "live", "not live")


def _ready(target: Target) -> None:
    require(call(target, "ServerReady", _messages().ServerReadyRequest()).ready, "ready", "not ready")


def _model_ready(target: Target) -> None:
    request = _messages().ModelReadyRequest(name=target.model)
    require(call(target, "ModelReady", request).ready, "ready", "not ready")


def _server_metadata(target: Target) -> None:
    found = call(target, "ServerMetadata", _messages().ServerMetadataRequest())
    plain = target.server.ask("/v2").json
    seen = (found.name, found.version, list(found.extensions))
    require(seen == (plain["name"], plain["version"], plain["extensions"]), "what HTTP says", seen)


def _model_metadata(target: Target) -> None:
    found = call(target, "ModelMetadata", _messages().ModelMetadataRequest(name=target.model))
    for kind, known in (("inputs", target.inputs), ("outputs", target.outputs)):
        seen = {item.name: (item.datatype, list(item.shape)) for item in getattr(found, kind)}
        require(seen == known, f"the {kind} that HTTP says", seen)


def _infer(target: Target, *, typed: bool) -> None:
    tensors = target.tensors([7])
    response = call(target, "ModelInfer", grpc_request(target.model, tensors, typed=typed, id="a-7"))
    require(response.id == "a-7", "the id a-7", response.id)
    require(response.model_name == target.model, f"model_name {target.model}", response.model_name)
    found, known = grpc_outputs(response), outputs_of(target.infer(json_request(tensors)))
    require(set(found) == set(known), f"the outputs {', '.join(known)}", ", ".join(found))
    for name, values in known.items():
        require(same_values(found[name], values), f"{name} as over HTTP", "other values")


def _outputs_asked_for(target: Target) -> None:
    for name in target.outputs:
        request = grpc_request(target.model, target.tensors([7]))
        request.outputs.add(name=name)
        found = grpc_outputs(call(target, "ModelInfer", request))
        require(list(found) == [name], f"the output {name} alone", ", ".join(found))


def _refused(target: Target, request: Any, code: str) -> None:
    import grpc

    _live(target)  # a server that is away refuses nothing
    try:
        answer = target.server.stub.ModelInfer(request, timeout=TIMEOUT_S, metadata=target.server.metadata)
    except grpc.RpcError as error:
        require(error.code().name == code, code, f"{error.code().name} {error.details()!r}")
        require(bool(error.details()), "a sentence", "none")
    else:
        raise FailedError(f"expected {code}, got an answer of {answer.model_name or 'no model'}")


def _wrong_type(target: Target) -> None:
    request = grpc_request(target.model, target.tensors([7]))
    request.inputs[-1].datatype = "FP64"
    _refused(target, request, "INVALID_ARGUMENT")


def _wrong_length(target: Target) -> None:
    request = grpc_request(target.model, target.tensors([7]))
    request.raw_input_contents[-1] = request.raw_input_contents[-1][:-1]
    _refused(target, request, "INVALID_ARGUMENT")


def _unknown(target: Target) -> None:
    _refused(target, grpc_request("no-such-model", target.tensors([7])), "NOT_FOUND")


def _stream(target: Target) -> None:
    requests = [grpc_request(target.model, target.tensors([7 + n], first=n), id=str(n)) for n in range(3)]
    answers = {answer.infer_response.id: answer for answer in stream(target, requests)}
    require(sorted(answers) == ["0", "1", "2"], "an answer with the id of each request", sorted(answers))
    for request in requests:
        found = grpc_outputs(answers[request.id].infer_response)
        for name, values in grpc_outputs(call(target, "ModelInfer", request)).items():
            require(same_values(found[name], values), f"{name} as in a call of its own", "other values")


def _stream_error(target: Target) -> None:
    bad = grpc_request(target.model, target.tensors([7]), id="bad")
    bad.inputs[-1].datatype = "FP64"
    good = grpc_request(target.model, target.tensors([7]), id="good")
    answers = stream(target, [bad, good])
    said = {answer.infer_response.id: bool(answer.error_message) for answer in answers}
    require(said == {"bad": True, "good": False}, "an error with the id of the bad request, then an answer", said)


GRPC_CHECKS: Final = (
    Check("grpc: the server is live", _live),
    Check("grpc: the server is ready", _ready),
    Check("grpc: the model is ready", _model_ready),
    Check("grpc: the server's metadata are those of HTTP", _server_metadata),
    Check("grpc: the model's metadata are those of HTTP", _model_metadata),
    Check("grpc: infer with raw contents gives the values of HTTP", lambda t: _infer(t, typed=False)),
    Check("grpc: infer with typed contents gives the values of HTTP", lambda t: _infer(t, typed=True)),
    Check("grpc: outputs that are asked for come alone", _outputs_asked_for),
    Check("grpc: an unknown model is NOT_FOUND", _unknown),
    Check("grpc: another datatype is INVALID_ARGUMENT", _wrong_type),
    Check("grpc: contents that are too short are INVALID_ARGUMENT", _wrong_length),
    Check("grpc: a stream answers each request by its id", _stream),
    Check("grpc: a bad request of a stream fails alone", _stream_error),
)
