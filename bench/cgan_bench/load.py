"""A closed loop: every client sends its next request when the last one was answered."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from time import perf_counter, perf_counter_ns

from cgan_bench.backends.base import Opened
from cgan_bench.workload import round_seeds

__all__ = ["closed_loop"]

WARM_UP_REQUESTS = 2


def closed_loop(clients: Sequence[Opened], *, batch: int, seconds: float) -> tuple[list[float], float]:
    """Latency of every request [ms], and the wall-clock time from the first to the last [s].

    Inputs are made before each request's clock starts. No two requests share a seed.

    Raises:
        CganError: what the first failing client met.
    """
    rounds = itertools.count()  # next() on it is atomic
    latencies_ms: list[float] = []
    errors: list[Exception] = []
    gate = threading.Barrier(len(clients) + 1)
    ends: list[float] = []

    def work(client: Opened) -> None:
        try:
            for _ in range(WARM_UP_REQUESTS):
                client.prepare(round_seeds(next(rounds), batch))()
        except Exception as error:  # noqa: BLE001 - handed to the parent, after the barrier that others wait at
            errors.append(error)
        gate.wait()
        deadline = perf_counter() + seconds
        while not errors and perf_counter() < deadline:
            call = client.prepare(round_seeds(next(rounds), batch))
            started = perf_counter_ns()
            try:
                call()
            except Exception as error:  # noqa: BLE001 - handed to the parent
                errors.append(error)
                return
            latencies_ms.append((perf_counter_ns() - started) / 1e6)
        ends.append(perf_counter())

    threads = [threading.Thread(target=work, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    gate.wait()
    started = perf_counter()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return latencies_ms, max(ends) - started
