"""What the gateway bounds: connections, time, memory, requests that wait; and that what it refuses is counted."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import queue
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.http
from cgan_runtime.gateway.settings import Limits
from cgan_runtime.serving.server import TritonServer
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.asking import IMAGE, answers, get, png_inputs, wait_until
from tests.gateway.gateway_process import call, engine_of
from tests.helpers import png
from tests.soak.slow import trickle
from tests.soak.slow_grpc import KINDS, trickle_grpc


def test_who_disconnects_is_counted_and_frees_the_slot(own_gateway: Any) -> None:
    gateway = own_gateway()
    gateway.tell(down=True)  # the request stays inside
    text = base64.b64encode(IMAGE).decode()
    body = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": [text]}]})
    connection = http.client.HTTPConnection("127.0.0.1", gateway.settings.http_port, timeout=30)
    connection.request("POST", "/v2/models/facades_png/infer", body)
    wait_until(lambda: b"cgan_inside 1.0" in get(gateway.metrics_url)[1])
    connection.close()
    wait_until(lambda: b"cgan_inside 0.0" in get(gateway.metrics_url)[1])
    assert b'reason="cancelled"' in get(gateway.metrics_url)[1]


def test_a_client_that_leaves_at_any_moment_is_no_failure_of_the_server(own_gateway: Any) -> None:
    gateway = own_gateway()
    tensor = bytes(4 * 3 * 64 * 64)
    condition = {"name": "condition", "datatype": "FP32", "shape": [1, 3, 64, 64]}
    inputs = [{**condition, "parameters": {"binary_data_size": len(tensor)}}]
    text = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    head = b"POST /v2/models/facades/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: %d\r\n" % len(
        text
    )
    request = head + b"Content-Length: %d\r\n\r\n" % (len(text) + len(tensor)) + text + tensor

    async def leave(seconds: float) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.settings.http_port)
        writer.write(request)
        await asyncio.sleep(seconds)
        writer.transport.abort()

    async def all_leave() -> None:
        for start in 3 * list(range(0, 400, 10)):
            await asyncio.gather(*(leave((start + number) * 0.0002) for number in range(10)))

    asyncio.run(all_leave())
    wait_until(lambda: b"cgan_inside 0.0" in get(gateway.metrics_url)[1])
    assert answers(f"{gateway.http_url}/v2/health/ready")
    assert '"error"' not in gateway.log.read_text()


@pytest.mark.parametrize("pause_s", [0.2, 60.0], ids=["a byte now and then", "nothing more"])
def test_clients_that_never_finish_a_request_are_sent_away(own_gateway: Any, pause_s: float) -> None:
    gateway = own_gateway(limits=Limits(read_seconds=1, idle_seconds=1))

    async def beside() -> tuple[list[tuple[str, bytes, float]], int]:
        slow = asyncio.create_task(trickle(gateway.settings.http_port, 120, pause_s=pause_s))
        status, _ = await asyncio.to_thread(get, f"{gateway.http_url}/v2/health/ready")
        return await slow, status

    found, good = asyncio.run(beside())
    assert good == 200
    assert {(kind, told[:12]) for kind, told, _ in found} == {
        *((kind, b"") for kind in ("nothing", "the first line", "the headers")),
        *((kind, b"HTTP/1.1 408") for kind in ("the body", "a chunk")),
    }


def test_clients_that_never_finish_a_call_are_sent_away(own_gateway: Any) -> None:
    """A stream counts as a connection does: without a request it is over after the same time."""
    gateway = own_gateway(limits=Limits(read_seconds=1, idle_seconds=2))
    address = gateway.settings.grpc_port

    async def beside() -> tuple[list[tuple[str, str, float]], bytes]:
        slow = asyncio.create_task(trickle_grpc(address, 4 * len(KINDS), pause_s=0.2, seconds=30))
        with grpc.insecure_channel(gateway.grpc_url) as channel:
            good = await asyncio.to_thread(call, channel, "ServerReady")
        return await slow, good

    found, good = asyncio.run(beside())
    assert pb.ServerReadyResponse.FromString(good).ready
    assert {(kind, ending) for kind, ending, _ in found} == {(kind, slow.ending) for kind, slow in KINDS.items()}
    assert max(after for *_, after in found) < 8


def test_a_stream_that_waits_for_its_answer_is_not_idle(own_gateway: Any, server: TritonServer) -> None:
    gateway = own_gateway(limits=Limits(idle_seconds=1))
    gateway.tell(down=True)  # the request stays inside
    message = pb.ModelInferRequest(model_name="facades_png")
    message.inputs.add(name="image", datatype="BYTES", shape=[1, 1])
    message.raw_input_contents.append(len(IMAGE).to_bytes(4, "little") + IMAGE)
    sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with grpc.insecure_channel(gateway.grpc_url) as channel:
        stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer"
        )
        answers = stream(iter(sent.get, None), timeout=60)
        sent.put(message.SerializeToString())
        time.sleep(2.5)
        gateway.tell(engine=engine_of(server, epoch=2))
        answer = pb.ModelStreamInferResponse.FromString(next(answers))
        assert answer.error_message == ""
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        sent.put(None)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == "the stream had no request for 1 s: open another one for the next."


def test_beyond_so_many_connections_new_ones_are_closed(own_gateway: Any) -> None:
    gateway = own_gateway(limits=Limits(connections=5))
    address = ("127.0.0.1", gateway.settings.http_port)
    held = [socket.create_connection(address, 30) for _ in range(5)]
    held[4].sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert held[4].recv(4096).startswith(b"HTTP/1.1 200")
    with socket.create_connection(address, 30) as refused:
        assert refused.recv(4096) == b""
    for connection in held:
        connection.close()
    wait_until(lambda: answers(f"{gateway.http_url}/v2/health/live"))


def test_a_client_that_was_idle_for_long_is_answered(own_gateway: Any) -> None:
    """Its connection was closed meanwhile; it opens another one."""
    gateway = own_gateway(limits=Limits(idle_seconds=1))
    over_http = tritonclient.http.InferenceServerClient(gateway.http_url.removeprefix("http://"))
    first = over_http.infer("facades_png", png_inputs(tritonclient.http)).as_numpy("picture")
    time.sleep(2.5)
    assert over_http.infer("facades_png", png_inputs(tritonclient.http)).as_numpy("picture") == first
    over_http.close()


def test_every_refusal_is_counted_by_its_reason(own_gateway: Any) -> None:
    gateway = own_gateway()
    assert 'cgan_queue_seconds_count{model="facades_png"} 0.0' in get(gateway.metrics_url)[1].decode()
    get(f"{gateway.http_url}/v2/models/nothing")
    get(f"{gateway.http_url}/nothing")
    with grpc.insecure_channel(gateway.grpc_url) as channel, pytest.raises(grpc.RpcError):
        call(channel, "ModelInfer", pb.ModelInferRequest(model_name="facades").SerializeToString())
    page = get(gateway.metrics_url)[1].decode()
    assert 'cgan_refused_total{model="",reason="unknown_model"} 1.0' in page
    assert 'cgan_refused_total{model="",reason="path"} 1.0' in page
    assert 'cgan_refused_total{model="facades",reason="invalid"} 1.0' in page


def test_too_many_requests_are_refused_with_a_time_and_the_rest_are_answered(own_gateway: Any) -> None:
    gateway = own_gateway(limits=Limits(waiting=4))
    lock = threading.Lock()
    statuses: list[tuple[int, str | None]] = []

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.settings.http_port, timeout=60)
        zeros = {
            "name": "condition",
            "datatype": "FP32",
            "shape": [8, 3, 64, 64],
            "parameters": {"binary_data_size": 393216},
        }
        seed = {"name": "seed", "datatype": "UINT64", "shape": [8, 1], "data": [number] * 8}
        head = json.dumps({"inputs": [zeros, seed], "outputs": [{"name": "seed"}]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        connection.request("POST", "/v2/models/facades/infer", head + bytes(393216), headers)
        answer = connection.getresponse()
        answer.read()
        with lock:
            statuses.append((answer.status, answer.getheader("Retry-After")))
        connection.close()

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(ask, range(24)))
    answered = [status for status, _ in statuses if status == 200]
    refused = [after for status, after in statuses if status == 503]
    assert len(answered) + len(refused) == 24
    assert len(answered) >= 6
    assert refused
    assert all(after is not None and int(after) >= 1 for after in refused)
    assert b'cgan_refused_total{model="facades",reason="full"}' in get(gateway.metrics_url)[1]


@pytest.mark.parametrize(("images", "status"), [(2, 200), (3, 413)])
def test_the_pixels_of_all_images_of_a_request_are_counted(own_gateway: Any, images: int, status: int) -> None:
    """Each has a million, and there may be two and a half: before any is decoded."""
    gateway = own_gateway(limits=Limits(pixels=2_500_000))
    text = base64.b64encode(png(np.zeros((1000, 1000, 3), dtype=np.uint8))).decode()
    image = {"name": "image", "datatype": "BYTES", "shape": [images, 1], "data": [text] * images}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.settings.http_port, timeout=60)
    connection.request("POST", "/v2/models/facades_png/infer", json.dumps({"inputs": [image]}))
    answer = connection.getresponse()
    said = json.loads(answer.read())
    assert answer.status == status, said
    assert status == 200 or "million pixels" in said["error"]
    connection.close()
