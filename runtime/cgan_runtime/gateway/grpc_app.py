"""The Open Inference Protocol over gRPC, unary and as a stream."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from cgan_runtime.errors import CganError
from cgan_runtime.gateway.describe import metadata_of, public_config, public_statistics, server_metadata
from cgan_runtime.gateway.front import Front
from cgan_runtime.gateway.grpc_request import answer_message, in_stream, read_message
from cgan_runtime.gateway.keys import Keys
from cgan_runtime.gateway.refusal import Refusal

__all__ = ["GrpcApp"]

SERVICE: Final = "inference.GRPCInferenceService"
CALLS_BEYOND: Final = 768  # calls at once beside those that wait: they are being read, refused or answered
COPIES_WAITING: Final = 2  # of a message that waits: as it came, and as it was read
IN_STREAM: Final = 8  # requests of one stream that are worked on at once; answers keep their order
OPEN_METHODS: Final = ("ServerLive", "ServerReady")
HIDDEN: Final = (
    *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
    *("TraceSetting", "LogSettings"),
)

log = logging.getLogger("cgan.gateway")
access = logging.getLogger("cgan.access")
Call = Callable[[Any, Any], Awaitable[Any]]


class GrpcApp:
    """The methods; `serve` binds them."""

    def __init__(self, front: Front, keys: Keys) -> None:
        self._front, self._keys = front, keys
        self._server: grpc.aio.Server | None = None
        tracing = front.tracing
        self._of_stream = self._one_of_stream if tracing is None else tracing.message(self._one_of_stream)

    async def serve(self, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
        """Accept connections from now on.

        Raises:
            CganError: the port cannot be bound.
        """
        limits = self._front.limits
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", limits.body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.max_connection_idle_ms", int(limits.idle_seconds * 1000)),
                # Beyond it streams are reset without a word: our own limits come first, with a sentence.
                ("grpc.max_concurrent_streams", limits.waiting + CALLS_BEYOND),
                ("grpc.http2.max_ping_strikes", 4),
            ),
            maximum_concurrent_rpcs=limits.waiting + CALLS_BEYOND,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if certificate is not None and key is not None:
                pair = (key.read_bytes(), certificate.read_bytes())
                self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise CganError(f"gRPC port {port} on {host} cannot be used.") from error
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Answer what was accepted; new calls are refused."""
        if self._server is not None:
            await self._server.stop(seconds)

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        plain: dict[str, Call] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
            **dict.fromkeys(HIDDEN, self._hidden),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                self._around(name, call), response_serializer=lambda message: message.SerializeToString()
            )
            for name, call in plain.items()
        }
        infer: Call = self._around("ModelInfer", self._infer)
        stream: Call = self._stream
        if (tracing := self._front.tracing) is not None:
            infer, stream = tracing.grpc("ModelInfer", infer), tracing.grpc("ModelStreamInfer", stream)
        # As a stream of one message, which is the same to a client: keys are asked for before it is read.
        handlers["ModelInfer"] = grpc.stream_unary_rpc_method_handler(infer)
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(stream)
        return handlers

    def _around(self, method: str, call: Call) -> Call:
        """Keys, one form of error, one line of log."""

        async def handle(data: Any, context: Any) -> Any:
            started, status = time.perf_counter(), "OK"
            metadata = dict(context.invocation_metadata() or ())
            try:
                if method not in OPEN_METHODS:
                    self._keys.check(metadata.get("authorization"))
                return await call(data, context)
            except Refusal as refusal:
                self._front.refused(refusal)
                status = refusal.grpc_code
                await _abort(context, refusal)
            except DecodeError:
                status = "INVALID_ARGUMENT"
                await _abort(context, Refusal(f"the request is not a message of {method}."))
            except (grpc.aio.AbortError, asyncio.CancelledError):
                status = "CANCELLED"
                raise
            except Exception:
                status = "INTERNAL"
                log.exception("method=%s", method)
                await _abort(context, Refusal("the server failed; its log says why.", status=500))
            finally:
                _log(method, metadata, status, started)
            raise AssertionError  # abort raises

        return handle

    async def _infer(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        seconds = self._front.limits.read_seconds
        try:
            async with asyncio.timeout(seconds):
                data = await anext(aiter(messages))
        except TimeoutError as error:
            raise Refusal(f"the request did not arrive within {seconds:g} s.", status=408, reason="slow") from error
        except StopAsyncIteration as error:
            raise Refusal("the call ended without a message.") from error
        return await self._answered(data, context.time_remaining())

    async def _answered(self, data: bytes, seconds: float | None) -> bytes:
        with self._front.admission.memory.claim() as claim:
            claim.hold(COPIES_WAITING * len(data))
            name, version, request = read_message(data, self._front.limits)
            model = self._front.table.find(name, version)
            answer = await self._front.infer(model, request, claim, seconds=seconds)
            return answer_message(answer.outputs, request, model)

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Answers in the order of the requests; a refusal is an answer too, and the stream goes on."""
        metadata = dict(context.invocation_metadata() or ())
        started = time.perf_counter()
        try:
            self._keys.check(metadata.get("authorization"))
        except Refusal as refusal:
            self._front.refused(refusal)
            await _abort(context, refusal)
        running: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(IN_STREAM)
        reader = asyncio.create_task(self._read_stream(requests, running))
        try:
            while (task := await running.get()) is not None:
                await context.write(await task)
            await reader
        finally:
            reader.cancel()
            while not running.empty():
                if (left := running.get_nowait()) is not None:
                    left.cancel()
            _log("ModelStreamInfer", metadata, "OK", started)

    async def _read_stream(
        self, requests: AsyncIterator[bytes], running: asyncio.Queue[asyncio.Task[bytes] | None]
    ) -> None:
        try:
            async for data in requests:
                await running.put(asyncio.create_task(self._of_stream(data)))
        finally:
            await running.put(None)

    async def _one_of_stream(self, data: bytes) -> bytes:
        refused = pb.ModelStreamInferResponse()
        try:
            return in_stream(await self._answered(data, None))
        except Refusal as refusal:
            self._front.refused(refusal)
            refused.error_message = str(refusal)
            refused.infer_response.id = _id_of(data)
        except Exception:
            log.exception("method=ModelStreamInfer")
            refused.error_message = "the server failed; its log says why."
        return bytes(refused.SerializeToString())

    async def _live(self, data: bytes, _: Any) -> Any:
        pb.ServerLiveRequest.FromString(data)
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, data: bytes, _: Any) -> Any:
        pb.ServerReadyRequest.FromString(data)
        return pb.ServerReadyResponse(ready=await self._front.all_live())

    async def _model_ready(self, data: bytes, _: Any) -> Any:
        asked = pb.ModelReadyRequest.FromString(data)
        model = self._front.table.find(asked.name, asked.version)
        return pb.ModelReadyResponse(ready=await self._front.lives(model))

    async def _metadata(self, data: bytes, _: Any) -> Any:
        pb.ServerMetadataRequest.FromString(data)
        return pb.ServerMetadataResponse(**server_metadata())

    async def _model_metadata(self, data: bytes, _: Any) -> Any:
        asked = pb.ModelMetadataRequest.FromString(data)
        return pb.ModelMetadataResponse(**metadata_of(self._front.table.find(asked.name, asked.version)))

    async def _config(self, data: bytes, _: Any) -> Any:
        asked = pb.ModelConfigRequest.FromString(data)
        model = self._front.table.find(asked.name, asked.version)
        inner = pb.ModelConfigRequest(name=model.inner)
        return public_config(await self._front.ask_triton("ModelConfig", inner, pb.ModelConfigResponse), model)

    async def _statistics(self, data: bytes, _: Any) -> Any:
        asked = pb.ModelStatisticsRequest.FromString(data)
        table = self._front.table
        models = [table.find(asked.name, asked.version)] if asked.name else list(table)
        merged = pb.ModelStatisticsResponse()
        for model in models:
            inner = pb.ModelStatisticsRequest(name=model.inner)
            answer = await self._front.ask_triton("ModelStatistics", inner, pb.ModelStatisticsResponse)
            merged.MergeFrom(public_statistics(answer, model))
        return merged

    async def _hidden(self, data: bytes, _: Any) -> Any:
        raise Refusal(
            f"this method is not offered here ({len(data)} bytes were given): models, shared memory, traces and "
            "logs are not managed by callers.",
            status=501,
            reason="hidden",
        )


async def _abort(context: Any, refusal: Refusal) -> None:
    trailing = () if refusal.retry_after is None else (("retry-after", str(refusal.retry_after)),)
    await context.abort(getattr(grpc.StatusCode, refusal.grpc_code), str(refusal), trailing)


def _id_of(data: bytes) -> str:
    try:
        return str(pb.ModelInferRequest.FromString(data).id)
    except DecodeError:
        return ""


def _log(method: str, metadata: dict[str, Any], status: str, started: float) -> None:
    access.info(
        "",
        extra={
            "fields": {
                "request": str(metadata.get("x-request-id", ""))[:64] or uuid.uuid4().hex,
                "protocol": "grpc",
                "method": method,
                "status": status,
                "ms": round((time.perf_counter() - started) * 1e3, 2),
            }
        },
    )
