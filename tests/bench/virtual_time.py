"""An event loop whose clock jumps to the next timer instead of waiting, and servers that are made up in it.

What takes 20 ms there takes exactly 20 ms, on any machine, and no time to test.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cgan_bench.load.clients import FailedError, RefusedError, Reply

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Waits for no timer: the clock goes on by the time that would have been waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits and no timer is set"
        self.now_s += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Jumping()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now_s

    def block(self, seconds: float) -> None:
        """As if the process did something else meanwhile."""
        self.clock.now_s += seconds


def in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


@dataclass(kw_only=True)
class OneAtATime:
    """A server that makes one answer at a time, each in `service_s`; a call that finds `room` others is refused.

    Attributes:
        wrong: numbers of calls that are answered wrongly.
        fails: numbers of calls that fail.
        blocks_s: how long the generator itself does something else after each answer.
    """

    service_s: float = 0.020
    room: int = 1000
    retry_after_s: float | None = None
    wrong: frozenset[int] = frozenset()
    fails: frozenset[int] = frozenset()
    blocks_s: float = 0.0
    calls: int = 0
    inside: int = 0
    at_once: int = 0
    refused_at_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._worker = asyncio.Lock()

    async def call(self, number: int) -> Reply:
        self.calls += 1
        if number in self.fails:
            raise FailedError("HTTP 500")
        if self.inside >= self.room:
            self.refused_at_s.append(asyncio.get_running_loop().time())
            raise RefusedError("full", self.retry_after_s)
        self.inside += 1
        self.at_once = max(self.at_once, self.inside)
        async with self._worker:
            await asyncio.sleep(self.service_s)
        self.inside -= 1
        loop = asyncio.get_running_loop()
        if self.blocks_s and isinstance(loop, VirtualLoop):
            loop.block(self.blocks_s)
        return Reply(body=b"wrong" if number in self.wrong else b"right")

    def is_right(self, number: int, reply: Reply) -> bool:  # noqa: ARG002 - the seam's
        return reply.body == b"right"
