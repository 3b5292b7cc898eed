"""Let the kernel end a process when its parent ends: a process that is stopped cannot notice it itself."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from typing import Final

__all__ = ["end_with_parent", "stop_with_parent"]

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(*_: object) -> None:
    """On Linux, be killed when the parent ends, however it ends. Elsewhere nothing happens.

    Arguments are ignored, so that it can be the `worker_init_fn` of a loader.
    """
    _signal_at_end_of_parent(signal.SIGKILL)


def stop_with_parent() -> None:
    """The same with SIGTERM: the process may finish what it is doing first."""
    _signal_at_end_of_parent(signal.SIGTERM)


def _signal_at_end_of_parent(number: signal.Signals) -> None:
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
