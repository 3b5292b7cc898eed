"""The gate's own process, driven as the supervisor drives it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from cgan_runtime.bundle import Bundle
from cgan_runtime.gate.settings import Command, Engine, Event, GateSettings, Limits, Route
from cgan_runtime.serving.repository import model_names
from cgan_runtime.serving.server import Ports, TritonServer
from cgan_runtime.serving.signature import ModelKind

KINDS: tuple[ModelKind, ...] = ("core", "tensor", "png")


def route_of(bundle: Bundle, version: int = 1, name: str | None = None) -> Route:
    """How the supervisor describes a bundle."""
    manifest = bundle.manifest
    return Route(
        name=name or manifest.name,
        version=version,
        contract=manifest.contract,
        model_digest=bundle.model_digest,
        bundle_digest=bundle.digest,
        artifact="onnxruntime/fp32",
        runtime="onnxruntime",
        max_batch=8,
        models=dict(zip(KINDS, model_names(bundle), strict=False)),
    )


def engine_of(triton: TritonServer, epoch: int = 1) -> Engine:
    ports = triton.options.ports
    return Engine(epoch=epoch, grpc=f"127.0.0.1:{ports.grpc}", metrics=f"127.0.0.1:{ports.metrics}")


class GateProcess:
    """A running gate, as a context manager."""

    def __init__(
        self,
        ports: Ports,
        log: Path,
        *,
        limits: Limits | None = None,
        drain_seconds: float = 10,
        api_keys: Path | None = None,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        self.settings = GateSettings(
            host="127.0.0.1",
            http_port=ports.http,
            grpc_port=ports.grpc,
            metrics_port=ports.metrics,
            limits=limits or Limits(),
            drain_seconds=drain_seconds,
            api_keys=api_keys,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
        )
        self.log = log
        self.events: list[Event] = []
        self._number = 0

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"127.0.0.1:{self.settings.grpc_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.metrics_port}/metrics"

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cgan_runtime.gate"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._write(Command(number=0, settings=self.settings))
        self.wait_for(lambda event: event.listening)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Let it answer what it accepted; its exit status."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        status = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def tell(self, **command: object) -> None:
        """Send a command and wait until it has taken effect."""
        self._number += 1
        number = self._number
        self._write(Command.model_validate({"number": number, **command}))
        self.wait_for(lambda event: event.done == number)

    def wait_for(self, wanted: object) -> Event:
        """The first event that is wanted, from now on."""
        assert callable(wanted)
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            event = Event.model_validate_json(line)
            self.events.append(event)
            if wanted(event):
                return event
        raise AssertionError(f"the gate ended: {self.events[-1:]} {self.log.read_text()[-2000:]}")

    def _write(self, command: Command) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command.model_dump_json() + "\n")
        self.process.stdin.flush()
