"""A process that is started again whenever it ends, hangs or was stopped, and the rule for when to give up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, Literal, Protocol, TypeVar, final

from cgan_runtime.errors import CganError

__all__ = ["Change", "Keepable", "Kept"]

Change = Literal["up", "down", "same"]
MOST_FAILED_STARTS: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.2


class Keepable(Protocol):
    """What is asked of a process that is kept."""

    @property
    def began(self) -> float:
        """When it was started, by the monotonic clock in seconds."""

    def is_ready(self) -> bool:
        """Whether it serves."""

    def trouble(self) -> str | None:
        """What is wrong with it, in words; None where it runs."""

    def failure(self, trouble: str) -> str:
        """Why it never served, as a sentence; `trouble` is what was seen from outside."""

    def kill(self) -> object:
        """End it at once."""


P = TypeVar("P", bound=Keepable)


@final
class Kept(Generic[P]):
    """A process and those that follow it.

    Args:
        launch: starts one and returns without waiting for it.
        start_seconds: longest wait until one serves.
        say: told of every end and every new start, in one line.

    Attributes:
        process: the one that was started last; None between two.
        ready: it serves.
        restarts: how many served after the first one.
    """

    def __init__(self, launch: Callable[[], P], *, start_seconds: float, say: Callable[[str], object]) -> None:
        self.process: P | None = None
        self.ready = False
        self.restarts = -1
        self._launch, self._start_seconds, self._say = launch, start_seconds, say
        self._failures = 0
        self._not_before = 0.0
        self._lost_at = 0.0
        self._suspicion: str | None = None

    def suspect(self, reason: str) -> None:
        """Take the process for one that does not serve, though it runs."""
        self._suspicion = reason

    def tick(self) -> Change:
        """Look once at the process, and do what is needed: to be called several times a second.

        Raises:
            CganError: the first start failed, or `MOST_FAILED_STARTS` of them did, one after the other.
        """
        now = time.monotonic()
        if self.process is None:
            if now >= self._not_before:
                self._start()
            return "same"
        trouble = self.process.trouble() or self._suspicion
        if trouble is None and not self.ready and now - self.process.began > self._start_seconds:
            trouble = f"it was not ready after {self._start_seconds:.0f} s"
        if trouble is not None:
            return self._lose(trouble)
        if not self.ready and self.process.is_ready():
            self.ready, self._failures = True, 0
            self.restarts += 1
            if self.restarts:
                self._say(f"serving again after {now - self._lost_at:.1f} s (restart {self.restarts})")
            return "up"
        return "same"

    def _start(self) -> None:
        self._suspicion = None
        try:
            self.process = self._launch()
        except (CganError, OSError) as error:
            self._failed(str(error), error)

    def _lose(self, trouble: str) -> Change:
        assert self.process is not None  # noqa: S101 - only a process is in trouble
        was_ready, why = self.ready, self.process.failure(trouble)
        self.process.kill()
        self.process, self.ready = None, False
        if was_ready:
            self._lost_at = time.monotonic()
            self._say(f"{trouble}; starting again")
        else:
            self._failed(why)
        return "down"

    def _failed(self, why: str, cause: Exception | None = None) -> None:
        self._failures += 1
        if self.restarts < 0:
            raise CganError(why) from cause
        if self._failures >= MOST_FAILED_STARTS:
            raise CganError(f"{MOST_FAILED_STARTS} starts in a row failed, the last one so: {why}") from cause
        pause = FIRST_PAUSE_SECONDS * 2**self._failures
        self._not_before = time.monotonic() + pause
        self._say(f"{why.rstrip('.')}; trying again in {pause:.1f} s")
