"""OpenTelemetry spans of requests to infer: the request, its time in the queue, and its call of Triton.

Only a gateway that was asked for traces imports this module. Spans hold names, sizes and codes, and nothing of what
was sent or answered: no tensor, no seed, no key, no text of an error.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, Final

import grpc
from aiohttp import web
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.served import ServedModel
from cgan_runtime.serving.traces import Traces

__all__ = ["Tracing"]

SERVICE: Final = "inference.GRPCInferenceService"
CLOSE_SECONDS: Final = 2.0  # for spans that were not sent yet; a collector that is away delays no end
POLL_SECONDS: Final = 0.05
# The standard names (semantic conventions 1.39); ours begin with "cgan.".
METHOD, ROUTE, PATH, SCHEME = "http.request.method", "http.route", "url.path", "url.scheme"
STATUS, ERROR = "http.response.status_code", "error.type"
RPC_SYSTEM, RPC_METHOD, RPC_STATUS = "rpc.system.name", "rpc.method", "rpc.response.status_code"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tracing:
    """Spans, and the thread that sends them.

    Args:
        traces: where they go; sampler, headers and more are read from the environment by the SDK.
    """

    def __init__(self, traces: Traces) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: traces.service}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=traces.url)))
        self._tracer = self._provider.get_tracer("cgan_runtime.gateway")
        self._propagator = TraceContextTextMapPropagator()

    @web.middleware
    async def http(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A request to infer as a span; others have none."""
        resource = request.match_info.route.resource
        if resource is None or not resource.canonical.endswith("/infer"):
            return await handler(request)
        attributes = {
            METHOD: request.method,
            ROUTE: resource.canonical,
            PATH: request.path[:200],
            SCHEME: request.scheme,
        }
        with self._server(f"{request.method} {resource.canonical}", request.headers, attributes) as span:
            response = await handler(request)
            span.set_attribute(STATUS, response.status)
            return response

    def grpc(self, method: str, call: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        """The handler of a method, unary or a stream, with a span around it."""
        name = f"{SERVICE}/{method}"

        async def traced(sent: Any, context: Any) -> Any:
            metadata = dict(context.invocation_metadata() or ())
            with self._server(name, metadata, {RPC_SYSTEM: "grpc", RPC_METHOD: name}) as span:
                try:
                    answer = await call(sent, context)
                except asyncio.CancelledError:
                    span.set_attribute(RPC_STATUS, "CANCELLED")
                    raise
                except Exception:
                    span.set_attribute(RPC_STATUS, "UNKNOWN")
                    raise
                code: grpc.StatusCode | None = context.code()  # of a refusal
                span.set_attribute(RPC_STATUS, "OK" if code is None else code.name)
                return answer

        return traced

    def message(
        self, call: Callable[[bytes], Coroutine[Any, Any, bytes]]
    ) -> Callable[[bytes], Coroutine[Any, Any, bytes]]:
        """What answers one request of a stream, with a span below that of the stream."""

        async def traced(data: bytes) -> bytes:
            with self._span("request of a stream"):
                return await call(data)

        return traced

    def describe(self, model: ServedModel, rows: int) -> None:
        """Say in the span of the request what is asked of which model."""
        trace.get_current_span().set_attributes(
            {
                "cgan.model": model.name,
                "cgan.version": model.route.version,
                "cgan.model_digest": model.route.model_digest,
                "cgan.rows": rows,
            }
        )

    def refused(self, refusal: Refusal) -> None:
        """Say in the span of the request why it has no result."""
        span = trace.get_current_span()
        span.set_attribute("cgan.refused", refusal.reason)
        if refusal.status >= 500:
            span.set_attribute(ERROR, refusal.reason)
            span.set_status(StatusCode.ERROR)

    @asynccontextmanager
    async def queued(self, slot: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        """The slot, with a span from now until it is entered."""
        async with AsyncExitStack() as stack:
            with self._span("queue"):
                await stack.enter_async_context(slot)
            yield

    @contextmanager
    def engine(self, model: ServedModel) -> Iterator[dict[str, str]]:
        """A span of a call of Triton; gives the headers by which Triton's own spans are put below it.

        A trace that is not sampled has none: Triton sends the spans of whatever names a parent.
        """
        attributes = {METHOD: "POST", "cgan.engine_model": model.inner}
        with self._span("engine", kind=SpanKind.CLIENT, attributes=attributes) as span:
            carrier: dict[str, str] = {}
            if span.get_span_context().trace_flags.sampled:
                self._propagator.inject(carrier)
            try:
                yield carrier
            except Refusal as refusal:
                span.set_attribute(ERROR, refusal.reason)
                span.set_status(StatusCode.ERROR)
                raise

    def ids(self) -> dict[str, str]:
        """Trace and span of what is being worked on, for a line of the log; empty where there is none."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    async def close(self) -> None:
        """Send what was not sent yet."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        deadline = asyncio.get_running_loop().time() + CLOSE_SECONDS
        while thread.is_alive() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_SECONDS)

    def _server(
        self, name: str, headers: Mapping[str, Any], attributes: dict[str, Any]
    ) -> AbstractContextManager[Span]:
        """A span that continues the caller's trace, where the caller names one."""
        context = self._propagator.extract(headers)
        return self._span(name, context=context, kind=SpanKind.SERVER, attributes=attributes)

    def _span(self, name: str, **options: Any) -> AbstractContextManager[Span]:
        """Errors are not recorded: their text may hold what was sent."""
        span: AbstractContextManager[Span] = self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False, **options
        )
        return span
