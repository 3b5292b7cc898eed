"""The Open Inference Protocol over HTTP."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2 as pb

from cgan_runtime.gateway.describe import (
    contract_of,
    metadata_of,
    public_config,
    public_statistics,
    server_metadata,
)
from cgan_runtime.gateway.front import Front
from cgan_runtime.gateway.http_body import BodyReader
from cgan_runtime.gateway.json_answer import write_answer
from cgan_runtime.gateway.json_request import read_request
from cgan_runtime.gateway.keys import Keys
from cgan_runtime.gateway.openapi import openapi
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.served import ServedModel

__all__ = ["HttpApp"]

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
BACKLOG: Final = 1024  # connections that the system holds until they are accepted
OPEN_PATHS: Final = ("/v2/health/live", "/v2/health/ready")  # probes have no key
REQUEST_ID: Final = "request_id"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("cgan.gateway")
access = logging.getLogger("cgan.access")


class HttpApp:
    """The routes; `serve` binds them."""

    def __init__(self, front: Front, keys: Keys) -> None:
        self._front, self._keys = front, keys
        self._bodies = BodyReader(front.limits)
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    async def serve(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Accept connections from now on."""
        limits = self._front.limits
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,  # who leaves frees the slot
            auto_decompress=False,  # BodyReader inflates, no further than allowed
            keepalive_timeout=limits.idle_seconds,
            lingering_time=2.0,
            read_bufsize=2**20,
        )
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - it was set up

        def accept() -> asyncio.BaseProtocol:
            return server() if len(server.connections) < limits.connections else _HangUp()

        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(accept, host, port, ssl=tls, reuse_address=True, backlog=BACKLOG)

    async def stop(self) -> None:
        """Answer what was accepted; new connections are refused."""
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        tracing = self._front.tracing
        app = web.Application(middlewares=[*(() if tracing is None else (tracing.http,)), self._around])
        app.on_response_prepare.append(_name_request)
        model = "/v2/models/{model}"
        for prefix in (model, model + "/versions/{version}"):
            app.router.add_post(prefix + "/infer", self._infer)
            app.router.add_get(prefix + "/ready", self._model_ready)
            app.router.add_get(prefix + "/config", self._config)
            app.router.add_get(prefix + "/stats", self._statistics)
            app.router.add_get(prefix + "/contract", self._contract)
            app.router.add_get(prefix, self._metadata)
        app.router.add_get("/v2/models/stats", self._all_statistics)
        app.router.add_get("/v2", self._server)
        app.router.add_get("/v2/health/live", self._live)
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_get("/openapi.json", self._openapi)
        return app

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keys, one form of error, one line of log."""
        started = time.perf_counter()
        request_id = request[REQUEST_ID] = _request_id(request.headers.get("X-Request-Id"))
        try:
            if request.path not in OPEN_PATHS:
                self._keys.check(request.headers.get("Authorization"))
            response = await handler(request)
        except Refusal as refusal:
            response = self._refused(refusal)
        except web.HTTPException as error:
            response = self._refused(_of_aiohttp(error, request))
        except Exception:
            log.exception("request=%s", request_id)
            response = self._refused(Refusal("the server failed; its log says why.", status=500, reason="failed"))
        access.info(
            "",
            extra={
                "fields": {
                    "request": request_id,
                    "protocol": "http",
                    "method": request.method,
                    "path": request.path[:200],
                    "status": response.status,
                    "ms": round((time.perf_counter() - started) * 1e3, 2),
                }
            },
        )
        return response

    def _refused(self, refusal: Refusal) -> web.Response:
        self._front.refused(refusal)
        return _error(refusal)

    def _model(self, request: web.Request) -> ServedModel:
        found = request.match_info
        return self._front.table.find(found["model"], found.get("version", ""))

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        model = self._model(request)
        length = _header_length(request)
        with self._front.admission.memory.claim() as claim:
            try:
                read = read_request(await self._bodies.read(request, claim), length, self._front.limits)
                claim.hold(sum(len(sent.raw) for sent in read.inputs))  # of JSON its values are kept, not its text
            except Refusal as refusal:
                refusal.model = model.name
                raise
            answer = await self._front.infer(model, read, claim)
            text, tail = write_answer(answer, read)
            claim.keep(len(text) + sum(len(part) for part in tail))
            return await self._send(request, text, tail)

    async def _send(self, request: web.Request, text: bytes, tail: list[bytes | memoryview]) -> web.StreamResponse:
        """Send an answer while its memory is held; who does not take it in time is left."""
        response = web.StreamResponse()
        response.content_type = "application/octet-stream" if tail else "application/json"
        response.content_length = len(text) + sum(len(part) for part in tail)
        if tail:
            response.headers[HEADER_LENGTH] = str(len(text))
        try:
            async with asyncio.timeout(self._front.limits.read_seconds):
                await response.prepare(request)
                for part in (text, *tail):
                    await response.write(part)
                await response.write_eof()
        except ConnectionError:
            log.info("request=%s left before its answer", request[REQUEST_ID])
        except TimeoutError:
            log.warning("request=%s does not take its answer", request[REQUEST_ID])
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _live(self, _: web.Request) -> web.StreamResponse:
        return web.Response()

    async def _ready(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if await self._front.all_live() else 503)

    async def _model_ready(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if await self._front.lives(self._model(request)) else 503)

    async def _server(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(server_metadata())

    async def _metadata(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(metadata_of(self._model(request)))

    async def _contract(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(contract_of(self._model(request), self._front.limits))

    async def _config(self, request: web.Request) -> web.StreamResponse:
        model = self._model(request)
        asked = pb.ModelConfigRequest(name=model.inner)
        answer = await self._front.ask_triton("ModelConfig", asked, pb.ModelConfigResponse)
        return web.json_response(_plain(public_config(answer, model).config))

    async def _statistics(self, request: web.Request) -> web.StreamResponse:
        return await self._statistics_of([self._model(request)])

    async def _all_statistics(self, _: web.Request) -> web.StreamResponse:
        return await self._statistics_of(list(self._front.table))

    async def _statistics_of(self, models: list[ServedModel]) -> web.StreamResponse:
        found: list[Any] = []
        for model in models:
            asked = pb.ModelStatisticsRequest(name=model.inner)
            answer = await self._front.ask_triton("ModelStatistics", asked, pb.ModelStatisticsResponse)
            found += _plain(public_statistics(answer, model))["model_stats"]
        return web.json_response({"model_stats": found})

    async def _openapi(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(openapi(self._front.table))


class _HangUp(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it before anything is read."""
        transport.close()


async def _name_request(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or uuid.uuid4().hex


def _plain(message: Any) -> Any:
    """A message as JSON; whole numbers of 64 bits are numbers, as Triton writes them, and not text."""
    return _numbers(
        MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        # The parameters are text, whatever it looks like.
        return {k: v if k == "string_value" else _numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and value.removeprefix("-").isdigit():
        return int(value)
    return value


def _header_length(request: web.Request) -> int | None:
    given = request.headers.get(HEADER_LENGTH)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 12):
        raise Refusal(f"{HEADER_LENGTH} {given[:40]!r} is not a number of bytes.")
    return int(given)


def _request_id(given: str | None) -> str:
    """The caller's, where it is short and plain, or a new one."""
    if given and len(given) <= 64 and all(c.isascii() and (c.isalnum() or c in "-_.") for c in given):
        return given
    return uuid.uuid4().hex


def _error(refusal: Refusal) -> web.Response:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    response = web.json_response({"error": str(refusal)}, status=refusal.status, headers=headers)
    if refusal.status in (408, 413):
        response.force_close()  # what is left of the body is not worth reading
    return response


def _of_aiohttp(error: web.HTTPException, request: web.Request) -> Refusal:
    if error.status == 404:
        return Refusal(
            f"{request.path[:80]} is nothing that is served here; see /openapi.json.", status=404, reason="path"
        )
    if error.status == 405:
        return Refusal(
            f"{request.method[:20]} is not the method of this path; see /openapi.json.", status=405, reason="method"
        )
    if 400 <= error.status < 500:
        return Refusal(f"the request cannot be read ({error.reason}).", status=400)
    return Refusal("the server failed; its log says why.", status=500, reason="failed")
