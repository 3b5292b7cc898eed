"""A process that is stopped cannot see that its parent is gone: the kernel ends it instead."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys

__all__ = ["end_with_parent"]

_PR_SET_PDEATHSIG = 1


def end_with_parent(*_: object) -> None:
    """On Linux, be killed when the parent ends, however it ends. Elsewhere nothing happens.

    Arguments are ignored, so that it can be the `worker_init_fn` of a loader.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
