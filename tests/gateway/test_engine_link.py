"""What happens to a request on its way to Triton, and when Triton dies under it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cgan_runtime.gateway.engine_link import EngineLink
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.request import InferRequest, Sent, Wanted
from cgan_runtime.gateway.settings import Engine
from cgan_runtime.serving.wire import OUR_SENTENCE

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STARTED: list[FakeTriton] = []
DATA = bytes(range(256)) * 1000
REQUEST = InferRequest(
    id="mine",
    inputs=(
        Sent(name="condition", datatype="FP32", shape=(1, 64000), raw=memoryview(DATA)),
        Sent(name="seed", datatype="UINT64", shape=(1, 1), raw=(7).to_bytes(8, "little")),
    ),
    wanted=(Wanted(name="picture"),),
)


class FakeTriton:
    """A server of one method."""

    def __init__(self, handler: Handler) -> None:
        self.asked = 0
        self.connections: set[object] = set()
        STARTED.append(self)

        async def count(request: web.Request) -> web.StreamResponse:
            self.asked += 1
            self.connections.add(request.transport)
            return await handler(request)

        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v2/models/net/infer", count)
        self.server = TestServer(app)

    async def start(self, epoch: int) -> Engine:
        await self.server.start_server()
        return Engine(epoch=epoch, http=f"127.0.0.1:{self.server.port}", grpc="127.0.0.1:1", metrics="127.0.0.1:1")


def answer_of(tensors: dict[str, bytes]) -> web.Response:
    outputs = [
        {"name": name, "datatype": "BOOL", "shape": [len(raw)], "parameters": {"binary_data_size": len(raw)}}
        for name, raw in tensors.items()
    ]
    text = json.dumps({"outputs": outputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return web.Response(body=text + b"".join(tensors.values()), headers=headers)


async def echo(request: web.Request) -> web.StreamResponse:
    """Every input, as an output of its name."""
    body = await request.read()
    length = int(request.headers["Inference-Header-Content-Length"])
    said, tail, found = json.loads(body[:length]), body[length:], {}
    for item in said["inputs"]:
        size = item["parameters"]["binary_data_size"]
        found[item["name"]], tail = tail[:size], tail[size:]
    assert (tail, said["id"]) == (b"", "mine")
    assert said["outputs"] == [{"name": "picture", "parameters": {"binary_data": True}}]
    return answer_of(found)


def failing(status: int, details: str) -> Handler:
    async def fail(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response({"error": details}, status=status)

    return fail


async def hang_up(request: web.Request) -> web.StreamResponse:
    """As a process that is killed: half of an answer is there."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    request.transport.close()
    return web.Response()


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


def in_loop(law: Callable[[EngineLink, list[tuple[str, int]]], Awaitable[None]]) -> None:
    async def go() -> None:
        suspects: list[tuple[str, int]] = []
        link = EngineLink(lambda model, epoch: suspects.append((model, epoch)))
        try:
            await law(link, suspects)
        finally:
            await link.disconnect()
            while STARTED:
                await STARTED.pop().server.close()

    asyncio.run(go())


def due(seconds: float = 20) -> float:
    return time.monotonic() + seconds


DEATHS = {
    "hangs up": hang_up,
    "is ending": failing(503, "Server is stopping, scheduler for model has stopped accepting new requests"),
    "lost its model": failing(500, "Stub process 'facades_core_0_0' is not healthy."),
}


def raws(outputs: tuple[Sent, ...]) -> dict[str, bytes]:
    return {output.name: bytes(output.raw) for output in outputs}


ECHO = {sent.name: bytes(sent.raw) for sent in REQUEST.inputs}


def test_tensors_come_back_to_the_bit_and_connections_are_kept() -> None:
    async def law(link: EngineLink, _: list[tuple[str, int]]) -> None:
        triton = FakeTriton(echo)
        await link.connect(await triton.start(1))
        for _turn in range(3):
            outputs = await link.infer("net", REQUEST, due())
            assert raws(outputs) == ECHO
            assert [(output.datatype, output.shape) for output in outputs] == [("BOOL", (256000,)), ("BOOL", (8,))]
        assert len(triton.connections) == 1
        together = await asyncio.gather(*(link.infer("net", REQUEST, due()) for _turn in range(5)))
        assert all(raws(outputs) == ECHO for outputs in together)
        assert 1 < len(triton.connections) <= 5

    in_loop(law)


@pytest.mark.parametrize("piece", [1, 7, 60, 100_000])
def test_an_answer_in_pieces_is_the_whole_answer(piece: int) -> None:
    async def in_pieces(request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        body = answer_of({"picture": DATA[:300]})
        assert isinstance(body.body, bytes)
        head = "HTTP/1.1 200 OK\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in {**body.headers, "content-length": len(body.body)}.items()
        )
        whole = head.encode() + b"\r\n" + body.body
        for start in range(0, len(whole), piece):
            request.transport.write(whole[start : start + piece])
            await asyncio.sleep(0)
        await asyncio.sleep(60)
        return web.Response()

    async def law(link: EngineLink, _: list[tuple[str, int]]) -> None:
        await link.connect(await FakeTriton(in_pieces).start(1))
        assert raws(await link.infer("net", REQUEST, due())) == {"picture": DATA[:300]}

    in_loop(law)


@pytest.mark.parametrize("length", ["none", "3"])
def test_what_is_no_answer_of_triton_ends_the_connection_and_not_the_gateway(length: str) -> None:
    async def write(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = b"HTTP/1.1 200 OK\r\n" + (b"" if length == "none" else b"Content-Length: %s\r\n" % length.encode())
        request.transport.write(head + b"\r\n" + b"more than that")
        await asyncio.sleep(60)
        return web.Response()

    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        await link.connect(await FakeTriton(write).start(1))
        with pytest.raises(Refusal, match="is being started again"):
            await link.infer("net", REQUEST, due(1))
        assert suspects == [("net", 1)]

    in_loop(law)


def test_an_answer_that_does_not_come_in_time_is_refused() -> None:
    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        await link.connect(await FakeTriton(never).start(1))
        with pytest.raises(Refusal, match="did not come in time") as caught:
            await link.infer("net", REQUEST, due(0.1))
        assert (caught.value.status, caught.value.reason, suspects) == (503, "late", [])

    in_loop(law)


@pytest.mark.parametrize("how", DEATHS)
def test_a_request_under_which_triton_dies_is_asked_again_of_the_next_one(how: str) -> None:
    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        dying, living = FakeTriton(DEATHS[how]), FakeTriton(echo)
        await link.connect(await dying.start(1))
        asked = asyncio.create_task(link.infer("net", REQUEST, due()))
        while not suspects:
            await asyncio.sleep(0.01)
        await link.connect(await living.start(2))
        assert raws(await asked) == ECHO
        assert suspects == [("net", 1)]
        assert (dying.asked, living.asked) == (1, 1)

    in_loop(law)


def test_a_request_that_kills_every_triton_is_given_up_after_two() -> None:
    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        tritons = [FakeTriton(hang_up) for _ in range(3)]
        await link.connect(await tritons[0].start(1))
        asked = asyncio.create_task(link.infer("net", REQUEST, due()))
        for epoch in (2, 3):
            while len(suspects) < epoch - 1:
                await asyncio.sleep(0.01)
            await link.connect(await tritons[epoch - 1].start(epoch))
        with pytest.raises(Refusal, match="stopped while it worked on the request, twice") as caught:
            await asked
        assert (caught.value.status, caught.value.reason) == (503, "engine_lost")
        assert [triton.asked for triton in tritons] == [1, 1, 0]

    in_loop(law)


def test_a_call_that_is_cut_off_by_the_supervisor_is_asked_again() -> None:
    """The supervisor says `down` before it kills a Triton that hangs."""

    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        hanging, living = FakeTriton(never), FakeTriton(echo)
        await link.connect(await hanging.start(1))
        asked = asyncio.create_task(link.infer("net", REQUEST, due()))
        while not hanging.asked:
            await asyncio.sleep(0.01)
        await link.disconnect()
        await link.connect(await living.start(2))
        assert raws(await asked) == ECHO
        assert suspects == []

    in_loop(law)


def test_who_leaves_is_not_asked_for_again() -> None:
    async def law(link: EngineLink, _: list[tuple[str, int]]) -> None:
        hanging = FakeTriton(never)
        await link.connect(await hanging.start(1))
        asked = asyncio.create_task(link.infer("net", REQUEST, due()))
        while not hanging.asked:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert hanging.asked == 1

    in_loop(law)


def test_without_a_triton_a_request_waits_for_its_time_and_no_longer() -> None:
    async def law(link: EngineLink, _: list[tuple[str, int]]) -> None:
        with pytest.raises(Refusal, match="is being started again") as caught:
            await link.infer("net", REQUEST, due(0.05))
        assert (caught.value.status, caught.value.retry_after) == (503, 5)

    in_loop(law)


@pytest.mark.parametrize(
    ("given", "details", "status", "words"),
    [
        (400, f"{OUR_SENTENCE}image is damaged.", 400, "image is damaged."),
        (500, f"{OUR_SENTENCE}row 0 is not finite.", 500, "row 0 is not finite."),
        (500, "Traceback: /tmp/secret", 500, "the model failed; the server's log says why."),
        (400, "shm region /x", 500, "the model failed; the server's log says why."),
    ],
)
def test_only_our_own_sentences_reach_the_caller(given: int, details: str, status: int, words: str) -> None:
    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        await link.connect(await FakeTriton(failing(given, details)).start(1))
        with pytest.raises(Refusal) as caught:
            await link.infer("net", REQUEST, due())
        assert (caught.value.status, str(caught.value)) == (status, words)
        assert suspects == []

    in_loop(law)
