"""The memory of all requests, from the first byte of each to its answer.

A request holds what has arrived of it, and once its turn comes what it is estimated to need. A quarter is for what
arrives and waits, so that there is always room for the work that makes it less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from cgan_runtime.gateway.refusal import Refusal, full

__all__ = ["WAITING_SHARE", "Claim", "Memory"]

WAITING_SHARE: Final = 4  # one part in so many is for requests that arrive and wait
RETRY_SECONDS: Final = 5


class Memory:
    """The account.

    Args:
        limit: bytes of all requests together.
        freed: called when some were given back.
    """

    def __init__(self, limit: int, *, freed: Callable[[], object] = lambda: None) -> None:
        self._waiting_limit = limit // WAITING_SHARE
        self._limit, self._freed = limit, freed
        self._waiting = 0
        self._working = 0

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return self._waiting + self._working

    @property
    def most(self) -> int:
        """Bytes that one request may need at once."""
        return self._limit - self._waiting_limit

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """What one request holds; nothing after the block."""
        claim = Claim(self)
        try:
            yield claim
        finally:
            claim.end()

    def wait(self, more: int) -> None:
        """Hold more for what arrives and waits.

        Raises:
            Refusal: there is no room for it.
        """
        if self._waiting + more > self._waiting_limit:
            raise full("too many requests are arriving at once.", RETRY_SECONDS)
        self._waiting += more

    def work(self, more: int) -> bool:
        """Hold more for what is worked on, if there is room for it."""
        if self.held + more > self._limit:
            return False
        self._working += more
        return True

    def give_back(self, *, waiting: int = 0, working: int = 0) -> None:
        """Hold less."""
        self._waiting -= waiting
        self._working -= working
        if waiting or working:
            self._freed()


class Claim:
    """What one request holds: first for its bytes, then for the work on it, then for its answer."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._waiting = 0
        self._working = 0

    def hold(self, size: int) -> None:
        """Hold so many bytes, in place of those before, for a request that arrives or waits.

        Raises:
            Refusal: there is no room for them.
        """
        if size > self._waiting:
            self._memory.wait(size - self._waiting)
        else:
            self._memory.give_back(waiting=self._waiting - size)
        self._waiting = size

    def require_possible(self, need: int) -> None:
        """Stop at a request whose turn would never come.

        Raises:
            Refusal: it needs more than any may.
        """
        if need > self._memory.most:
            raise Refusal(
                f"the request would need about {need // 2**20} MiB, and one request may need "
                f"{self._memory.most // 2**20}: send smaller images or fewer rows.",
                status=413,
                reason="too_large",
            )

    def work(self, need: int) -> bool:
        """Hold what the work needs, the request's own bytes among it; False while there is no room."""
        more = max(0, need - self._waiting)
        if not self._memory.work(more):
            return False
        self._working = more
        return True

    def keep(self, size: int) -> None:
        """The work is done: of what it held, keep no more than the size of the answer."""
        kept = min(size, self._working)
        waiting, working = self._waiting, self._working - kept
        self._waiting, self._working = 0, kept
        self._memory.give_back(waiting=waiting, working=working)

    def end(self) -> None:
        """Hold nothing."""
        self.keep(0)
