"""The two loops that put a server under load, in one event loop whose clock is the only one.

closed  a client sends its next request when the last one was answered: the server sets the pace.
open    requests leave at planned instants, whatever the server does. Latency counts from the planned instant:
        a slow server cannot make it look better by holding back the requests that would have waited.

A client that was refused pauses as long as the server says in Retry-After, else PAUSE_SECONDS, as clients should.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from cgan_bench.load.clients import FailedError, RefusedError, Reply

__all__ = ["MAX_IN_FLIGHT", "Arrivals", "Endpoint", "Level", "Load", "Sample", "planned_instants"]

Arrivals = Literal["poisson", "even"]
Ending = Literal["right", "wrong", "refused", "failed"]

PAUSE_SECONDS: Final = 1.0
TICK_SECONDS: Final = 0.02
MAX_IN_FLIGHT: Final = 512  # beyond it an open loop gives up: the server takes less than it is offered


@dataclass(frozen=True, kw_only=True)
class Level:
    """How hard the server is pressed: by `clients` in a closed loop, or at `rate` requests a second."""

    clients: int = 0
    rate: float = 0.0
    arrivals: Arrivals = "poisson"

    @property
    def title(self) -> str:
        """In words."""
        if self.rate:
            return f"{self.rate:g}/s {self.arrivals}"
        return f"{self.clients} client{'s' * (self.clients > 1)}"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One request, in seconds of the event loop's clock.

    Attributes:
        planned_s: when it was to leave; in a closed loop when it left.
        sent_s: when it left.
        done_s: when the answer was there, before it was looked at.
        ending: what came.
    """

    planned_s: float
    sent_s: float
    done_s: float
    ending: Ending

    @property
    def answered(self) -> bool:
        """Whether there was an answer, right or wrong."""
        return self.ending in ("right", "wrong")

    @property
    def latency_ms(self) -> float:
        """From the planned instant to the answer."""
        return (self.done_s - self.planned_s) * 1e3


class Endpoint(Protocol):
    """A model of a server, with requests whose answers are known. A seam: the laws are tested with made-up ones."""

    async def call(self, number: int) -> Reply:
        """Send request `number` modulo their count.

        Raises:
            RefusedError: the server is full.
            FailedError: no answer for another reason.
        """

    def is_right(self, number: int, reply: Reply) -> bool:
        """Whether it is the answer of this request, to the last bit."""


@dataclass(kw_only=True)
class Load:
    """One server under one load, as often as one likes: ``async with load.running():``. Samples pile up.

    Attributes:
        endpoint: what is asked.
        level: how hard.
        seed: draws the instants of Poisson arrivals.
        samples: every request so far, in the order in which they ended.
        failures: how many requests failed, by kind.
        flooded: whether an open loop gave up because MAX_IN_FLIGHT requests were unanswered.
        begun_s: when it was last started.
        planned_s: every planned instant so far at which a request left.
    """

    endpoint: Endpoint
    level: Level
    seed: int = 0
    samples: list[Sample] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    flooded: bool = False
    begun_s: float = 0.0
    planned_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._random = random.Random(self.seed)
        self._ticks: list[tuple[float, float]] = []
        self._in_flight = 0
        self._ended = asyncio.Event()

    @property
    def departures(self) -> list[tuple[float, float]]:
        """When the generator wanted to act and when it did [s]; in a closed loop a tick every TICK_SECONDS.

        An event loop that is late for its own clock is late for its clients too, and their latency holds it.
        """
        return [(sample.planned_s, sample.sent_s) for sample in self.samples] if self.level.rate else self._ticks

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send for as long as the block takes, then wait for what is under way."""
        self._ended.clear()
        self.begun_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            driver = group.create_task(self._depart(group) if self.level.rate else self._tick())
            for _ in range(self.level.clients):
                group.create_task(self._client())
            yield
            self._ended.set()
            driver.cancel()

    async def _client(self) -> None:
        now = asyncio.get_running_loop().time
        while not self._ended.is_set():
            self._in_flight += 1
            if (pause_s := await self._one(now())) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), pause_s)

    async def _tick(self) -> None:
        now = asyncio.get_running_loop().time
        for number in itertools.count(1):
            instant = self.begun_s + number * TICK_SECONDS
            await asyncio.sleep(instant - now())
            self._ticks.append((instant, now()))

    async def _depart(self, group: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time
        for after_s in planned_instants(self.level, self._random):
            if (wait_s := self.begun_s + after_s - now()) > 0:
                await asyncio.sleep(wait_s)
            if self._in_flight >= MAX_IN_FLIGHT:
                self.flooded = True
                return
            self._in_flight += 1
            self.planned_s.append(self.begun_s + after_s)
            group.create_task(self._one(self.begun_s + after_s))

    async def _one(self, planned_s: float) -> float:
        """One request; returns for how many seconds its client should pause."""
        now = asyncio.get_running_loop().time
        number, sent_s, pause_s = next(self._numbers), now(), 0.0
        ending: Ending
        try:
            reply = await self.endpoint.call(number)
        except RefusedError as error:
            done_s, ending = now(), "refused"
            pause_s = PAUSE_SECONDS if error.retry_after_s is None else error.retry_after_s
        except FailedError as error:
            done_s, ending, pause_s = now(), "failed", PAUSE_SECONDS
            self.failures[error.kind] += 1
        else:
            done_s = now()
            ending = "right" if self.endpoint.is_right(number, reply) else "wrong"
        self._in_flight -= 1
        self.samples.append(Sample(planned_s=planned_s, sent_s=sent_s, done_s=done_s, ending=ending))
        return pause_s


def planned_instants(level: Level, generator: random.Random) -> Iterator[float]:
    """Seconds after the start at which requests are to leave, without end: evenly, or by a Poisson process."""
    instant = 0.0
    while True:
        yield instant
        instant += 1 / level.rate if level.arrivals == "even" else generator.expovariate(level.rate)
