"""The conformance suite finds what a wrong server does, and says of Triton 2.51 what is known of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import pytest
from cgan_runtime.address import address_of
from cgan_runtime.bundle import Bundle
from cgan_runtime.conformance.__main__ import main
from cgan_runtime.conformance.bad_requests import BAD_REQUEST_CHECKS
from cgan_runtime.conformance.checking import Check, Result, run
from cgan_runtime.conformance.grpc_checks import GRPC_CHECKS
from cgan_runtime.conformance.http_checks import HTTP_CHECKS
from cgan_runtime.conformance.laws import LAW_CHECKS
from cgan_runtime.conformance.target import Server, Target, find_target
from cgan_runtime.serving.server import TritonServer
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.helpers import REPOSITORY

CHECKS = (*HTTP_CHECKS, *BAD_REQUEST_CHECKS, *GRPC_CHECKS, *LAW_CHECKS)
# Triton's own JSON reader answers 500 to these; docs/clients.md says so.
TRITON_FAILS = {
    "http: no JSON is a 4xx",
    "http: JSON that is no object is a 4xx",
    "http: a request without inputs is a 4xx",
    "http: an input without a name is a 4xx",
    "http: a negative axis is a 4xx",
    "http: more values than the shape has is a 4xx",
    "http: fewer values than the shape has is a 4xx",
    "http: a text where a number is needed is a 4xx",
    "http: an id that is no text is a 4xx",
    "ours: a seed beyond 2^53 as a string of digits, in JSON",
}
ONLY_THE_GATE = {
    "ours: the contract in one call",
    "ours: an answer names model digest, artifact, runtime and version",
}


def asked(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code, *capsys.readouterr()


@pytest.mark.parametrize("model", ["shoes", "clouds"])
def test_triton_keeps_all_but_what_is_known(
    model: str, tiny_server: TritonServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [tiny_server.http_url, "--grpc", tiny_server.grpc_url, "--model", model, "--json"]
    code, text, _ = asked(words, capsys)
    found = json.loads(text)
    states = {check["title"]: check["state"] for check in found["checks"]}
    assert {title for title, state in states.items() if state == "failed"} == TRITON_FAILS
    assert {title for title, state in states.items() if state == "not offered"} == ONLY_THE_GATE
    assert set(states) == {check.title for check in CHECKS}
    assert found["count"] == {"ok": len(CHECKS) - 12, "failed": 10, "not offered": 2}
    assert code == 1


def test_the_address_alone_is_enough(tiny_server: TritonServer) -> None:
    """As a process, and with a model of several images whose files the suite does not make."""
    words = [sys.executable, "-m", "cgan_runtime.conformance", tiny_server.http_url, "--grpc", tiny_server.grpc_url]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    *lines, last = done.stdout.splitlines()
    assert len(lines) == len(CHECKS)
    assert "ok           http: the server is live" in lines
    assert any(line.startswith("failed       http: no JSON is a 4xx: expected a status from 400") for line in lines)
    assert last.startswith(f"model blends at {tiny_server.http_url}: ")


def test_the_page_says_what_triton_does_not_keep() -> None:
    page = " ".join((REPOSITORY / "docs" / "clients.md").read_text().split())
    assert f"{len(CHECKS)} things" in page
    for title in TRITON_FAILS:
        assert title.removeprefix("http: ").removesuffix(" is a 4xx").removeprefix("ours: ") in page


def test_without_grpc_its_checks_are_not_offered(
    tiny_server: TritonServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [tiny_server.http_url, "--grpc", "127.0.0.1:9", "--model", "shoes", "--json"]
    _, text, _ = asked(words, capsys)
    states = {check["title"]: check["state"] for check in json.loads(text)["checks"]}
    assert {state for title, state in states.items() if title.startswith("grpc:")} == {"not offered"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["http://127.0.0.1:9"], 4, "http://127.0.0.1:9 cannot be reached"),
        (["grpc://127.0.0.1:9"], 2, "is not a server address here; give http://HOST:PORT or https://HOST:PORT"),
        (["http://127.0.0.1"], 2, "is not a server address"),
        (["{}", "--model", "nope"], 4, "has no model nope"),
        (["{}", "--model", "shoes_png"], 2, "model shoes_png takes files"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    words: list[str], code: int, said: str, tiny_server: TritonServer, capsys: pytest.CaptureFixture[str]
) -> None:
    given, text, errors = asked([word.format(tiny_server.http_url) for word in words], capsys)
    assert (given, text) == (code, "")
    assert said in errors
    assert errors.count("\n") == 1


class Wrong:
    """What a wrong server answers: "well" until it is described, then "never", "at random" or "the same"."""

    def __init__(self, bundle: Bundle) -> None:
        self.way = "well"
        contract = json.dumps(bundle.manifest.contract.to_json())
        inputs = [("label", "INT64", [-1, 1]), ("seed", "UINT64", [-1, 1]), ("draw", "UINT32", [-1, 1])]
        outputs = [("picture", "FP32", [-1, 1, 16, 16]), ("seed", "UINT64", [-1, 1])]
        described = {
            kind: [dict(zip(("name", "datatype", "shape"), tensor, strict=True)) for tensor in tensors]
            for kind, tensors in (("inputs", inputs), ("outputs", outputs))
        }
        self.good = {
            "/v2": {"name": "fake", "version": "1", "extensions": ["binary_tensor_data"]},
            "/v2/models/stats": {"model_stats": [{"name": "m"}]},
            "/v2/models/m": {"name": "m", "versions": ["1"], "platform": "python", **described},
            "/v2/models/m/config": {"max_batch_size": 8, "parameters": {"contract": {"string_value": contract}}},
        }

    def over_http(self, path: str) -> tuple[int, Any]:
        if self.way == "well":
            return (200, self.good[path]) if path in self.good else (404, {"error": "no such path."})
        if self.way == "never":
            return 500, {"error": "out of order."}
        if path.endswith("infer"):
            return 200, self.values()
        if path.endswith("contract"):
            return 200, {"contract": {}}
        return 200, {"name": 3, "versions": ["1"], "inputs": [{"name": "x"}], "extensions": "none"}

    def values(self) -> dict[str, Any]:
        draws = random.Random(0 if self.way == "the same" else None)
        picture = [draws.random() for _ in range(256)]
        outputs = [
            {"name": "picture", "datatype": "FP32", "shape": [1, 1, 16, 16], "data": picture},
            {"name": "seed", "datatype": "UINT64", "shape": [1, 1], "data": [5]},
        ]
        return {"model_name": "other", "model_version": "9", "parameters": {"x": 1}, "outputs": outputs}


class WrongGrpc(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # the package ships no types
    """Empty answers, live and ready; an error to everything where it "never" answers."""

    def __init__(self, wrong: Wrong) -> None:
        self.wrong = wrong
        for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"):
            message = getattr(service_pb2, f"{name}Response")
            setattr(self, name, lambda _, context, message=message: self.answer(context, message()))

    def answer(self, context: Any, message: Any) -> Any:
        if self.wrong.way == "never":
            context.abort(grpc.StatusCode.INTERNAL, "out of order.")
        if hasattr(message, "live"):
            message.live = True
        return message

    def ModelStreamInfer(self, requests: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        for _ in requests:
            yield self.answer(context, service_pb2.ModelStreamInferResponse())


@pytest.fixture(scope="module")
def wrong_results(shoes: Bundle) -> Iterator[dict[str, list[Result]]]:
    """What the suite says of a wrong server, by the way in which it is wrong."""
    wrong = Wrong(shoes)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, value = wrong.over_http(self.path)
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    grpc_server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(WrongGrpc(wrong), grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    try:
        server = Server(address_of(f"http://127.0.0.1:{served.server_port}"), f"127.0.0.1:{port}")
        target = find_target(server, None)
        results = {}
        for way in ("never", "at random", "the same"):
            wrong.way = way
            results[way] = run(target, CHECKS)
        yield results
    finally:
        grpc_server.stop(None).wait()
        served.shutdown()
        thread.join()
        served.server_close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.title)
def test_each_check_fails_on_a_wrong_server(check: Check, wrong_results: dict[str, list[Result]]) -> None:
    states = {way: [r.state for r in results if r.title == check.title] for way, results in wrong_results.items()}
    assert ["failed"] in states.values(), states


def test_a_key_does_not_follow_to_another_server() -> None:
    seen: list[tuple[str, str | None]] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"]))
            self.send_response(302 if self.path == "/v2" else 404)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever).start()
        address = address_of(f"http://127.0.0.1:{server.server_port}")
        Server(address, "", {"authorization": "Bearer a-key"}).ask("/v2")
        server.shutdown()
    assert seen == [("/v2", "Bearer a-key"), ("/elsewhere", None)]


def test_a_failed_check_says_what_was_expected_and_seen(wrong_results: dict[str, list[Result]]) -> None:
    (live,) = (result for result in wrong_results["never"] if result.title == "http: the server is live")
    assert live.said == """expected 200, got 500 '{"error": "out of order."}'"""


def test_the_rows_of_a_target_depend_on_their_numbers_alone(shoes: Bundle, blends: Bundle) -> None:
    """Else "a row of a batch is the row alone" would compare different rows."""
    for bundle in (shoes, blends):
        target = Target(Server(address_of("http://127.0.0.1:9"), ""), "m", {}, {}, bundle.manifest.contract)
        together = target.tensors([1, 2, 3])
        for row in range(3):
            for tensor, alone in zip(together, target.tensors([row + 1], first=row), strict=True):
                np.testing.assert_array_equal(tensor.array[row : row + 1], alone.array)
        assert not np.array_equal(together[0].array[0], together[0].array[1])
