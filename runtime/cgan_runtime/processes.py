"""Let the kernel end a process when its parent ends: a process that is stopped cannot notice it itself."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

__all__ = ["end_with_parent", "stop_with_parent"]

_PR_SET_PDEATHSIG: Final = 1
# Looked up here: between fork and exec of a process with threads the loader's lock may be held for ever.
_PRCTL: Final = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform.startswith("linux") else None


def end_with_parent(*_: object) -> None:
    """On Linux, be killed when the parent ends, however it ends. Elsewhere nothing happens.

    Arguments are ignored, so that it can be the `worker_init_fn` of a loader.
    """
    _signal_at_end_of_parent(signal.SIGKILL)


def stop_with_parent() -> None:
    """The same with SIGTERM: the process may finish what it is doing first."""
    _signal_at_end_of_parent(signal.SIGTERM)


def _signal_at_end_of_parent(number: signal.Signals) -> None:
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, number)
