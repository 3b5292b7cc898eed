"""How fast the INT8 file is beside FP32, on ONNX Runtime and this machine: a trial of seconds, and a note.

Nothing of it is written: a bundle has the same bytes on every machine, and a disturbed trial costs no artifact.
`cgan-bench` measures properly.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Final

from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Tensors
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

from cgan_export.artifacts.artifacts import BuildContext, feed_of

__all__ = ["int8_note", "note_of_ratio", "times_as_fast"]

MIN_ROUNDS: Final = 5
MAX_ROUNDS: Final = 40
LIMIT_S: Final = 3.0
SAME: Final = 0.05  # what a few seconds cannot tell apart


def int8_note(int8: bytes, fp32: bytes, context: BuildContext) -> str:
    """What to tell whoever asked for INT8, from the median times of both files on the first sample of the gates."""
    feed = feed_of(context.contract, context.samples, 0)
    return note_of_ratio(times_as_fast(int8, fp32, context.contract, feed))


def note_of_ratio(ratio: float) -> str:
    """The note for an INT8 file that is `ratio` times as fast as FP32."""
    if ratio >= 1 + SAME:
        return f"INT8 is {ratio:.1f} times as fast as FP32 on ONNX Runtime here."
    what = "slower than" if ratio <= 1 - SAME else "about as fast as"
    return f"INT8 is {what} FP32 on ONNX Runtime here ({ratio:.2f} times as fast): use FP32 on this machine."


def times_as_fast(model: bytes, other: bytes, contract: Contract, feed: Tensors) -> float:
    """The median time of `other` over that of `model`, one sample at a time, in turns and in a session each.

    Args:
        model: an ONNX file.
        other: what it is compared with.
        contract: of both.
        feed: every input of the graph, one sample.
    """
    runners = [OnnxRuntimeRunner(data, contract) for data in (model, other)]
    times: tuple[list[float], list[float]] = ([], [])
    try:
        for runner in runners:
            runner.infer(feed)
        end_s = time.perf_counter() + LIMIT_S
        while len(times[0]) < MIN_ROUNDS or (len(times[0]) < MAX_ROUNDS and time.perf_counter() < end_s):
            for runner, seconds in zip(runners, times, strict=True):
                began_s = time.perf_counter()
                runner.infer(feed)
                seconds.append(time.perf_counter() - began_s)
    finally:
        for runner in runners:
            runner.close()
    return median(times[1]) / median(times[0])
