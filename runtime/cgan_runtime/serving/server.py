"""Start the real tritonserver on bundles, wait until it serves, drain it, leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import CganError
from cgan_runtime.processes import stop_with_parent
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.repository import RepositoryOptions, require_distinct_models, write_repository

__all__ = ["Ports", "ServerOptions", "TritonServer", "reachable_host"]

SHM_PREFIX: Final = "cgan_serve_"  # then the launcher's process number, "_" and Triton's own name
FOLDER_PREFIX: Final = "cgan-serve-"  # the same with "-"
SHM_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - Triton's own place for its stubs' shared memory
POLL_SECONDS: Final = 0.1
REPAIR_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The three ports of a server."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


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
    ports: Ports = Ports()
    start_seconds: float = 120
    drain_seconds: int = 10
    repository: RepositoryOptions = field(default_factory=RepositoryOptions)


class TritonServer:
    """A running server, as a context manager: ready inside the block, gone after it.

    >>> with TritonServer([read_bundle(Path("facades"))], environment) as server:   # doctest: +SKIP
    ...     print(server.http_url)
    """

    def __init__(
        self, bundles: Sequence[Bundle], environment: ServerEnvironment, options: ServerOptions | None = None
    ) -> None:
        self.options = options or ServerOptions()
        self._environment = environment
        self._bundles = bundles
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._admin_key = secrets.token_hex(16)
        self.models: tuple[str, ...] = ()

    @property
    def http_url(self) -> str:
        """Base URL for HTTP clients."""
        return f"http://{self._reachable_host}:{self.options.ports.http}"

    @property
    def grpc_url(self) -> str:
        """host:port for gRPC clients."""
        return f"{self._reachable_host}:{self.options.ports.grpc}"

    @property
    def log(self) -> str:
        """What the server has written so far."""
        path = (self._folder or Path()) / "server.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    @property
    def process_id(self) -> int:
        """The process id of tritonserver."""
        assert self._process is not None  # noqa: S101 - only asked of a started server
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until every model is ready.

        Raises:
            UsageError: two bundles have models of one name.
            CganError: a port is taken, the server ended or was not ready in time; the message says which.
        """
        require_distinct_models(self._bundles)
        _sweep()
        self._require_free_ports()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
        try:
            repository = self._folder / "models"
            for bundle in self._bundles:
                self.models += write_repository(repository, bundle, self.options.repository)
            self._launch(repository)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._repair_models, daemon=True).start()
        return self

    def stop(self) -> int:
        """Let requests in flight end, stop, remove temporary files; returns the server's exit status."""
        status = 0
        if self._process is not None:
            status = self._end_process(self._process)
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        _remove_shared_memory(os.getpid())
        return status

    def wait(self) -> int:
        """Block until the server ends by itself; returns its exit status."""
        assert self._process is not None  # noqa: S101 - only asked of a started server
        return self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _reachable_host(self) -> str:
        return reachable_host(self.options.host)

    def _launch(self, repository: Path) -> None:
        assert self._folder is not None  # noqa: S101 - set by start
        home = self._folder / "home"
        home.mkdir()
        with (self._folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command_line(repository),
                env=self._environment.variables(home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, after draining
                preexec_fn=stop_with_parent,  # noqa: PLW1509 - one system call, no locks
            )

    def _command_line(self, repository: Path) -> list[str]:
        options, environment = self.options, self._environment
        return [
            str(environment.server),
            f"--model-repository={repository}",
            f"--backend-directory={environment.backends}",
            f"--backend-config=python,shm-region-prefix-name={SHM_PREFIX}{os.getpid()}_",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in self.models),
            "--disable-auto-complete-config",
            "--strict-readiness=false",
            # Loading models is running code: only this launcher may, to repair a model that died.
            f"--http-restricted-api=model-repository,logging,trace:x-cgan-admin={self._admin_key}",
            f"--grpc-restricted-protocol=model-repository,logging,trace:x-cgan-admin={self._admin_key}",
            f"--http-address={options.host}",
            f"--http-port={options.ports.http}",
            f"--grpc-address={options.host}",
            f"--grpc-port={options.ports.grpc}",
            f"--metrics-address={options.host}",
            f"--metrics-port={options.ports.metrics}",
            f"--exit-timeout-secs={options.drain_seconds}",
            "--log-format=ISO8601",
        ]

    def _require_free_ports(self) -> None:
        ports = self.options.ports
        for purpose, port in (("HTTP", ports.http), ("gRPC", ports.grpc), ("metrics", ports.metrics)):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.options.host, port))
                except OSError as error:
                    where = f"{purpose} port {port} on {self.options.host}"
                    raise CganError(
                        f"{where} cannot be used ({error.strerror}); stop what uses it or choose another with "
                        f"--{purpose.lower()}-port."
                    ) from error

    def _wait_until_ready(self) -> None:
        assert self._process is not None  # noqa: S101 - set by _launch
        deadline = time.monotonic() + self.options.start_seconds
        waiting = list(self.models)
        while waiting:
            if self._process.poll() is not None:
                raise CganError(f"tritonserver ended while starting: {_telling_line(self.log)}")
            if time.monotonic() > deadline:
                raise CganError(
                    f"{waiting[0]} was not ready after {self.options.start_seconds:.0f} s: "
                    f"{_telling_line(self.log)}"
                )
            if self._answers(f"/v2/models/{waiting[0]}/ready"):
                waiting.pop(0)
            else:
                time.sleep(POLL_SECONDS)

    def _answers(self, path: str, data: bytes | None = None) -> bool:
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.http_url + path, data=data, headers={"x-cgan-admin": self._admin_key}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - our own server
                return bool(reply.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _repair_models(self) -> None:
        """Load a model again when a process of it died: Triton would neither restart it nor call it unready."""
        complete = self._model_processes()
        while (process := self._process) is not None and process.poll() is None:
            time.sleep(REPAIR_SECONDS)
            running = self._model_processes()
            for name in [name for name, count in complete.items() if running[name] < count]:
                self._answers(f"/v2/repository/models/{name}/load", b"{}")

    def _model_processes(self) -> Counter[str]:
        """Number of live processes of each model, from the server's children (a dead one has no command line)."""
        found: Counter[str] = Counter()
        for listing in Path(f"/proc/{self._process.pid if self._process else 0}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread or a child may end while we look
                for child in listing.read_text().split():
                    words = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
                    found.update(name for name in self.models if any(f"/{name}/1/" in word for word in words))
        return found

    def _end_process(self, process: subprocess.Popen[bytes]) -> int:
        """End it by SIGTERM, which lets requests in flight end; kill what is left of its group afterwards."""
        group = process.pid
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(self.options.drain_seconds + 10)
            except subprocess.TimeoutExpired:
                process.kill()
        with contextlib.suppress(ProcessLookupError):  # nothing was left
            os.killpg(group, signal.SIGKILL)
        return process.wait()


def reachable_host(host: str) -> str:
    """The address by which this machine reaches what is bound to `host`."""
    everywhere = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return "127.0.0.1" if host in everywhere else host


def _telling_line(log: str) -> str:
    """The last line of Triton's log that reports an error, else its last line."""
    lines = [line for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if " E " in line or line.startswith("E") or "rror" in line]
    return (telling or lines or ["it wrote no log"])[-1][-400:].strip()


def _sweep() -> None:
    """Remove the files of launchers that were killed; those of running ones stay."""
    folders = Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*")
    for left in (*SHM_FOLDER.glob(f"{SHM_PREFIX}*"), *folders):
        owner = left.name.removeprefix(SHM_PREFIX).removeprefix(FOLDER_PREFIX).replace("-", "_").partition("_")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _remove_shared_memory(owner: int) -> None:
    for region in SHM_FOLDER.glob(f"{SHM_PREFIX}{owner}_*"):
        region.unlink(missing_ok=True)
