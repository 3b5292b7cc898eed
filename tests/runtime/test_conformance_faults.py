"""One fault at a time before the real server: the check that is about it fails, and no other fault hides it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cgan_runtime.address import address_of
from cgan_runtime.conformance.bad_requests import BAD_REQUEST_CHECKS
from cgan_runtime.conformance.checking import run
from cgan_runtime.conformance.grpc_checks import GRPC_CHECKS
from cgan_runtime.conformance.http_checks import HTTP_CHECKS
from cgan_runtime.conformance.laws import LAW_CHECKS
from cgan_runtime.conformance.messages import HEADER, Reply
from cgan_runtime.conformance.target import Server, Target, find_target
from cgan_runtime.serving.server import TritonServer

CHECKS = {check.title: check for check in (*HTTP_CHECKS, *BAD_REQUEST_CHECKS, *GRPC_CHECKS, *LAW_CHECKS)}
LENGTH = HEADER.lower()
ROUNDED = (np.uint64(2**53 + 1).tobytes(), np.uint64(2**53).tobytes())


@dataclass(frozen=True)
class Fault:
    """What becomes of a request's body, of an answer over HTTP, and of one over gRPC."""

    body: Callable[[bytes], bytes] = bytes
    reply: Callable[[Reply], Reply] = lambda reply: reply
    message: Callable[[Any], None] = lambda _: None


class Spoilt:
    """The real server behind a fault; what `Target` asks of a `Server`."""

    def __init__(self, server: Server, fault: Fault) -> None:
        self.real, self.fault = server, fault
        self.grpc, self.metadata, self.stub = server.grpc, server.metadata, self

    def ask(self, path: str, body: bytes | None = None, *rest: Any, **more: Any) -> Reply:
        return self.fault.reply(self.real.ask(path, body and self.fault.body(body), *rest, **more))

    def __getattr__(self, method: str) -> Any:
        def call(request: Any, **options: Any) -> Any:
            answer = getattr(self.real.stub, method)(request, **options)
            answers = list(answer) if method == "ModelStreamInfer" else [answer]
            for item in answers:
                self.fault.message(item)
            return answers if method == "ModelStreamInfer" else answer

        return call


def in_json(change: Callable[[Any], object]) -> Callable[[Reply], Reply]:
    """A change to the JSON of answers that have nothing else."""

    def spoil(reply: Reply) -> Reply:
        if LENGTH in reply.headers or not reply.body.startswith(b"{"):
            return reply
        plain = json.loads(reply.body)
        change(plain)
        return Reply(reply.status, reply.headers, json.dumps(plain).encode())

    return spoil


def in_request(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    """A change to the JSON of requests that have nothing else."""

    def spoil(body: bytes) -> bytes:
        try:
            plain = json.loads(body)
        except ValueError:
            return body
        if isinstance(plain, dict):
            change(plain)
        return json.dumps(plain).encode()

    return spoil


def output(plain: Any, name: str) -> Any:
    return next((item for item in plain.get("outputs", ()) if item["name"] == name), {"data": [0]})


def status(seen: int, answered: int) -> Callable[[Reply], Reply]:
    return lambda reply: Reply(answered if reply.status == seen else reply.status, reply.headers, reply.body)


def flipped(reply: Reply) -> Reply:
    """One bit of the first binary value of an answer."""
    if LENGTH not in reply.headers:
        return reply
    body, at = bytearray(reply.body), int(reply.headers[LENGTH])
    body[at] ^= 1
    return Reply(reply.status, reply.headers, bytes(body))


def flipped_if_many_rows(reply: Reply) -> Reply:
    return flipped(reply) if len(reply.body) > 2 * 1024 else reply


def flipped_message(answer: Any) -> None:
    made = getattr(answer, "infer_response", answer)
    if getattr(made, "raw_output_contents", ()):
        first = bytearray(made.raw_output_contents[0])
        first[0] ^= 1
        made.raw_output_contents[0] = bytes(first)


def without_id(answer: Any) -> None:
    made = getattr(answer, "infer_response", answer)
    if hasattr(made, "id"):
        made.id = ""


def errors_without_id(answer: Any) -> None:
    if getattr(answer, "error_message", ""):
        without_id(answer)


def seeds_in_place(plain: Any, change: Callable[[int], int]) -> None:
    data = output(plain, "seed")["data"]
    data[:] = [change(int(seed)) for seed in data]


def no_draw(plain: Any) -> None:
    plain["inputs"] = [item for item in plain.get("inputs", ()) if item["name"] != "draw"]


def seed_7(plain: Any) -> None:
    for item in plain.get("inputs", ()):
        if item["name"] == "seed":
            item["data"] = [7 for _ in item["data"]]


def asked_outputs_ignored(plain: Any) -> None:
    plain.pop("outputs", None)


FAULTS: dict[str, Fault] = {
    "http: the server is live": Fault(reply=status(200, 204)),
    "http: the server is ready": Fault(reply=status(200, 204)),
    "http: the model is ready": Fault(reply=status(200, 204)),
    "http: the server has name, version and extensions": Fault(reply=in_json(lambda p: p.update(version=2))),
    "http: an unknown model is not ready": Fault(reply=status(400, 200)),
    "http: the model has metadata": Fault(reply=in_json(lambda p: p.pop("platform", None))),
    "http: a version has metadata and answers by its path": Fault(
        reply=in_json(lambda p: p.update(model_version="2"))
    ),
    "http: an unknown model is 404": Fault(reply=status(404, 400)),
    "http: an unknown version is 404": Fault(reply=status(404, 400)),
    "http: infer of an unknown model is 404": Fault(reply=in_json(lambda p: p.pop("error", None))),
    "http: infer answers every output as the metadata describes it": Fault(
        reply=in_json(lambda p: output(p, "seed").update(datatype="INT64"))
    ),
    "http: the id of a request comes back": Fault(reply=in_json(lambda p: p.pop("id", None))),
    "http: outputs that are asked for come alone": Fault(body=in_request(asked_outputs_ignored)),
    "binary: inputs after the JSON": Fault(
        reply=lambda r: Reply(r.status, {LENGTH: str(len(r.body)), **r.headers}, r.body)
    ),
    "binary: outputs after the JSON": Fault(reply=flipped),
    "binary: inputs and outputs": Fault(reply=flipped),
    "binary: some tensors in JSON, some not": Fault(reply=flipped),
    "binary: a size beyond the body is a 4xx": Fault(reply=status(400, 500)),
    "http: another datatype is a 4xx": Fault(reply=status(400, 500)),
    "http: an input twice is a 4xx": Fault(reply=in_json(lambda p: p.pop("error", None))),
    "http: more rows than the model takes is a 4xx": Fault(reply=status(400, 500)),
    "http: GET of infer is a 4xx": Fault(reply=status(405, 200)),
    "grpc: infer with raw contents gives the values of HTTP": Fault(message=flipped_message),
    "grpc: infer with typed contents gives the values of HTTP": Fault(message=without_id),
    "grpc: a stream answers each request by its id": Fault(message=without_id),
    "grpc: a bad request of a stream fails alone": Fault(message=errors_without_id),
    "ours: the seed comes back, in JSON": Fault(reply=in_json(lambda p: seeds_in_place(p, lambda s: s ^ 1))),
    "ours: a seed beyond 2^53 comes back, in binary": Fault(body=lambda body: body.replace(*ROUNDED)),
    "ours: a seed beyond 2^53 as a number is exact or refused": Fault(
        body=in_request(lambda p: [item.update(data=[int(float(v)) for v in item["data"]]) for item in p["inputs"]])
    ),
    "ours: a drawn seed makes its values again": Fault(
        reply=in_json(lambda p: seeds_in_place(p, lambda s: s ^ 1 if s > 7 else s))
    ),
    "ours: another seed makes other values": Fault(body=in_request(seed_7)),
    "ours: draw 0 is the values of the seed, draw 1 others": Fault(body=in_request(no_draw)),
    "ours: the same seed gives the same values in binary": Fault(reply=flipped),
    "ours: the same seed gives the same values over gRPC": Fault(message=flipped_message),
    "ours: the same seed gives the same values in a stream": Fault(message=flipped_message),
    "ours: a row of a batch is the row alone": Fault(reply=flipped_if_many_rows),
}


@pytest.fixture(scope="module")
def target(tiny_server: TritonServer) -> Target:
    return find_target(Server(address_of(tiny_server.http_url), tiny_server.grpc_url), "shoes")


@pytest.mark.parametrize("title", FAULTS)
def test_the_fault_is_found(title: str, target: Target) -> None:
    (without,) = run(target, [CHECKS[title]])
    assert without.state == "ok", without.said
    spoilt: Any = Spoilt(target.server, FAULTS[title])
    values = {**vars(target), "server": spoilt}
    (result,) = run(Target(**values), [CHECKS[title]])
    assert result.state == "failed", result
    assert result.said.startswith("expected "), result.said
