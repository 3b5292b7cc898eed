"""The gateway's own process, driven as the supervisor drives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from cgan_runtime.bundle import Bundle
from cgan_runtime.gateway.settings import Engine, Event, GatewaySettings, Route
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.ports import Ports
from cgan_runtime.serving.repository import RepositoryOptions
from cgan_runtime.serving.server import TritonServer
from cgan_runtime.supervision import gateway_process
from cgan_runtime.supervision.releases import release_of

SECONDS = 60.0


def route_of(bundle: Bundle, environment: ServerEnvironment) -> Route:
    """How the supervisor describes a bundle."""
    return release_of(bundle, 1, RepositoryOptions()).route(environment)


def engine_of(triton: TritonServer, epoch: int = 1) -> Engine:
    named = triton.options.ports.named
    return Engine(epoch=epoch, **{name.lower(): f"127.0.0.1:{port}" for name, port in named.items()})


def call(channel: grpc.Channel, method: str, message: bytes = b"", key: str = "") -> bytes:
    """The serialised answer of one method of the protocol."""
    ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}"
    )
    return ask(message, timeout=60, metadata=(("authorization", f"Bearer {key}"),) if key else ())


class GatewayProcess:
    """A running gateway, as a context manager."""

    def __init__(self, ports: Ports, log: Path, **settings: Any) -> None:
        self.settings = GatewaySettings(
            host="127.0.0.1", http_port=ports.http, grpc_port=ports.grpc, metrics_port=ports.metrics, **settings
        )
        self.log = log

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"127.0.0.1:{self.settings.grpc_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.metrics_port}/metrics"

    @property
    def process_id(self) -> int:
        return self._process.process_id

    def __enter__(self) -> Self:
        def note(line: str) -> None:
            with self.log.open("a") as log:
                log.write(f"{line}\n")

        self._process = gateway_process.GatewayProcess(self.settings, say=note)
        self.wait_for(lambda event: event.listening)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Let it answer what it accepted; its exit status."""
        return self._process.end()

    def tell(self, **command: Any) -> None:
        """Send a command and wait until it has taken effect."""
        assert self._process.wait_done(self._process.tell(**command), SECONDS)

    def wait_for(self, wanted: Callable[[Event], object]) -> Event:
        """The first event that is wanted, of those that nobody waited for."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            event = self._process.events.get(timeout=SECONDS)
            if wanted(event):
                return event
        raise AssertionError(f"no such event: {self.log.read_text()[-2000:]}")
