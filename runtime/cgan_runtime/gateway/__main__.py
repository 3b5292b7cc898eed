"""The gateway's process: it does what the supervisor writes to its standard input, until that ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import ssl
import sys
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cgan_runtime.errors import CganError
from cgan_runtime.gateway.engine_link import EngineLink
from cgan_runtime.gateway.front import Front
from cgan_runtime.gateway.grpc_app import GrpcApp
from cgan_runtime.gateway.http_app import HttpApp
from cgan_runtime.gateway.keys import Keys
from cgan_runtime.gateway.logs import log_as_json
from cgan_runtime.gateway.metrics import Metrics
from cgan_runtime.gateway.metrics_app import serve_metrics
from cgan_runtime.gateway.settings import Command, Event, GatewaySettings
from cgan_runtime.processes import end_with_parent
from cgan_runtime.serving.traces import Traces

if TYPE_CHECKING:
    from cgan_runtime.gateway.tracing import Tracing

# Tensors of a megabyte come and go: from fresh pages of the system each copy takes three times as long.
KEPT_BYTES: Final = 32 * 2**20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h of glibc
SWITCH_SECONDS: Final = 0.0002  # gRPC has a thread of its own; the usual 5 ms would be most of an answer's time
LINE_BYTES: Final = 64 * 2**20  # contracts are in it
POLL_SECONDS: Final = 0.05

log = logging.getLogger("cgan.gateway")


def _tell(event: Event) -> None:
    sys.stdout.write(event.model_dump_json(exclude_defaults=True) + "\n")
    sys.stdout.flush()


class Gateway:
    """Everything that the process has."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.link = EngineLink(lambda model, epoch: _tell(Event(suspect=(model, epoch))))
        self.tracing = None if settings.traces is None else _tracing(settings.traces)
        self.front = Front(limits=settings.limits, link=self.link, metrics=Metrics(), tracing=self.tracing)
        keys = Keys(settings.api_keys)
        self.http, self.grpc = HttpApp(self.front, keys), GrpcApp(self.front, keys)
        self.metrics: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Bind every port."""
        settings = self.settings
        tls = _tls(settings)
        await self.http.serve(settings.host, settings.http_port, tls)
        await self.grpc.serve(settings.host, settings.grpc_port, settings.tls_certificate, settings.tls_key)
        self.metrics = await serve_metrics(self.front, settings.host, settings.metrics_port)
        _tell(Event(listening=True))

    async def obey(self, command: Command) -> None:
        """Do what a command says."""
        if command.down:
            await self.link.disconnect()
        if command.engine is not None:
            await self.link.connect(command.engine)
        if command.routes is not None:
            before = {inner for route in self.front.table.routes for inner in route.models.values()}
            self.front.table.replace(command.routes)
            self.front.metrics.expect(model.name for model in self.front.table)
            now = {inner for route in command.routes for inner in route.models.values()}
            if before - now:
                task = asyncio.create_task(self._tell_idle(before - now))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        _tell(Event(done=command.number))

    async def drain(self) -> None:
        """Answer what was accepted, refuse the rest, and close."""
        self.front.draining = True
        seconds = self.settings.drain_seconds
        deadline = asyncio.get_running_loop().time() + seconds
        while self.front.admission.inside + self.front.admission.waiting and (
            asyncio.get_running_loop().time() < deadline
        ):
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.gather(self.grpc.stop(1), self.http.stop())
        if self.metrics is not None:
            await self.metrics.cleanup()
        await self.link.disconnect()
        if self.tracing is not None:
            await self.tracing.close()

    async def _tell_idle(self, names: set[str]) -> None:
        while not all(self.front.unused(name) for name in names):
            await asyncio.sleep(POLL_SECONDS)
        _tell(Event(idle=tuple(sorted(names))))


def _tracing(traces: Traces) -> Tracing:
    from cgan_runtime.gateway.tracing import Tracing  # of an extra of its own

    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # of a collector that is away: not every try
    tracing = Tracing(traces)
    log_as_json(tracing.ids)
    return tracing


def _tls(settings: GatewaySettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise CganError(
            f"{settings.tls_certificate} and {settings.tls_key} are no certificate and key: {error}."
        ) from error
    return context


def _keep_memory() -> None:
    """Keep what is freed for the next request, where the C library is glibc."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 8 * KEPT_BYTES)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for number in (signal.SIGINT, signal.SIGTERM):  # the supervisor decides when to end
        loop.add_signal_handler(number, lambda: None)
    first = Command.model_validate_json(await reader.readline())
    assert first.settings is not None  # noqa: S101 - the supervisor's first message
    gateway = Gateway(first.settings)
    await gateway.listen()
    while line := await reader.readline():
        await gateway.obey(Command.model_validate_json(line))
    await gateway.drain()


def main() -> None:
    """Entry point."""
    end_with_parent()
    log_as_json()
    _keep_memory()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        asyncio.run(_serve())
    except (CganError, OSError) as error:
        _tell(Event(failed=str(error)))
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
