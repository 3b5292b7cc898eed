"""A collector of OpenTelemetry: spans by OTLP over HTTP, as protobuf (of the gateway) or JSON (of Triton)."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Span:
    """As it was sent; ids in hexadecimal."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: str
    status: str
    attributes: dict[str, Any]


class Collector:
    """One that runs, as a context manager.

    Attributes:
        spans: that came.
        headers: of every request.
        bodies: of every request.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._ready, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    def of_trace(self, trace_id: str, done: Callable[[list[Span]], object]) -> list[Span]:
        """Every span of a trace, once there are those that are waited for."""
        deadline = time.monotonic() + SECONDS
        while not done(found := [span for span in self.spans if span.trace_id == trace_id]):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    async def _run(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._ready.set()
        await self._ended.wait()
        await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers.append(dict(request.headers))
        self.bodies.append(body)
        if request.content_type == "application/json":
            found = json.loads(body)
        else:
            found = MessageToDict(ExportTraceServiceRequest.FromString(body))
        self.spans += _spans(found, in_hex=request.content_type == "application/json")
        return web.Response(content_type=request.content_type)


def _spans(found: dict[str, Any], *, in_hex: bool) -> list[Span]:
    spans = []
    for resource in found["resourceSpans"]:
        service = _values(resource["resource"]["attributes"])["service.name"]
        for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
            ids = [span.get(key, "") for key in ("traceId", "spanId", "parentSpanId")]
            trace_id, span_id, parent = ids if in_hex else [_hex(value) for value in ids]
            spans.append(
                Span(
                    service=service,
                    name=span["name"],
                    trace_id=trace_id,
                    span_id=span_id,
                    parent=parent,
                    kind=str(span["kind"]),
                    status=str(span.get("status", {}).get("code", "")),
                    attributes=_values(span.get("attributes", [])),
                )
            )
    return spans


def _hex(text: str) -> str:
    """Bytes are base64 in the JSON of protobuf."""
    return base64.b64decode(text).hex()


def _values(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in pairs}
