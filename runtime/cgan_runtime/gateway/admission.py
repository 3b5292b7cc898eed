"""Which requests are worked on now, which wait, and which are refused at once.

Every bundle has a lane: so many rows are with Triton at once that its batches are full, and the others wait in
order of arrival. A request whose turn would come too late is refused when it arrives, so that those that are
accepted are answered within their time; what is measured of the last answers says how long a row takes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from cgan_runtime.gateway.memory import Claim, Memory
from cgan_runtime.gateway.refusal import full
from cgan_runtime.gateway.settings import Limits

__all__ = ["Admission", "Pace"]

BATCHES_AHEAD: Final = 2  # one is executed while the next one fills
MEMORY_OF_PACE: Final = 64  # rows that the measured pace remembers, about
LEAST_ROWS: Final = 7  # about: the first answer of a batch seems to have taken the time of all of it


@dataclass
class Pace:
    """How long a row takes while there is work, from the answers of the last `MEMORY_OF_PACE` rows."""

    clock: Callable[[], float]
    _rows: float = 0.0
    _seconds: float = 0.0
    _busy_since: float | None = None

    @property
    def seconds_per_row(self) -> float:
        """0 before the first answers: then nothing is refused for its time."""
        return self._seconds / self._rows if self._rows >= LEAST_ROWS else 0.0

    def began(self) -> None:
        """There is work now."""
        if self._busy_since is None:
            self._busy_since = self.clock()

    def answered(self, rows: int, *, more: bool) -> None:
        """So many rows were answered; `more` are being worked on."""
        now = self.clock()
        assert self._busy_since is not None  # noqa: S101 - what is answered has begun
        fade = 0.5 ** (rows / MEMORY_OF_PACE)
        self._rows = self._rows * fade + rows
        self._seconds = self._seconds * fade + (now - self._busy_since)
        self._busy_since = now if more else None

    def stopped(self, *, more: bool) -> None:
        """Work ended without an answer, which says nothing about the pace."""
        self._busy_since = self.clock() if more else None


@dataclass
class _Lane:
    """The requests of one bundle."""

    pace: Pace
    limit: int
    rows_inside: int = 0
    requests_inside: int = 0
    queue: deque[_Turn] = field(default_factory=deque)

    @property
    def rows_waiting(self) -> int:
        return sum(turn.rows for turn in self.queue)


@dataclass(eq=False)
class _Turn:
    """A request that waits."""

    rows: int
    memory: int
    claim: Claim
    deadline: float
    come: asyncio.Future[None]


class Admission:
    """Slots of all lanes.

    Attributes:
        memory: of all requests; where it becomes free, the next ones are let in.

    Args:
        limits: of requests.
        clock: seconds, as the event loop's.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._lanes: dict[str, _Lane] = {}
        self.memory = Memory(limits.memory_bytes, freed=self._admit)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(len(lane.queue) for lane in self._lanes.values())

    @property
    def inside(self) -> int:
        """Requests that are worked on."""
        return sum(lane.requests_inside for lane in self._lanes.values())

    @asynccontextmanager
    async def enter(
        self, name: str, *, rows: int, memory: int, claim: Claim, max_batch: int, deadline: float
    ) -> AsyncIterator[None]:
        """Wait for a slot; inside the block it is held.

        Args:
            name: of the bundle.
            rows: of the request.
            memory: that its work needs, estimated, in bytes.
            claim: what it holds; from its turn on `memory`, until its owner ends it.
            max_batch: of the bundle.
            deadline: when the answer is due, on the clock.

        Raises:
            Refusal: there is no slot in time.
        """
        lane = self._lanes.setdefault(name, _Lane(pace=Pace(self._clock), limit=BATCHES_AHEAD * max_batch))
        lane.limit = BATCHES_AHEAD * max_batch
        claim.require_possible(memory)
        await self._wait(lane, _Turn(rows, memory, claim, deadline, asyncio.get_running_loop().create_future()))
        lane.pace.began()
        answered = False
        try:
            yield
            answered = True
        finally:
            lane.rows_inside -= rows
            lane.requests_inside -= 1
            if answered:
                lane.pace.answered(rows, more=lane.requests_inside > 0)
            else:
                lane.pace.stopped(more=lane.requests_inside > 0)
            self._admit()

    async def _wait(self, lane: _Lane, turn: _Turn) -> None:
        left = max(0.0, turn.deadline - self._clock())
        ahead = lane.rows_inside + lane.rows_waiting
        due = (ahead + turn.rows) * lane.pace.seconds_per_row
        if due > left:
            raise full(f"the answer would take about {due:.1f} s, and there are {left:.1f} s for it.", due - left)
        if self.waiting >= self._limits.waiting:
            raise full(f"{self.waiting} requests wait already.", due)
        lane.queue.append(turn)
        self._admit()
        try:
            async with asyncio.timeout(left):
                await turn.come
        except TimeoutError as error:
            self._leave(lane, turn)
            raise full("the request waited for its whole time.", due) from error
        except asyncio.CancelledError:
            self._leave(lane, turn)
            raise

    def _leave(self, lane: _Lane, turn: _Turn) -> None:
        """Give up a turn, whether it has come meanwhile or not."""
        if turn in lane.queue:
            lane.queue.remove(turn)
        elif turn.come.done() and not turn.come.cancelled():
            lane.rows_inside -= turn.rows
            lane.requests_inside -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in, in order of arrival, what there is room for; one request may always be inside its lane."""
        for lane in self._lanes.values():
            while lane.queue:
                turn = lane.queue[0]
                crowded = lane.requests_inside > 0 and lane.rows_inside + turn.rows > lane.limit
                if turn.come.done():  # it was cancelled
                    lane.queue.popleft()
                    continue
                if crowded or not turn.claim.work(turn.memory):
                    break
                lane.queue.popleft()
                lane.rows_inside += turn.rows
                lane.requests_inside += 1
                turn.come.set_result(None)
