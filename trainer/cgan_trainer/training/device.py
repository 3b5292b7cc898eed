"""The machine a run trains on: its device, its threads, its memory allocator."""

from __future__ import annotations

import contextlib
import ctypes
import sys

import torch
from cgan_runtime.errors import UsageError
from cgan_runtime.progress import note

from cgan_trainer.checkpoint import Checkpoint
from cgan_trainer.configs.base import RunOptions

__all__ = ["choose_device", "keep_freed_memory", "set_threads"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def choose_device(run: RunOptions) -> str:
    """Where to train: "cuda" or "cpu".

    Raises:
        UsageError: a GPU is asked for, and this torch sees none.
    """
    available = torch.cuda.is_available()
    if run.device == "cuda" and not available:
        raise UsageError(
            "--device cuda cannot be used: this PyTorch sees no GPU; install one built for CUDA, or give --device "
            "cpu."
        )
    return "cuda" if run.device != "cpu" and available else "cpu"


def set_threads(run: RunOptions, last: Checkpoint | None) -> int:
    """As asked, else as the run was begun with, else what PyTorch takes."""
    begun = {} if last is None or last.training is None else last.training
    recorded = begun.get("threads")  # the oldest runs did not say
    threads = run.threads or recorded or torch.get_num_threads()
    if recorded is not None and recorded != threads:
        note(f"Going on with {threads} threads instead of {recorded}: weights may differ in their last bits.")
    torch.set_num_threads(threads)
    return threads


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one.

    By default it returns every large block to the system, which then clears its pages one by one for the next
    tensor: a fifth of the time of a step on a CPU. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_TOP_PAD, 64 << 20)
