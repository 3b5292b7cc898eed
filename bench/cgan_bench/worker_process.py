"""The inside of a worker process: one backend, asked over a socket.

Started as ``python -m cgan_bench.worker_process FD``. It imports only what its backend needs, so its peak memory is
that of the backend (with the interpreter). It ends when the other end of the socket closes, so it never
outlives its parent. multiprocessing's own spawn would import the parent's main module as well.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.processes import end_with_parent
from cgan_runtime.runners.base import Array

from cgan_bench.backends.base import Backend, Opened, Timed, kept_values
from cgan_bench.target import Precision, Target

__all__ = ["Requests", "main", "peak_memory_mb"]


class Requests:
    """What a parent can ask of a worker. Everything given and returned is pickled."""

    def __init__(self) -> None:
        self._opened: Opened | None = None
        self._held: Any = None

    def open(self, backend: Backend, target: Target, threads: int) -> tuple[str, Contract, Precision]:
        """Load the backend; return its description, its contract and what it computes in."""
        self._opened = backend.open(target, threads=threads)
        return self._opened.description, self._opened.contract, self._opened.precision

    def time(self, seeds: list[int]) -> Timed:
        """One inference on the clock; its conditions were made before."""
        opened = self._ready()
        call = opened.prepare(seeds)
        started = perf_counter_ns()
        outputs = call()
        elapsed_ms = (perf_counter_ns() - started) / 1e6
        noise_ms = None if opened.noise is None else opened.noise.last_ms
        return Timed(elapsed_ms=elapsed_ms, noise_ms=noise_ms, kept=kept_values(outputs, seeds))

    def answers(self, seeds: list[int]) -> dict[str, Array]:
        """The outputs of one inference."""
        return self._ready().prepare(seeds)()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run any importable function in this process."""
        return function(*arguments)

    def hold(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Keep what an importable function returns, for `call`."""
        self._held = function(*arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object that is kept."""
        return getattr(self._held, method)(*arguments)

    def peak_mb(self) -> float:
        """Most memory this process has held so far, in MB."""
        return peak_memory_mb()

    def _ready(self) -> Opened:
        assert self._opened is not None, "open() comes first"  # noqa: S101 - the parent's protocol
        return self._opened


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB (10^6 bytes), interpreter and libraries included.

    On Linux from VmHWM: getrusage's ru_maxrss survives exec there, so a child of a large process would report
    its parent's peak as its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def serve(connection: Connection) -> None:
    """Answer (method, arguments) with (value, None) or (None, error) until the parent closes the connection."""
    requests = Requests()
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            answer: tuple[Any, Exception | None] = (getattr(requests, method)(*arguments), None)
        except CganError as error:
            answer = (None, type(error)(str(error)))  # without its cause, which may not pickle
        except Exception as error:  # noqa: BLE001 - whatever a backend raises becomes a sentence in the parent
            text = " ".join(str(error).split())[:300]
            answer = (None, CganError(f"{type(error).__name__}: {text}" if text else type(error).__name__))
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    end_with_parent()
    with Connection(int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    main()
