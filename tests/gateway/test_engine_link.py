"""What happens to a request when Triton dies under it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from cgan_runtime.gateway.engine_link import SERVICE, EngineLink
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.settings import Engine
from cgan_runtime.serving.wire import OUR_SENTENCE

Handler = Callable[[bytes, Any], Awaitable[bytes]]
STARTED: list[FakeTriton] = []


class FakeTriton:
    """A server of one method."""

    def __init__(self, handler: Handler) -> None:
        self.asked = 0
        STARTED.append(self)

        async def count(data: bytes, context: Any) -> bytes:
            self.asked += 1
            return await handler(data, context)

        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(count)
        name = SERVICE.strip("/")
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"ModelInfer": method}),))

    async def start(self, epoch: int) -> Engine:
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return Engine(epoch=epoch, grpc=f"127.0.0.1:{port}", metrics="127.0.0.1:1")


async def echo(data: bytes, _: Any) -> bytes:
    return b"answer to " + data


def failing(code: grpc.StatusCode, details: str) -> Handler:
    async def fail(_: bytes, context: Any) -> bytes:
        await context.abort(code, details)
        raise AssertionError

    return fail


async def never(_: bytes, context: Any) -> bytes:  # noqa: ARG001 - gRPC gives it
    await asyncio.sleep(60)
    return b""


def in_loop(law: Callable[[EngineLink, list[tuple[str, int]]], Awaitable[None]]) -> None:
    async def go() -> None:
        suspects: list[tuple[str, int]] = []
        link = EngineLink(lambda model, epoch: suspects.append((model, epoch)))
        try:
            await law(link, suspects)
        finally:
            await link.disconnect()
            while STARTED:
                await STARTED.pop().server.stop(0)

    asyncio.run(go())


def due(seconds: float = 20) -> float:
    return time.monotonic() + seconds


DEATHS = [
    (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
    (grpc.StatusCode.INTERNAL, "Stub process 'facades_core_0_0' is not healthy."),
    (grpc.StatusCode.UNKNOWN, "Stream removed"),
]


@pytest.mark.parametrize(("code", "details"), DEATHS)
def test_a_request_under_which_triton_dies_is_asked_again_of_the_next_one(
    code: grpc.StatusCode, details: str
) -> None:
    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        dying, living = FakeTriton(failing(code, details)), FakeTriton(echo)
        await link.connect(await dying.start(1))
        asked = asyncio.create_task(link.infer("net", b"x", due()))
        while not suspects:
            await asyncio.sleep(0.01)
        await link.connect(await living.start(2))
        assert await asked == b"answer to x"
        assert suspects == [("net", 1)]
        assert (dying.asked, living.asked) == (1, 1)

    in_loop(law)


def test_a_request_that_kills_every_triton_is_given_up_after_two() -> None:
    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        tritons = [FakeTriton(failing(*DEATHS[0])) for _ in range(3)]
        await link.connect(await tritons[0].start(1))
        asked = asyncio.create_task(link.infer("net", b"x", due()))
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
        asked = asyncio.create_task(link.infer("net", b"x", due()))
        while not hanging.asked:
            await asyncio.sleep(0.01)
        await link.disconnect()
        await link.connect(await living.start(2))
        assert await asked == b"answer to x"
        assert suspects == []

    in_loop(law)


def test_who_leaves_is_not_asked_for_again() -> None:
    async def law(link: EngineLink, _: list[tuple[str, int]]) -> None:
        hanging = FakeTriton(never)
        await link.connect(await hanging.start(1))
        asked = asyncio.create_task(link.infer("net", b"x", due()))
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
            await link.infer("net", b"x", due(0.05))
        assert (caught.value.status, caught.value.retry_after) == (503, 5)

    in_loop(law)


@pytest.mark.parametrize(
    ("code", "details", "status", "words"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, f"{OUR_SENTENCE}image is damaged.", 400, "image is damaged."),
        (grpc.StatusCode.INTERNAL, f"{OUR_SENTENCE}row 0 is not finite.", 500, "row 0 is not finite."),
        (grpc.StatusCode.INTERNAL, "Traceback: /tmp/secret", 500, "the model failed; the server's log says why."),
        (grpc.StatusCode.INVALID_ARGUMENT, "shm region /x", 500, "the model failed; the server's log says why."),
    ],
)
def test_only_our_own_sentences_reach_the_caller(
    code: grpc.StatusCode, details: str, status: int, words: str
) -> None:
    async def law(link: EngineLink, suspects: list[tuple[str, int]]) -> None:
        await link.connect(await FakeTriton(failing(code, details)).start(1))
        with pytest.raises(Refusal) as caught:
            await link.infer("net", b"x", due())
        assert (caught.value.status, str(caught.value)) == (status, words)
        assert suspects == []

    in_loop(law)
