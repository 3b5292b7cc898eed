"""The account of memory: what arrives and waits, what is worked on, and that one never shuts out the other."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psutil
import pytest
from cgan_runtime.gateway.memory import Memory
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.settings import Limits
from cgan_runtime.serving.server import TritonServer
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.asking import get, wait_until
from tests.gateway.gateway_process import GatewayProcess, call, engine_of

MIB = 2**20
HEAD = b"POST /v2/models/facades/infer HTTP/1.1\r\nHost: x\r\n"
ROWS = 8
ROW_BYTES = 4 * 3 * 64 * 64


def test_what_waits_has_a_quarter_and_the_work_always_the_rest() -> None:
    memory = Memory(400)
    with memory.claim() as first, memory.claim() as second:
        first.hold(60)
        second.hold(40)
        with memory.claim() as third, pytest.raises(Refusal, match="arriving at once") as caught:
            third.hold(1)
        assert (caught.value.status, memory.held) == (503, 100)
        first.require_possible(300)
        assert first.work(300), "the largest request that is possible has its turn beside all that may wait"
        assert memory.held == 340
        assert not second.work(101)
    assert memory.held == 0


def test_a_request_that_needs_more_than_there_ever_is_is_refused_for_good() -> None:
    with Memory(400).claim() as claim, pytest.raises(Refusal, match="would need about 0 MiB") as caught:
        claim.require_possible(301)
    assert (caught.value.status, caught.value.retry_after) == (413, None)


def test_an_answer_holds_no_more_than_its_size_and_what_is_free_is_told() -> None:
    freed: list[int] = []
    memory = Memory(400, freed=lambda: freed.append(memory.held))
    with memory.claim() as claim:
        claim.hold(50)
        claim.hold(20)
        assert claim.work(200)
        claim.keep(30)
        assert memory.held == 30
    assert freed == [20, 30, 0]


def held(gateway: GatewayProcess) -> float:
    page = get(gateway.metrics_url)[1].decode()
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith("cgan_memory_bytes "))


def test_bodies_that_are_arriving_are_counted_as_they_come_and_as_they_are_inflated(own_gateway: Any) -> None:
    gateway = own_gateway(limits=Limits(memory_bytes=16 * MIB, body_bytes=4 * MIB))
    address = ("127.0.0.1", gateway.settings.http_port)
    slow = [socket.create_connection(address, 30) for _ in range(3)]
    for opened in slow:
        opened.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (2 * MIB) + bytes(MIB))
    wait_until(lambda: held(gateway) == 3 * MIB)
    for body, headers in (
        (bytes(2 * MIB), {}),
        (gzip.compress(bytes(2 * MIB)), {"Content-Encoding": "gzip"}),
    ):
        connection = http.client.HTTPConnection(*address, timeout=30)
        connection.request("POST", "/v2/models/facades/infer", body, headers)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Retry-After")) == (503, "5")
        assert b"arriving at once" in answer.read()
        connection.close()
    for opened in slow:
        opened.close()
    wait_until(lambda: held(gateway) == 0)


def ask(gateway: GatewayProcess) -> int:
    """Eight rows of zeros; their seeds are asked for."""
    condition = {"name": "condition", "datatype": "FP32", "shape": [ROWS, 3, 64, 64]}
    inputs = [
        {**condition, "parameters": {"binary_data_size": ROWS * ROW_BYTES}},
        {"name": "seed", "datatype": "UINT64", "shape": [ROWS, 1], "data": list(range(ROWS))},
    ]
    head = json.dumps({"inputs": inputs, "outputs": [{"name": "seed"}]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", gateway.settings.http_port, timeout=60)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    connection.request("POST", "/v2/models/facades/infer", head + bytes(ROWS * ROW_BYTES), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_requests_that_wait_hold_their_bytes_until_answered(own_gateway: Any, server: TritonServer) -> None:
    limits = Limits(memory_bytes=64 * MIB, body_bytes=MIB)
    gateway = own_gateway(limits=limits)
    gateway.tell(down=True)  # two are worked on, four wait
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, gateway) for _ in range(6)]
        wait_until(lambda: b"cgan_waiting 4.0" in get(gateway.metrics_url)[1])
        waiting = 4 * (ROWS * ROW_BYTES + 8 * ROWS)
        assert waiting < held(gateway) <= limits.memory_bytes
        gateway.tell(engine=engine_of(server, epoch=2))
        assert [answer.result(60) for answer in asked] == [200] * 6
    wait_until(lambda: held(gateway) == 0)


def test_a_client_that_does_not_take_its_answers_is_left(own_gateway: Any) -> None:
    """It asks again and again on one connection, for 400 kB as text each, and reads nothing."""
    gateway = own_gateway(limits=Limits(read_seconds=3))
    zeros = {"name": "condition", "datatype": "FP32", "shape": [1, 3, 64, 64], "data": [0] * (3 * 64 * 64)}
    body = json.dumps({"inputs": [zeros]}).encode()
    requests = 300 * (HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with socket.create_connection(("127.0.0.1", gateway.settings.http_port), 30) as connection:
        connection.setblocking(False)
        sent, seen = 0, set()
        with pytest.raises(OSError, match=r"reset|Broken pipe|aborted"):
            while sent < len(requests):
                try:
                    sent += connection.send(requests[sent : sent + MIB])
                except BlockingIOError:
                    time.sleep(0.05)
                    seen.add(held(gateway))
    assert any(0 < size < 10 * ROW_BYTES for size in seen), "of an answer that is being sent nothing else is held"
    wait_until(lambda: "does not take its answer" in gateway.log.read_text())
    wait_until(lambda: held(gateway) == 0)


def test_a_message_that_was_refused_is_let_go_at_once(own_gateway: Any) -> None:
    """Until the garbage collector looks at everything thousands of calls may come."""
    gateway = own_gateway()
    process = psutil.Process(gateway.process_id)
    message = pb.ModelInferRequest(model_name="none of ours")
    message.inputs.add(name="condition", datatype="FP32", shape=[1])
    message.raw_input_contents.append(bytes(8 * MIB))
    data = message.SerializeToString()
    with grpc.insecure_channel(gateway.grpc_url) as channel:

        def refused(count: int) -> int:
            for _ in range(count):
                with pytest.raises(grpc.RpcError, match="is not served here"):
                    call(channel, "ModelInfer", data)
            return int(process.memory_info().rss)

        before = refused(8)
        assert refused(24) - before < 8 * 8 * MIB


def never() -> Iterator[bytes]:
    time.sleep(4)
    yield b""


def test_a_call_whose_message_does_not_come_ends_and_a_key_is_asked_for_before_it(
    own_gateway: Any, tmp_path: Any
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-sixteen-letters\n")
    gateway = own_gateway(limits=Limits(read_seconds=1), api_keys=keys)
    with grpc.insecure_channel(gateway.grpc_url) as channel:
        infer: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
            "/inference.GRPCInferenceService/ModelInfer"
        )
        for key, code in (
            ("a-key-of-sixteen-letters", grpc.StatusCode.DEADLINE_EXCEEDED),
            ("another-key-of-sixteen", grpc.StatusCode.UNAUTHENTICATED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                infer(never(), metadata=(("authorization", f"Bearer {key}"),), timeout=20)
            assert caught.value.code() is code
        assert "a key" in (caught.value.details() or "") or "Authorization" in (caught.value.details() or "")
