"""Triton itself on the public ports: start it on bundles, wait until it serves, drain it, leave nothing behind.

Nothing stands before it or above it: no limits but Triton's own, and what dies stays dead. `Supervisor` has both.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NoReturn, Self

from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import CganError
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.leftovers import sweep, working_folder
from cgan_runtime.serving.ports import Ports, claim_ports, reachable_host
from cgan_runtime.serving.repository import RepositoryOptions, require_distinct_models, write_repository
from cgan_runtime.serving.triton_process import TritonProcess

__all__ = ["Ports", "ServerOptions", "TritonServer"]

POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where and how to serve.

    Attributes:
        host: address to bind; the default is reachable from this machine only.
        ports: HTTP, gRPC and metrics ports.
        start_seconds: longest wait for the models to be ready.
        drain_seconds: longest wait for requests in flight at the end.
        repository: how the models run.
    """

    host: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    start_seconds: float = 120
    drain_seconds: int = 10
    repository: RepositoryOptions = field(default_factory=RepositoryOptions)


class TritonServer:
    """A running server, as a context manager: ready inside the block, gone after it.

    >>> with TritonServer([read_bundle(Path("facades"))], environment) as server:   # doctest: +SKIP
    ...     print(server.http_url)
    """

    def __init__(
        self,
        bundles: Sequence[Bundle],
        environment: ServerEnvironment,
        options: ServerOptions | None = None,
        *,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.options = options or ServerOptions()
        self.models: tuple[str, ...] = ()
        self._bundles, self._environment, self._say = bundles, environment, say
        self._held = contextlib.ExitStack()
        self._process: TritonProcess | None = None

    @property
    def http_url(self) -> str:
        """Base URL for HTTP clients."""
        return f"http://{reachable_host(self.options.host)}:{self.options.ports.http}"

    @property
    def grpc_url(self) -> str:
        """host:port for gRPC clients."""
        return f"{reachable_host(self.options.host)}:{self.options.ports.grpc}"

    @property
    def log(self) -> str:
        """The last lines that the server has written."""
        return self._process.log if self._process is not None else ""

    @property
    def process_id(self) -> int:
        """The process id of tritonserver."""
        assert self._process is not None  # noqa: S101 - only asked of a started server
        return self._process.process_id

    def start(self) -> Self:
        """Start and wait until every model is ready.

        Raises:
            UsageError: two bundles have models of one name, or two ports are equal.
            CganError: a port is taken, the server ended or was not ready in time; the message says which.
        """
        require_distinct_models(self._bundles)
        options = self.options
        try:
            self._held.enter_context(claim_ports(options.host, options.ports))
            sweep()
            folder = working_folder()
            self._held.callback(shutil.rmtree, folder, ignore_errors=True)
            for bundle in self._bundles:
                self.models += write_repository(folder / "models", bundle, options.repository)
            self._process = TritonProcess(
                self._environment,
                folder,
                self.models,
                host=options.host,
                ports=options.ports,
                drain_seconds=options.drain_seconds,
                start=1,
                say=self._say,
            )
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> int:
        """Let requests in flight end, stop, remove temporary files; returns the server's exit status."""
        status = self._process.end() if self._process is not None else 0
        self._process = None
        self._held.close()
        return status

    def wait(self) -> NoReturn:
        """Block until the server ends by itself.

        Raises:
            CganError: it ended.
        """
        assert self._process is not None  # noqa: S101 - only asked of a started server
        self._process.wait()
        raise CganError(f"{self._process.trouble()}: {self._process.reason}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self, process: TritonProcess) -> None:
        deadline = time.monotonic() + self.options.start_seconds
        while not process.is_ready():
            if (trouble := process.trouble()) is not None:
                raise CganError(process.failure(trouble))
            if time.monotonic() > deadline:
                raise CganError(f"Triton was not ready after {self.options.start_seconds:.0f} s: {process.reason}")
            time.sleep(POLL_SECONDS)
