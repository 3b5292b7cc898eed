"""A worker process as the parent sees it.

Each worker leads its own process group, so closing it ends whatever it started (a compiler, for example), and
Ctrl-C in the terminal reaches the parent alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, final

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array

from cgan_bench.backends.base import Backend, Timed
from cgan_bench.target import Precision, Target

__all__ = ["Worker", "WorkerDiedError"]

GRACE_SECONDS = 5.0


class WorkerDiedError(CganError):
    """A worker process ended by itself."""


@final
class Worker:
    """One process with one backend; a context manager that leaves no process behind.

    Args:
        name: what it works on, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cgan_bench.worker_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                # The parent's own search path: what a backend was imported from here is found there too.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._connection = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._process.pid

    def open(self, backend: Backend, target: Target, threads: int) -> tuple[str, Contract, Precision]:
        """Load a backend; return its description, its contract and what it computes in."""
        description, contract, precision = self._ask("open", backend, target, threads)
        return str(description), contract, precision

    def time(self, seeds: list[int]) -> Timed:
        """One inference on the clock."""
        timed: Timed = self._ask("time", seeds)
        return timed

    def answers(self, seeds: list[int]) -> dict[str, Array]:
        """The outputs of one inference."""
        outputs: dict[str, Array] = self._ask("answers", seeds)
        return outputs

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run an importable function in the worker."""
        return self._ask("run", function, *arguments)

    def hold(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Keep what an importable function returns, in the worker, for `call`."""
        self._ask("hold", function, *arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object that the worker keeps."""
        return self._ask("call", method, *arguments)

    def pause(self) -> None:
        """Stop the process and everything it started, in the middle of whatever they do."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def peak_mb(self) -> float:
        """Peak memory so far, in MB."""
        return float(self._ask("peak_mb"))

    def close(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End the process and everything it started; an idle one ends by itself when the connection closes."""
        self._connection.close()
        with contextlib.suppress(ProcessLookupError):
            self.resume()  # it cannot end while it is stopped
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            pass  # busy: ended below
        finally:  # an impatient second Ctrl-C too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(grace_seconds=GRACE_SECONDS if error is None else 0)

    def _ask(self, method: str, *arguments: Any) -> Any:
        """One request, one answer.

        Raises:
            CganError: as the worker raised it.
            WorkerDiedError: the process is gone.
        """
        try:
            self._connection.send((method, arguments))
            value, error = self._connection.recv()
        except (EOFError, ConnectionResetError, BrokenPipeError) as error:
            raise WorkerDiedError(self._how_it_ended()) from error
        if error is not None:
            raise error
        return value

    def _how_it_ended(self) -> str:
        """How the process ended, and the last line it wrote."""
        try:
            status = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"the worker for {self.name} closed the connection."
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        hint = " (out of memory?)" if status == -signal.SIGKILL else ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the worker for {self.name} ended with {how}{hint}{': ' + last[:200] if last else ''}."
