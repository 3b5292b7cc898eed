"""The Open Inference Protocol over gRPC; its streams are in grpc_stream.py."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from cgan_runtime.errors import CganError
from cgan_runtime.gateway.describe import metadata_of, public_config, public_statistics, server_metadata
from cgan_runtime.gateway.front import Front
from cgan_runtime.gateway.grpc_call import FAILED, NO_ANSWER, log_call, read_in_time, refuse
from cgan_runtime.gateway.grpc_request import answer_message, read_message
from cgan_runtime.gateway.grpc_stream import StreamCalls
from cgan_runtime.gateway.keys import Keys
from cgan_runtime.gateway.refusal import Refusal

__all__ = ["GrpcApp"]

SERVICE: Final = "inference.GRPCInferenceService"
CALLS_BEYOND: Final = 768  # calls at once beside those that wait: they are being read, refused or answered
COPIES_WAITING: Final = 2  # of a message that waits: as it came, and as it was read
OPEN_METHODS: Final = ("ServerLive", "ServerReady")
HIDDEN: Final = (
    *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
    *("TraceSetting", "LogSettings"),
)

log = logging.getLogger("cgan.gateway")
Call = Callable[[Any, Any], Awaitable[Any]]


class GrpcApp:
    """The methods; `serve` binds them."""

    def __init__(self, front: Front, keys: Keys) -> None:
        self._front, self._keys = front, keys
        self._server: grpc.aio.Server | None = None
        self._stream = StreamCalls(front, keys, self._answered)

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
                ("grpc.server_handshake_timeout_ms", int(limits.idle_seconds * 1000)),
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
        infer: Call = self._around("ModelInfer", self._infer)
        stream: Call = self._stream.handle
        if (tracing := self._front.tracing) is not None:
            infer, stream = tracing.grpc("ModelInfer", infer), tracing.grpc("ModelStreamInfer", stream)
        # As streams of one message, which are the same to a client: keys are looked at before it is read.
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.stream_unary_rpc_method_handler(
                self._around(name, call), response_serializer=lambda message: message.SerializeToString()
            )
            for name, call in plain.items()
        }
        handlers["ModelInfer"] = grpc.stream_unary_rpc_method_handler(infer)
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(stream)
        return handlers

    def _around(self, method: str, call: Call) -> Call:
        """Keys, the message, one form of error, one line of log."""

        async def handle(_: Any, context: Any) -> Any:
            started, status = time.perf_counter(), "OK"
            metadata = dict(context.invocation_metadata() or ())
            try:
                if method not in OPEN_METHODS:
                    self._keys.check(metadata.get("authorization"))
                return await call(await read_in_time(context, self._front.limits.read_seconds), context)
            except Refusal as refusal:
                self._front.refused(refusal)
                status = refusal.grpc_code
                refuse(context, refusal)
            except DecodeError:
                status = "INVALID_ARGUMENT"
                refuse(context, Refusal(f"the request is not a message of {method}."))
            except asyncio.CancelledError:
                status = "CANCELLED"
                raise
            except Exception:
                status = "INTERNAL"
                log.exception("method=%s", method)
                refuse(context, Refusal(FAILED, status=500))
            finally:
                log_call(method, metadata, status, started)
            return NO_ANSWER

        return handle

    async def _infer(self, data: bytes, context: Any) -> bytes:
        return await self._answered(data, context.time_remaining())

    async def _answered(self, data: bytes, seconds: float | None) -> bytes:
        with self._front.admission.memory.claim() as claim:
            claim.hold(COPIES_WAITING * len(data))
            name, version, request = read_message(data, self._front.limits)
            model = self._front.table.find(name, version)
            answer = await self._front.infer(model, request, claim, seconds=seconds)
            return answer_message(answer.outputs, request, model)

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
