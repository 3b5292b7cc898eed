"""Notes Ctrl-C and SIGTERM, so that the loop can ask between two steps whether to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["stop_requested"]


@contextlib.contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield `asked()`: true once a signal came. A second signal interrupts at once."""
    asked = False
    before: dict[signal.Signals, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True

    with contextlib.suppress(ValueError):  # outside the main thread no signal can be caught, and none arrives
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
