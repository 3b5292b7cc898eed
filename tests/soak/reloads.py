"""Put one version after another behind the same name; every fifth is no sound bundle."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import BundleError, CganError, CheckFailedError
from cgan_runtime.serving.environment import make_environment
from cgan_runtime.supervision.control import Request, ask, control_socket
from cgan_runtime.supervision.publishing import Publisher
from cgan_runtime.supervision.supervisor import Supervisor

from tests.soak.base import Report, spread
from tests.supervision.clients import Clients, ask_once, picture_of, settings_of_a_test
from tests.supervision.versions import other_version, unsound_versions

__all__ = ["Publications", "Versions", "publish", "reloads", "reloads_of"]

UNSOUND_EVERY: Final = 5
CLIENTS: Final = 2
BETWEEN: Final = 5  # answers at least after each publication


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Bundles of one name and contract.

    Attributes:
        sound: the first is that with which the server is started.
        damaged: its model is not what its hash says.
        liar: its model does not give its golden samples.
    """

    sound: tuple[Path, ...]
    damaged: Path
    liar: Path

    @classmethod
    def of(cls, first: Bundle, folder: Path, count: int) -> Versions:
        """So many sound ones, and the others."""
        later = [other_version(first, folder / f"version-{n}", 1.1 + n / 10) for n in range(1, count)]
        return cls(sound=(first.path, *later), **unsound_versions(first, folder))

    def in_turn(self, count: int) -> Iterator[tuple[Path, type[CganError] | None]]:
        """What to publish, and the error that is due."""
        sound = itertools.cycle((*self.sound[1:], self.sound[0]))
        unsound = itertools.cycle(((self.damaged, BundleError), (self.liar, CheckFailedError)))
        for number in range(1, count + 1):
            yield next(unsound) if number % UNSOUND_EVERY == 0 else (next(sound), None)


@dataclass
class Publications:
    """What became of every one."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    failures: list[str] = field(default_factory=list)

    def one(self, http_port: int, path: Path, due: type[CganError] | None) -> int | None:
        """Publish a bundle; its version, if it is served now."""
        began = time.monotonic()
        try:
            said = publish(http_port, path)
        except CganError as error:
            if due is None or not isinstance(error, due):
                self.failures.append(f"{path.name}: {error!r:.300}")
            self.refused += 1
            return None
        self.seconds.append(time.monotonic() - began)
        served = re.fullmatch(rf"\S+ version (\d+) is served, from {re.escape(str(path))} \(.*", said)
        if due is not None or served is None:
            self.failures.append(f"{path.name}: {said}")
        return int(served[1]) if served else None

    def figures(self) -> dict[str, object]:
        return {"published": len(self.seconds), "refused": self.refused, **spread(self.seconds or [0])}


def publish(http_port: int, path: Path) -> str:
    """What the server says."""
    return str(ask(http_port, Request(action="publish", bundle=str(path))))


def reloads(bundle: Bundle, count: int, folder: Path, say: Callable[[str], object]) -> Report:
    """So many publications under clients that ask without a pause."""
    versions = Versions.of(bundle, folder, 4)
    environment = make_environment(say=lambda _: None)
    with (
        Supervisor([bundle], environment, settings_of_a_test()) as server,
        control_socket(server, Publisher(server)),
    ):
        return reloads_of(server, versions, count, say)


def reloads_of(server: Supervisor, versions: Versions, count: int, say: Callable[[str], object]) -> Report:
    """The same of a server that runs the first version and listens to commands."""
    report, done, current = Report(), Publications(), versions.sound[0]
    pictures = {path: picture_of(path) for path in versions.sound}
    with Clients(server.grpc_url, CLIENTS) as clients:
        clients.wait_for(BETWEEN)
        began, before = time.monotonic(), clients.count
        for number, (path, due) in enumerate(versions.in_turn(count), 1):
            if done.one(server.settings.http_port, path, due) is not None:
                current = path
            got = ask_once(server.grpc_url)
            report.require(got == pictures[current], f"publication {number}: not the answer of {current.name}")
            clients.wait_for(BETWEEN)
            say(f"{number}: {path.name}, {clients.count} requests, {len(clients.failures)} failed")
        asked, seconds = clients.count - before, time.monotonic() - began
    wrong = len(set(clients.answers) - set(pictures.values()))
    report.failures += done.failures
    report.require(not wrong, f"{wrong} wrong answers")
    report.require(not clients.failures, f"{len(clients.failures)} failed, as {clients.failures[:1]}")
    report.figures = {
        **done.figures(),
        "requests": asked,
        "per_second": round(asked / seconds, 1),
        "failed": len(clients.failures),
        "wrong": wrong,
    }
    return report
