"""Let the kernel end a process when its parent ends: a process that is stopped cannot notice it itself."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["end_with_parent", "stopping_with_parent"]

_PR_SET_PDEATHSIG: Final = 1
_BECOME: Final = "import ctypes, os, sys; ctypes.CDLL(None).prctl({}, {}); os.execv(sys.argv[1], sys.argv[1:])"


def end_with_parent(*_: object) -> None:
    """On Linux, be killed when the parent ends, however it ends. Elsewhere nothing happens.

    Arguments are ignored, so that it can be the `worker_init_fn` of a loader.
    """
    _signal_at_end_of_parent(signal.SIGKILL)


def stopping_with_parent(words: Sequence[str]) -> list[str]:
    """A command line for Linux that runs `words` and gets SIGTERM when the thread that started it ends.

    A Python does that before it becomes the program. `preexec_fn` would do it in a fork of a process with threads,
    where handlers of libraries run: those of gRPC ended a start now and then.
    """
    return [sys.executable, "-ISc", _BECOME.format(_PR_SET_PDEATHSIG, signal.SIGTERM.value), *words]


def _signal_at_end_of_parent(number: signal.Signals) -> None:
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
