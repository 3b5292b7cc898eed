"""The way to Triton: one connection per start of it, and one more try where it died under a request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import grpc
import grpc.aio
from pydantic_core import from_json, to_json

from cgan_runtime.gateway.engine_http import EngineAnswer, EngineHttp
from cgan_runtime.gateway.refusal import Refusal, full
from cgan_runtime.gateway.request import InferRequest, Sent
from cgan_runtime.gateway.settings import Engine
from cgan_runtime.serving.wire import OUR_SENTENCE

__all__ = ["EngineLink"]

SERVICE: Final = "/inference.GRPCInferenceService/"
TRIES: Final = 2  # a request is a pure function of its inputs, so a second one answers the same
# What Triton says when a model's process ended under a request, or when Triton itself is ending.
DEAD_WORDS: Final = ("is not healthy", "stub process")
GONE_STATUS: Final = 503
# Answers may be large, and requests were limited before.
OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

Headers = Mapping[str, str]

log = logging.getLogger("cgan.gateway")


class EngineLink:
    """Calls to the Triton that runs now.

    Args:
        suspect: told the name inside Triton and the epoch when a model did not answer as a living one does.
    """

    def __init__(self, suspect: Callable[[str, int], None]) -> None:
        self._suspect = suspect
        self._channel: grpc.aio.Channel | None = None
        self._http: EngineHttp | None = None
        self._epoch = 0
        self._changed = asyncio.Condition()
        self.engine: Engine | None = None

    async def connect(self, engine: Engine) -> None:
        """Use this Triton from now on."""
        await self.disconnect()
        self._channel = grpc.aio.insecure_channel(engine.grpc, options=OPTIONS)
        self._http = EngineHttp(engine.http)
        async with self._changed:
            self.engine, self._epoch = engine, engine.epoch
            self._changed.notify_all()

    async def disconnect(self) -> None:
        """There is no Triton until the next `connect`."""
        self.engine = None
        if self._http is not None:
            self._http.close()
        if self._channel is not None:
            old, self._channel = self._channel, None
            await old.close()

    async def infer(
        self, model: str, request: InferRequest, deadline: float, headers: Headers = MappingProxyType({})
    ) -> tuple[Sent, ...]:
        """The outputs.

        Args:
            model: its name inside Triton.
            request: as it was checked.
            deadline: of time.monotonic().
            headers: of HTTP, beside those that it needs.

        Raises:
            Refusal: it failed, with a sentence that says nothing of what is inside.
        """
        json, binary = _parts_of(request)
        after = 0
        for _ in range(TRIES):
            epoch = await self._living(after, deadline)
            try:
                answer = await self._ask(model, json, binary, deadline, headers)
                if answer.status == 200:
                    return _outputs_of(answer)
                reason = _reason_of(answer)
                if not _is_gone(answer.status, reason):
                    raise _refusal(answer.status, reason, model)
            except ConnectionError as error:
                reason = str(error)
            log.warning("model=%s epoch=%d %s", model, epoch, reason)
            if self.engine is not None and self.engine.epoch == epoch:
                self._suspect(model, epoch)
            after = epoch
        raise full("the model stopped while it worked on the request, twice.", 5, "engine_lost")

    async def ping(self, model: str, request: InferRequest, deadline: float) -> bool:
        """Whether a model answers."""
        try:
            return (await self._ask(model, *_parts_of(request), deadline)).status == 200
        except (ConnectionError, Refusal):
            return False

    async def call(self, method: str, message: bytes, deadline: float) -> bytes:
        """One call of a gRPC method that describes something, of serialised messages.

        Raises:
            ConnectionError: there is no Triton.
            grpc.aio.AioRpcError: Triton refused, or is gone.
        """
        channel = self._channel
        if channel is None:
            raise ConnectionError
        left = deadline - time.monotonic()
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SERVICE + method)
        return await ask(message, timeout=max(left, 0.001))

    async def _ask(
        self,
        model: str,
        json: bytes,
        binary: list[bytes | memoryview],
        deadline: float,
        headers: Headers = MappingProxyType({}),
    ) -> EngineAnswer:
        if self._http is None:
            raise ConnectionError
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.001)):
                return await self._http.post(f"/v2/models/{model}/infer", json, binary, headers)
        except TimeoutError as error:
            raise full("the answer did not come in time.", 1, "late") from error

    async def _living(self, after: int, deadline: float) -> int:
        """Wait for a Triton of a later epoch than `after`."""
        left = deadline - time.monotonic()
        try:
            async with asyncio.timeout(max(left, 0)), self._changed:
                await self._changed.wait_for(lambda: self.engine is not None and self._epoch > after)
        except TimeoutError as error:
            raise full("the model is being started again.", 5, "engine_down") from error
        return self._epoch


def _parts_of(request: InferRequest) -> tuple[bytes, list[bytes | memoryview]]:
    """A request over HTTP: its JSON, and the binary data of its inputs behind it."""
    binary = [sent.raw for sent in request.inputs]
    inputs = [
        {
            "name": sent.name,
            "datatype": sent.datatype,
            "shape": sent.shape,
            "parameters": {"binary_data_size": len(sent.raw)},
        }
        for sent in request.inputs
    ]
    said: dict[str, Any] = {"inputs": inputs, "parameters": {"binary_data_output": True, **request.parameters}}
    if request.id:
        said["id"] = request.id
    if request.wanted:
        said["outputs"] = [{"name": wanted.name, "parameters": {"binary_data": True}} for wanted in request.wanted]
    return to_json(said), binary


def _outputs_of(answer: EngineAnswer) -> tuple[Sent, ...]:
    """What Triton answered, without a copy of the tensors."""
    outputs, start = [], answer.json_bytes
    for item in from_json(bytes(answer.body[:start]))["outputs"]:
        end = start + item["parameters"]["binary_data_size"]
        raw = answer.body[start:end]
        outputs.append(Sent(name=item["name"], datatype=item["datatype"], shape=tuple(item["shape"]), raw=raw))
        start = end
    return tuple(outputs)


def _reason_of(answer: EngineAnswer) -> str:
    try:
        return str(from_json(bytes(answer.body))["error"])
    except (ValueError, KeyError, TypeError):
        return bytes(answer.body[:400]).decode(errors="replace")


def _is_gone(status: int, reason: str) -> bool:
    """Whether the model's process, or Triton, ended under the call."""
    return status == GONE_STATUS or any(words in reason.lower() for words in DEAD_WORDS)


def _refusal(status: int, reason: str, model: str) -> Refusal:
    """What the caller is told; the rest is in the log."""
    if reason.startswith(OUR_SENTENCE):
        ours = reason.removeprefix(OUR_SENTENCE)
        invalid = status == 400
        return Refusal(ours, status=400 if invalid else 500, reason="invalid" if invalid else "failed")
    log.error("model=%s status=%d %s", model, status, reason)
    return Refusal("the model failed; the server's log says why.", status=500, reason="failed")
