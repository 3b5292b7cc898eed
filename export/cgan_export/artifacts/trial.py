"""How fast the INT8 file is beside FP32, on ONNX Runtime and this machine: a trial of seconds, and a note.

Nothing of it is written: a bundle has the same bytes on every machine, and a disturbed trial costs no artifact.
`cgan-bench` measures properly.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Final

from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Runner, Tensors
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

from cgan_export.artifacts.artifacts import BuildContext, feed_of

__all__ = ["int8_note", "note_of_ratio", "times_as_fast"]

MIN_ROUNDS: Final = 5
MAX_ROUNDS: Final = 300
LIMIT_S: Final = 3.0
SAME: Final = 0.05  # what a few seconds cannot tell apart


def int8_note(int8: bytes, fp32: bytes, context: BuildContext) -> str:
    """What to tell whoever asked for INT8, from the times of both files on the first sample of the gates."""
    feed = feed_of(context.contract, context.samples, 0)
    return note_of_ratio(times_as_fast(int8, fp32, context.contract, feed))


def note_of_ratio(ratio: float) -> str:
    """The note for an INT8 file that is `ratio` times as fast as FP32."""
    if ratio >= 1 + SAME:
        return f"INT8 is {ratio:.1f} times as fast as FP32 on ONNX Runtime here."
    what = "slower than" if ratio <= 1 - SAME else "about as fast as"
    return f"INT8 is {what} FP32 on ONNX Runtime here ({ratio:.2f} times as fast): use FP32 on this machine."


def times_as_fast(model: bytes, other: bytes, contract: Contract, feed: Tensors) -> float:
    """The time of `other` over that of `model`: the median over rounds in which each runs one sample.

    Args:
        model: an ONNX file.
        other: what it is compared with.
        contract: of both.
        feed: every input of the graph, one sample.
    """
    runners = [OnnxRuntimeRunner(data, contract) for data in (model, other)]
    ratios: list[float] = []
    try:
        for runner in runners:
            runner.infer(feed)
        end_s = time.perf_counter() + LIMIT_S
        while len(ratios) < MIN_ROUNDS or (len(ratios) < MAX_ROUNDS and time.perf_counter() < end_s):
            seconds = [_seconds_of(runner, feed) for runner in runners]
            ratios.append(seconds[1] / seconds[0])
    finally:
        for runner in runners:
            runner.close()
    return median(ratios)


def _seconds_of(runner: Runner, feed: Tensors) -> float:
    began_s = time.perf_counter()
    runner.infer(feed)
    return time.perf_counter() - began_s
