"""The way to Triton: one connection per start of it, and one more try where it died under a request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import grpc.aio

from cgan_runtime.gateway.refusal import Refusal, full
from cgan_runtime.gateway.settings import Engine
from cgan_runtime.serving.wire import OUR_SENTENCE

__all__ = ["SERVICE", "EngineLink"]

SERVICE: Final = "/inference.GRPCInferenceService/"
TRIES: Final = 2  # a request is a pure function of its inputs, so a second one answers the same
GONE: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)
# Answers may be large, and requests were limited before.
OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

Metadata = tuple[tuple[str, str], ...]

log = logging.getLogger("cgan.gateway")


class EngineLink:
    """Calls to the Triton that runs now.

    Args:
        suspect: told the name inside Triton and the epoch when a model did not answer as a living one does.
    """

    def __init__(self, suspect: Callable[[str, int], None]) -> None:
        self._suspect = suspect
        self._channel: grpc.aio.Channel | None = None
        self._epoch = 0
        self._changed = asyncio.Condition()
        self.engine: Engine | None = None

    async def connect(self, engine: Engine) -> None:
        """Use this Triton from now on."""
        old, self._channel = self._channel, grpc.aio.insecure_channel(engine.grpc, options=OPTIONS)
        async with self._changed:
            self.engine, self._epoch = engine, engine.epoch
            self._changed.notify_all()
        if old is not None:
            await old.close()

    async def disconnect(self) -> None:
        """There is no Triton until the next `connect`."""
        self.engine = None
        if self._channel is not None:
            old, self._channel = self._channel, None
            await old.close()

    async def infer(self, model: str, message: bytes, deadline: float, metadata: Metadata = ()) -> bytes:
        """The serialised answer to a serialised request.

        Args:
            model: its name inside Triton.
            message: a ModelInferRequest that names it.
            deadline: of time.monotonic().
            metadata: goes with the call.

        Raises:
            Refusal: it failed, with a sentence that says nothing of what is inside.
        """
        return await self._tried(model, deadline, lambda: self.call("ModelInfer", message, deadline, metadata))

    async def call(self, method: str, message: bytes, deadline: float, metadata: Metadata = ()) -> bytes:
        """One call of a method of the protocol, of serialised messages.

        Raises:
            grpc.aio.AioRpcError: Triton refused, or is gone.
        """
        channel = self._channel
        if channel is None:
            raise ConnectionError
        left = deadline - time.monotonic()
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SERVICE + method)
        return await ask(message, timeout=max(left, 0.001), metadata=metadata)

    async def _tried(self, model: str, deadline: float, call: Callable[[], Awaitable[bytes]]) -> bytes:
        after = 0
        for last in (n == TRIES - 1 for n in range(TRIES)):
            epoch = await self._living(after, deadline)
            try:
                return await call()
            except ConnectionError:
                pass
            except asyncio.CancelledError:
                # Closing the channel cancels its calls; a caller who leaves cancels the task.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
            except grpc.aio.AioRpcError as error:
                if not _is_gone(error):
                    raise _refusal(error, model) from error
                log.warning("model=%s epoch=%d code=%s %s", model, epoch, error.code().name, error.details())
            if self.engine is not None and self.engine.epoch == epoch:
                self._suspect(model, epoch)
            if last:
                break
            after = epoch
        raise full("the model stopped while it worked on the request, twice.", 5, "engine_lost")

    async def _living(self, after: int, deadline: float) -> int:
        """Wait for a Triton of a later epoch than `after`."""
        left = deadline - time.monotonic()
        try:
            async with asyncio.timeout(max(left, 0)), self._changed:
                await self._changed.wait_for(lambda: self.engine is not None and self._epoch > after)
        except TimeoutError as error:
            raise full("the model is being started again.", 5, "engine_down") from error
        return self._epoch


def _is_gone(error: grpc.aio.AioRpcError) -> bool:
    """Whether the model's process, or Triton, ended under the call."""
    details = (error.details() or "").lower()
    dead = "is not healthy" in details or "stub process" in details
    return error.code() in GONE or (error.code() is grpc.StatusCode.INTERNAL and dead)


def _refusal(error: grpc.aio.AioRpcError, model: str) -> Refusal:
    """What the caller is told; the rest is in the log."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return full("the answer did not come in time.", 1, "late")
    if details.startswith(OUR_SENTENCE):
        status = 400 if code is grpc.StatusCode.INVALID_ARGUMENT else 500
        return Refusal(
            details.removeprefix(OUR_SENTENCE), status=status, reason="invalid" if status == 400 else "failed"
        )
    log.error("model=%s code=%s %s", model, code.name, details)
    return Refusal("the model failed; the server's log says why.", status=500, reason="failed")
