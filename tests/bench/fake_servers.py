"""Servers of the Open Inference Protocol on 127.0.0.1 that say on purpose what real ones say by chance."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal

import grpc
import numpy as np
from aiohttp import web
from cgan_runtime.contract import Contract
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.bench.toys import TwoOutputs

Fault = Literal["none", "wrong", "full", "fails", "reordered"]
FROM_CALL = 20  # the faults begin after the requests that are asked alone
RETRY_AFTER_S = 0.05
CONTRACT: Contract = TwoOutputs(conditions=False).contract
SETTINGS = {"contract": CONTRACT.model_dump_json(), "name": "toy", "core": "toy_core", "model_digest": "d" * 64}


def answer_of(seeds: np.ndarray, fault: Fault, call: int) -> dict[str, np.ndarray]:
    """An image and a score that follow from the seed; a wrong answer has another last bit in one value."""
    images = np.stack(
        [np.random.default_rng(int(seed)).random((1, 8, 8), dtype=np.float32) for seed in seeds.ravel()]
    )
    if fault == "wrong" and call == FROM_CALL:
        images[0, 0, 3, 3] = np.nextafter(images[0, 0, 3, 3], np.float32(2))
    answer = {"picture": images, "score": images.sum(axis=(1, 2, 3), dtype=np.float32)[:, None]}
    return dict(reversed(answer.items())) if fault == "reordered" and call % 2 else answer


@contextmanager
def http_server(fault: Fault) -> Iterator[str]:
    """An aiohttp server in a thread; yields its address."""
    calls = itertools.count()

    async def config(_: web.Request) -> web.Response:
        return web.json_response({"parameters": {key: {"string_value": v} for key, v in SETTINGS.items()}})

    async def infer(request: web.Request) -> web.Response:
        call, body = next(calls), await request.read()
        head = int(request.headers["Inference-Header-Content-Length"])
        assert json.loads(body[:head])["inputs"][0]["name"] == "seed"
        if call >= FROM_CALL and call % 2 and fault == "full":
            return web.json_response({"error": "full"}, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
        if call >= FROM_CALL and call % 2 and fault == "fails":
            return web.json_response({"error": "broken"}, status=500)
        outputs = answer_of(np.frombuffer(body[head:], np.uint64), fault, call)
        described = [
            {"name": n, "datatype": "FP32", "shape": v.shape, "parameters": {"binary_data_size": v.nbytes}}
            for n, v in outputs.items()
        ]
        text = json.dumps({"model_name": "toy", "outputs": described}).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        return web.Response(body=text + b"".join(v.tobytes() for v in outputs.values()), headers=headers)

    loop, address, ended = asyncio.new_event_loop(), list[str](), threading.Event()
    ready = threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.add_routes([web.get("/v2/models/toy/config", config), web.post("/v2/models/toy/infer", infer)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await loop.run_in_executor(None, ended.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait()
    try:
        yield address[0]
    finally:
        ended.set()
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # the package ships no types
    def __init__(self, fault: Fault) -> None:
        self.fault, self.calls = fault, itertools.count()

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's names
        found = service_pb2.ModelConfigResponse()
        for key, value in SETTINGS.items():
            found.config.parameters[key].string_value = value
        return found

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        call = next(self.calls)
        if call >= FROM_CALL and call % 2 and self.fault == "full":
            context.set_trailing_metadata((("retry-after", str(RETRY_AFTER_S)),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "full")
        if call >= FROM_CALL and call % 2 and self.fault == "fails":
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        outputs = answer_of(np.frombuffer(request.raw_input_contents[0], np.uint64), self.fault, call)
        return service_pb2.ModelInferResponse(
            model_name="toy",
            outputs=[{"name": n, "datatype": "FP32", "shape": v.shape} for n, v in outputs.items()],
            raw_output_contents=[v.tobytes() for v in outputs.values()],
        )


@contextmanager
def grpc_server(fault: Fault) -> Iterator[str]:
    """A server of grpc's own; yields its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Service(fault), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
