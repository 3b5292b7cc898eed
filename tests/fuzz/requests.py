"""Mutants of requests, sent to a gateway: every one is answered, none by an error of the server's own."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from tests.fuzz.base import Report
from tests.fuzz.damage import damaged, damaged_json
from tests.gateway.gateway_process import call

__all__ = ["Addresses", "fuzz_requests", "fuzz_requests_here"]

SECONDS: Final = 30.0  # an answer that takes longer is none
WARM_UP: Final = 3000
EVERY: Final = 100  # mutants between two good requests
GRPC_EVERY: Final = 6  # one of so many mutants goes over gRPC
METHODS: Final = ("ModelInfer",) * 8 + (
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "ModelReady",
    "ServerReady",
)
REFUSED: Final = ("INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "UNAVAILABLE")
PATHS: Final = ("/infer",) * 20 + (
    "",
    "/config",
    "/stats",
    "/ready",
    "/contract",
    "/versions/1/infer",
    "/versions/9/infer",
)
HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"Content-Type": "application/json"},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "deflate"},
    {"Inference-Header-Content-Length": "7"},
    {"Inference-Header-Content-Length": "-1"},
    {"X-Request-Id": "a b\tc"},
    {"Expect": "100-continue"},
    {"Authorization": "Bearer x"},
)


class Addresses:
    """Where the gateway is, and the small image-to-image model that it serves."""

    def __init__(
        self, http_port: int, grpc_port: int, *, model: str, condition: str, image: bytes, side: int
    ) -> None:
        self.http_port, self.model = http_port, model
        self.channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        values = np.linspace(-1, 1, 3 * side * side, dtype="<f4").reshape(1, 3, side, side)
        self.sound = _sound_requests(condition, values, image)
        self.messages = _sound_messages(model, condition, values, image)
        self.good = b""

    def infer(self, model: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of one answer."""
        return self.send("POST", f"/v2/models/{model}/infer", body, headers)

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """The same, of any path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def check_good(self) -> None:
        """A good request is answered with the bytes that it had at first."""
        suffix, body, headers = self.sound[0]
        status, answer = self.infer(self.model + suffix, body, headers)
        assert status == 200, answer[:300]
        self.good = self.good or answer
        assert answer == self.good, "another image for the same seed"


def fuzz_requests(
    gateway: Addresses, count: int, first: int = 0, on_failure: Callable[[str], object] = print
) -> Report:
    """Send mutants `first` to `first + count`; what each is follows from its number."""
    report = Report()
    gateway.check_good()
    for number in range(first, first + count):
        draws = random.Random(f"requests {number}")
        way = ""
        try:
            if number % GRPC_EVERY == GRPC_EVERY - 1:
                way, said = _over_grpc(gateway, draws)
            else:
                way, said = _over_http(gateway, draws)
            report.counts[said] += 1
            if number % EVERY == EVERY - 1:
                gateway.check_good()
        except Exception as error:  # noqa: BLE001 - whatever it is, it broke the law
            report.failures.append(f"requests {number}: {way}: {error!r:.600}")
            on_failure(report.failures[-1])
    gateway.check_good()
    return report


def fuzz_requests_here(folder: Path, count: int, first: int, say: Callable[[str], object]) -> Report:
    """The same against a server that is started for it; the memory of its processes is said."""
    from cgan_runtime.bundle import read_bundle
    from cgan_runtime.serving.environment import make_environment
    from cgan_runtime.serving.server import ServerOptions, TritonServer

    from tests.gateway.gateway_process import GatewayProcess, engine_of, route_of
    from tests.helpers import export_facades, free_ports, png, smooth_images

    bundle = read_bundle(export_facades(folder))
    environment = make_environment(say=lambda _: None)
    options = ServerOptions(ports=free_ports())
    with (
        TritonServer([bundle], environment, options) as triton,
        GatewayProcess(free_ports(), folder / "log") as gateway,
    ):
        gateway.tell(routes=(route_of(bundle, environment),))
        gateway.tell(engine=engine_of(triton))
        (condition,) = bundle.manifest.contract.conditions
        addresses = Addresses(
            gateway.settings.http_port,
            gateway.settings.grpc_port,
            model=bundle.manifest.name,
            condition=condition.name,
            image=png(smooth_images(1, seed=5)[0]),
            side=int(condition.shape[1]),
        )
        fuzz_requests(addresses, WARM_UP, 10**9)  # caches and pools are filled once
        before = _resident(gateway.process_id), _resident(triton.process_id)
        report = fuzz_requests(addresses, count, first, say)
        after = _resident(gateway.process_id), _resident(triton.process_id)
        say(f"growth in KiB: gateway {after[0] - before[0]}, tritonserver {after[1] - before[1]}")
    return report


def _over_http(gateway: Addresses, draws: random.Random) -> tuple[str, str]:
    suffix, body, headers = draws.choice(gateway.sound)
    binary = "Inference-Header-Content-Length" in headers
    if not binary and draws.random() < 0.6:
        way, body = damaged_json(draws, body)
    else:
        way, body = damaged(draws, body, draws.choice(gateway.sound)[1])
    headers = {**headers, **(draws.choice(HEADERS) if draws.random() < 0.3 else {})}
    if draws.random() < 0.1:
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
        if draws.random() < 0.3:
            _, body = damaged(draws, body)
    path = f"/v2/models/{gateway.model}{suffix}{draws.choice(PATHS)}"
    method = draws.choice(("POST",) * 30 + ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))
    status, answer = gateway.send(method, path, body, headers)
    assert status < 500 or status == 503, f"{method} {path}: {status} {answer[:300]!r}"
    if status >= 400 and method != "HEAD":
        _check_sentence(json.loads(answer)["error"])
    return way, f"HTTP {status}"


def _over_grpc(gateway: Addresses, draws: random.Random) -> tuple[str, str]:
    way, message = damaged(draws, draws.choice(gateway.messages), draws.choice(gateway.messages))
    if draws.random() < 0.3:
        way, message = _changed_message(draws, draws.choice(gateway.messages))
    method = draws.choice(METHODS)
    try:
        call(gateway.channel, method, message)
    except grpc.RpcError as error:
        code, details = error.code().name, error.details() or ""
        assert code in REFUSED, f"{method}: {code} {details[:300]}"
        _check_sentence(details)
        return way, f"gRPC {code}"
    return way, "gRPC OK"


def _changed_message(draws: random.Random, data: bytes) -> tuple[str, bytes]:
    """A field of a well-formed message with a value that does not fit."""
    message = pb.ModelInferRequest.FromString(data)
    tensor = draws.choice(list(message.inputs))
    way = draws.choice(("datatype", "shape", "name", "raw", "parameter", "contents", "output", "model", "twice"))
    if way == "datatype":
        tensor.datatype = draws.choice(("FP16", "FP64", "INT8", "", "BYTES", "UINT64", "x" * 300))
    elif way == "shape":
        tensor.shape[draws.randrange(len(tensor.shape))] = draws.choice((0, -1, 2**31, 2**62, -(2**63), 65))
    elif way == "name":
        tensor.name = draws.choice(("", "seed", "x" * 1000, "picture"))
    elif way == "raw":
        at = draws.randrange(len(message.raw_input_contents))
        message.raw_input_contents[at] = draws.randbytes(draws.choice((0, 1, 3, 7, 8, 4096)))
    elif way == "parameter":
        key = draws.choice(("shared_memory_region", "cgan_ping", "timeout", "sequence_id", "triton_x", ""))
        draws.choice((tensor, message)).parameters[key].int64_param = draws.choice((0, 1, -1, 2**62))
    elif way == "contents":
        tensor.contents.fp32_contents.extend([0.5, float("nan")])
        del message.raw_input_contents[:]
    elif way == "output":
        output = message.outputs.add(name=draws.choice(("picture", "seed", "nope", "")))
        output.parameters[draws.choice(("classification", "shared_memory_region", "x"))].int64_param = 1
    elif way == "model":
        message.model_name = draws.choice(("", "/", "../x", "a" * 5000, "\0"))
        message.model_version = draws.choice(("", "1", "2", "-1", "x" * 5000))
    else:
        message.inputs.append(tensor)
        message.raw_input_contents.append(message.raw_input_contents[0])
    return f"{way} changed", message.SerializeToString()


def _check_sentence(text: str) -> None:
    """For people, and nothing of what is inside."""
    assert 0 < len(text) < 1500, f"{len(text)} characters"
    for inner in ("Traceback", "site-packages", "/tmp/", "/root", "shm_region", "triton_python", 'File "', "0x7"):
        assert inner not in text, f"{inner} in {text[:300]}"


def _sound_requests(condition: str, values: Any, image: bytes) -> list[tuple[str, bytes, dict[str, str]]]:
    """Suffix of the model, body and headers."""
    seed = {"name": "seed", "datatype": "UINT64", "shape": [1, 1], "data": ["18446744073709551615"]}
    tensor = {"name": condition, "datatype": "FP32", "shape": list(values.shape)}
    plain = json.dumps({"id": "7", "inputs": [{**tensor, "data": values.ravel().tolist()}, seed]})
    text = {"name": "image", "datatype": "BYTES", "shape": [1, 1]}
    packed = len(image).to_bytes(4, "little") + image
    files = [
        {**text, "data": [base64.b64encode(image).decode()]},
        seed,
        {**seed, "name": "draw", "datatype": "UINT32", "data": [0]},
    ]
    outputs = [{"name": "picture", "parameters": {"binary_data": True}}, {"name": "seed"}]
    requests: list[tuple[str, bytes, dict[str, str]]] = [
        ("_png", json.dumps({"inputs": files}).encode(), {}),
        ("", plain.encode(), {}),
    ]
    for suffix, item, data in (("", tensor, values.tobytes()), ("_png", text, packed)):
        head = json.dumps(
            {"inputs": [{**item, "parameters": {"binary_data_size": len(data)}}, seed], "outputs": outputs}
        ).encode()
        requests.append((suffix, head + data, {"Inference-Header-Content-Length": str(len(head))}))
    return requests


def _sound_messages(model: str, condition: str, values: Any, image: bytes) -> list[bytes]:
    messages = []
    packed = len(image).to_bytes(4, "little") + image
    for name, item, kind, shape, data in (
        (model, condition, "FP32", values.shape, values.tobytes()),
        (f"{model}_png", "image", "BYTES", (1, 1), packed),
    ):
        message = pb.ModelInferRequest(model_name=name, id="7")
        message.inputs.add(name=item, datatype=kind, shape=shape)
        message.inputs.add(name="seed", datatype="UINT64", shape=[1, 1])
        message.raw_input_contents.extend([data, (2**64 - 1).to_bytes(8, "little")])
        messages.append(message.SerializeToString())
    return messages


def _resident(process: int) -> int:
    """Resident memory of a process and its children, in KiB."""
    import psutil

    top = psutil.Process(process)
    return sum(int(one.memory_info().rss) for one in (top, *top.children(recursive=True))) // 1024
