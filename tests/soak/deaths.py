"""Kill or stop each process of a server, again and again, under one client."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cgan_runtime.bundle import Bundle
from cgan_runtime.serving.environment import make_environment
from cgan_runtime.serving.process_tree import children
from cgan_runtime.supervision.supervisor import Supervisor

from tests.soak.base import Report, Said, spread
from tests.supervision.clients import Clients, ask_once, ask_until, picture_of, settings_of_a_test

__all__ = ["KINDS", "Death", "deaths", "die", "processes", "settled"]

SECONDS: Final = 60.0
KINDS: Final = (
    ("tritonserver", signal.SIGKILL),
    ("tritonserver", signal.SIGSEGV),
    ("tritonserver", signal.SIGSTOP),
    ("facades_core", signal.SIGKILL),
    ("facades_core", signal.SIGSTOP),
    ("facades", signal.SIGKILL),
    ("facades_png", signal.SIGKILL),
    ("gateway", signal.SIGKILL),
    ("gateway", signal.SIGSTOP),
)


@dataclass(frozen=True, kw_only=True)
class Death:
    """One of them.

    Attributes:
        noticed_s: until the user was told.
        served_s: until the server was ready and had answered.
        failures: of the client; a gateway takes its connections along.
        answers: different ones.
    """

    noticed_s: float
    served_s: float
    failures: tuple[str, ...]
    answers: frozenset[bytes]


def processes(server: Supervisor) -> dict[str, int]:
    """What the server consists of, by name."""
    triton, gateway = server.engine.process, server.gateway.process
    assert triton is not None
    assert gateway is not None
    stubs = {
        model: number
        for number, words in children(triton.process_id).items()
        for model in ("facades_core", "facades_png", "facades")
        if any(f"/{model}/1/" in word for word in words)
    }
    return {"tritonserver": triton.process_id, "gateway": gateway.process_id, **stubs}


def settled(server: Supervisor, restarts: int, seconds: float = 15) -> None:
    """Wait until so many processes were started again and the server is ready."""
    deadline = time.monotonic() + seconds
    while server.engine.restarts + server.gateway.restarts < restarts or not server.status()["ready"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def die(server: Supervisor, said: Said, what: str, number: signal.Signals) -> Death:
    """Send a signal to one process under a client, and wait until all is well."""
    before = server.engine.restarts + server.gateway.restarts
    process = processes(server)[what]
    with Clients(server.grpc_url, 1) as clients:
        clients.wait_for(3)
        lines, began = len(said), time.monotonic()
        os.kill(process, number)
        settled(server, before + 1, SECONDS)
        ask_until(server.grpc_url, SECONDS)
        served = time.monotonic() - began
        clients.wait_for(3)
    noticed = [
        instant - began
        for line, instant in zip(said[lines:], said.instants[lines:], strict=False)
        if f"(process {process})" in line
    ]
    assert noticed, f"nobody was told that {what} (process {process}) ended: {said[lines:]}"
    return Death(
        noticed_s=noticed[0],
        served_s=served,
        failures=tuple(clients.failures),
        answers=frozenset(clients.answers),
    )


def deaths(bundle: Bundle, count: int, say: Callable[[str], object]) -> Report:
    """Every kind so many times; the first client of the next one finds a server that is well."""
    report, said, right = Report(), Said(), picture_of(bundle.path)
    environment = make_environment(say=lambda _: None)
    with Supervisor([bundle], environment, settings_of_a_test(), say=said.note) as server:
        ask_once(server.grpc_url)
        for what, number in KINDS:
            name = f"{what} {number.name}"
            found = [die(server, said, what, number) for _ in range(count)]
            wrong = sum(len(death.answers - {right}) for death in found)
            failed = [text for death in found for text in death.failures]
            report.require(not wrong, f"{name}: {wrong} wrong answers")
            report.require(what == "gateway" or not failed, f"{name}: {len(failed)} failed, as {failed[:1]}")
            figures = {
                "noticed": spread([death.noticed_s for death in found]),
                "served_again": spread([death.served_s for death in found]),
                "failed": len(failed),
                "wrong": wrong,
            }
            report.figures[name] = figures
            say(f"{name}: {figures}")
        report.figures["restarts"] = server.status()["restarts"]
    return report
