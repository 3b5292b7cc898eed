"""Triton behind the gateway, and what keeps both alive.

One thread starts, watches and ends the two of them; the system ends them should that thread end. Whatever dies or
stops in Triton's processes ends that whole Triton, and another one is started from the checked copy of the bundles:
Triton does not survive the death of a model's process well. The gateway keeps the public ports meanwhile, and holds
what it has accepted.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from cgan_runtime.bundle import Bundle
from cgan_runtime.gateway.settings import Engine, Event, GatewaySettings
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.leftovers import sweep, working_folder
from cgan_runtime.serving.ports import Ports, claim_ports, private_ports, reachable_host, state_folder
from cgan_runtime.serving.repository import RepositoryOptions, model_names, require_distinct_models
from cgan_runtime.serving.triton_process import TritonProcess
from cgan_runtime.supervision.gateway_process import GATEWAY_COMMAND, GatewayProcess
from cgan_runtime.supervision.kept import Kept
from cgan_runtime.supervision.releases import Catalogue, release_of
from cgan_runtime.supervision.server_log import ServerLog

__all__ = ["Supervisor"]

WATCH_SECONDS: Final = 0.1
PING_SECONDS: Final = 1.0
START_SECONDS: Final = 120.0
GATEWAY_START_SECONDS: Final = 30.0
PRIVATE_HOST: Final = "127.0.0.1"


@final
class Supervisor:
    """A server that was started, as a context manager: ready inside the block, gone after it.

    >>> with Supervisor([bundle], environment, settings) as server:   # doctest: +SKIP
    ...     print(server.http_url)

    Args:
        bundles: served first; the name of each stays.
        environment: of Triton.
        settings: of the gateway; its ports are the public ones.
        models: how the models run.
        gateway_command: the gateway's program and its arguments.
        say: told of every death, restart and publication, in one line.
        echo: told every line of the log.
    """

    def __init__(
        self,
        bundles: Sequence[Bundle],
        environment: ServerEnvironment,
        settings: GatewaySettings,
        *,
        models: RepositoryOptions | None = None,
        gateway_command: Sequence[str] = GATEWAY_COMMAND,
        say: Callable[[str], object] = lambda _: None,
        echo: Callable[[str], object] | None = None,
    ) -> None:
        require_distinct_models(bundles)
        self.settings, self.environment = settings, environment
        self.repository_options = models or RepositoryOptions()
        self.catalogue = Catalogue([release_of(bundle, 1, self.repository_options) for bundle in bundles])
        self.models = tuple(name for bundle in bundles for name in model_names(bundle))
        self.lock = threading.RLock()
        self.engine = Kept(self._launch_engine, start_seconds=START_SECONDS, say=self.tell_user)
        self.gateway = Kept(self._launch_gateway, start_seconds=GATEWAY_START_SECONDS, say=self.tell_user)
        self._gateway_command, self._say, self._echo = gateway_command, say, echo
        self._held = contextlib.ExitStack()
        self._folder = Path()
        self._log: ServerLog | None = None
        self._starts = 0
        self._pinged = 0.0
        self._began = 0.0
        self._failure: BaseException | None = None
        self._ready, self._ending, self._over = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @property
    def http_url(self) -> str:
        """Base URL for HTTP clients."""
        scheme = "http" if self.settings.tls_certificate is None else "https"
        return f"{scheme}://{reachable_host(self.settings.host)}:{self.settings.http_port}"

    @property
    def grpc_url(self) -> str:
        """host:port for gRPC clients."""
        return f"{reachable_host(self.settings.host)}:{self.settings.grpc_port}"

    @property
    def log_path(self) -> Path:
        """The log file, which stays after the end."""
        assert self._log is not None  # noqa: S101 - only asked of a started server
        return self._log.path

    @property
    def repository(self) -> Path:
        """The folder that Triton loads from."""
        return self._folder / "models"

    def start(self) -> Self:
        """Start, and wait until the gateway listens and every model answers.

        Raises:
            UsageError: two ports are equal.
            CganError: a port is taken, or the server could not be started; the message says why.
            OSError: its folders cannot be written.
        """
        settings = self.settings
        ports = Ports(http=settings.http_port, grpc=settings.grpc_port, metrics=settings.metrics_port)
        try:
            self._held.enter_context(claim_ports(settings.host, ports))
            sweep()
            self._log = ServerLog(state_folder(ports.http))
            self._held.callback(self._log.close)
            self.tell_user(f"starting {', '.join(self.models)}; the log is {self._log.path}")
            self._folder = working_folder()
            self._held.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._began = time.monotonic()
            self._thread.start()
            self._ready.wait()
            if self._failure is not None:
                raise self._failure
        except BaseException:
            self.stop()
            raise
        return self

    def wait(self) -> None:
        """Block until the server ends by itself.

        Raises:
            CganError: why it ended.
        """
        self._over.wait()  # not `join`: a signal during it makes Python 3.11 take the thread for one that ended
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Answer what was accepted, end both processes and remove temporary files."""
        self._ending.set()
        if self._thread.ident is not None:
            self._over.wait()
            self._thread.join()
        self._held.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def send_routes(self) -> tuple[GatewayProcess, int] | None:
        """Tell the gateway what is served; returns it and the number of the command, None where there is none."""
        gateway = self.gateway.process
        if gateway is None or not self.gateway.ready:
            return None  # the next one is told as soon as it listens
        return gateway, gateway.tell(routes=tuple(r.route(self.environment) for r in self.catalogue.served))

    def status(self) -> dict[str, Any]:
        """What is served and how it goes, in words and numbers."""
        with self.lock:
            return {
                "http": self.http_url,
                "grpc": self.grpc_url,
                "ready": self.engine.ready and self.gateway.ready,
                "seconds": round(time.monotonic() - self._began, 1),
                "restarts": {"triton": self.engine.restarts, "gateway": self.gateway.restarts},
                "log": str(self.log_path),
                "bundles": [
                    {
                        "name": release.name,
                        "version": release.version,
                        "model_digest": release.bundle.model_digest,
                        "bundle_digest": release.bundle.digest,
                        "path": str(release.bundle.path.resolve()),
                    }
                    for release in self.catalogue.served
                ],
            }

    def tell_user(self, line: str) -> None:
        """Say it, and write it into the log."""
        if self._log is not None:
            self._log.write("cgan-serve", line)
        self._say(line)

    def _run(self) -> None:
        """The one thread that has children."""
        try:
            while not self._ending.wait(WATCH_SECONDS):
                with self.lock:
                    self._look()
                if self.engine.ready and self.gateway.ready:
                    self._ready.set()
        except BaseException as error:  # noqa: BLE001 - raised again by `start` or `wait`, in the thread that asks
            self._failure = error
        finally:
            try:
                self._end()
            finally:
                self._ready.set()
                self._over.set()

    def _look(self) -> None:
        change = self.engine.tick()
        if change != "same":
            self._tell_engine()
        if self.gateway.tick() == "up":
            self.send_routes()
            self._tell_engine()
            self._unload(None)  # what an earlier gateway still needed
        gateway = self.gateway.process
        if gateway is None:
            return
        if time.monotonic() - self._pinged > PING_SECONDS:
            self._pinged = time.monotonic()
            gateway.ping()
        while not gateway.events.empty():
            self._heed(gateway.events.get())

    def _heed(self, event: Event) -> None:
        if event.suspect is not None:
            name, epoch = event.suspect
            if self.engine.ready and self.engine.process is not None and epoch == self.engine.process.start:
                self.engine.suspect(f"{name} did not answer the gateway")
        if event.idle:
            self._unload(frozenset(event.idle))

    def _unload(self, models: frozenset[str] | None) -> None:
        triton = self.engine.process
        for release in self.catalogue.retire(models):
            if triton is not None and self.engine.ready:
                triton.forget(release.models)
                for name in reversed(release.models):
                    triton.unload(name)
            if not self.catalogue.keeps(release):
                release.remove(self.repository)

    def _tell_engine(self) -> None:
        gateway, triton = self.gateway.process, self.engine.process
        if gateway is None or not self.gateway.ready:
            return
        if triton is None or not self.engine.ready:
            gateway.tell(down=True)
        else:
            named = {name.lower(): f"{PRIVATE_HOST}:{port}" for name, port in triton.ports.named.items()}
            gateway.tell(engine=Engine(epoch=triton.start, **named))

    def _launch_engine(self) -> TritonProcess:
        for release in self.catalogue.loaded:
            release.write(self.repository)
        self._starts += 1
        return TritonProcess(
            self.environment,
            self._folder,
            [name for release in self.catalogue.loaded for name in release.models],
            host=PRIVATE_HOST,
            ports=private_ports(),
            drain_seconds=int(self.settings.drain_seconds),
            start=self._starts,
            traces=self.settings.traces,
            say=self._writer("triton"),
        )

    def _launch_gateway(self) -> GatewayProcess:
        return GatewayProcess(self.settings, command=self._gateway_command, say=self._writer("gateway"))

    def _writer(self, name: str) -> Callable[[str], object]:
        log = self._log
        assert log is not None  # noqa: S101 - made before anything is started
        echo = self._echo

        def write(line: str) -> None:
            log.write(name, line)
            if echo is not None:
                echo(line)

        return write

    def _end(self) -> None:
        """The gateway first, until it has answered what it accepted; Triton then has nothing left to do."""
        if self.gateway.process is not None:
            self.gateway.process.end()
        if (triton := self.engine.process) is not None:
            triton.kill() if self.settings.traces is None else triton.end()  # its last spans are sent at its end
