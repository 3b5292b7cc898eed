"""ModelStreamInfer: many requests over one call, answered in their order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc.aio
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from cgan_runtime.gateway.front import Front
from cgan_runtime.gateway.grpc_call import FAILED, log_call, refuse
from cgan_runtime.gateway.grpc_request import in_stream
from cgan_runtime.gateway.keys import Keys
from cgan_runtime.gateway.refusal import Refusal

__all__ = ["StreamCalls"]

IN_STREAM: Final = 8  # requests of one stream that are worked on at once; answers keep their order

log = logging.getLogger("cgan.gateway")


class StreamCalls:
    """The handler of the method.

    Args:
        front: what answers.
        keys: who may call.
        answered: the serialised answer of a message, within so many seconds.
    """

    def __init__(
        self, front: Front, keys: Keys, answered: Callable[[bytes, float | None], Awaitable[bytes]]
    ) -> None:
        self._front, self._keys, self._answered = front, keys, answered
        self._one = self._answer if front.tracing is None else front.tracing.message(self._answer)

    async def handle(self, _: Any, context: Any) -> None:
        """Answers in the order of the requests; a refusal is an answer too, and the stream goes on."""
        metadata = dict(context.invocation_metadata() or ())
        started, status = time.perf_counter(), "OK"
        running: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(IN_STREAM)
        reader: asyncio.Task[None] | None = None
        try:
            self._keys.check(metadata.get("authorization"))
            await context.send_initial_metadata(())  # without it no status can follow an answer that is not taken
            reader = asyncio.create_task(self._read_stream(context, running))
            while (task := await self._next(running)) is not None:
                await self._write(context, await task)
            await reader
        except Refusal as refusal:
            self._front.refused(refusal)
            status = refusal.grpc_code
            refuse(context, refusal)
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            if reader is not None:
                reader.cancel()
            while not running.empty():
                if (left := running.get_nowait()) is not None:
                    left.cancel()
            log_call("ModelStreamInfer", metadata, status, started)

    async def _next(self, running: asyncio.Queue[asyncio.Task[bytes] | None]) -> asyncio.Task[bytes] | None:
        """The next request of a stream, of which every earlier one was answered.

        Raises:
            Refusal: none came for as long as a connection may be without one.
        """
        seconds = self._front.limits.idle_seconds
        try:
            async with asyncio.timeout(seconds):
                return await running.get()
        except TimeoutError as error:
            raise Refusal(
                f"the stream had no request for {seconds:g} s: open another one for the next.",
                status=408,
                reason="slow",
            ) from error

    async def _write(self, context: Any, answer: bytes) -> None:
        """Send an answer of a stream.

        Raises:
            Refusal: the caller has not taken it within the time for a request to arrive.
        """
        seconds = self._front.limits.read_seconds
        try:
            async with asyncio.timeout(seconds):
                await context.write(answer)
        except TimeoutError as error:
            raise Refusal(f"an answer was not taken within {seconds:g} s.", status=408, reason="slow") from error

    async def _read_stream(self, context: Any, running: asyncio.Queue[asyncio.Task[bytes] | None]) -> None:
        try:
            while (data := await context.read()) is not grpc.aio.EOF:
                await running.put(asyncio.create_task(self._one(data)))
        finally:
            await running.put(None)

    async def _answer(self, data: bytes) -> bytes:
        refused = pb.ModelStreamInferResponse()
        try:
            return in_stream(await self._answered(data, None))
        except Refusal as refusal:
            self._front.refused(refusal)
            refused.error_message = str(refusal)
            refused.infer_response.id = _id_of(data)
        except Exception:
            log.exception("method=ModelStreamInfer")
            refused.error_message = FAILED
        return bytes(refused.SerializeToString())


def _id_of(data: bytes) -> str:
    try:
        return str(pb.ModelInferRequest.FromString(data).id)
    except DecodeError:
        return ""
