"""What the front models spend their time on, as metrics of Triton."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import triton_python_backend_utils as pb

__all__ = ["METRIC", "STAGES", "StageTimes"]

METRIC: Final = "cgan_stage_seconds_total"
# Reading a request and decoding its files; drawing the noise; the call of the engine, with its queue; checking and
# encoding the answer.
STAGES: Final = ("read", "noise", "core", "answer")
REPORT_SECONDS: Final = 1.0  # each report is a message to Triton's process for each stage


class StageTimes:
    """Seconds by stage. Triton shows them at most `REPORT_SECONDS` after they were spent, once a request comes.

    Args:
        model: as clients call it.
        clock: in seconds.
    """

    def __init__(self, model: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._spent = dict.fromkeys(STAGES, 0.0)
        self._inner = 0.0
        self._reported = clock()
        self._counters: dict[str, Any] = {}
        text = "Seconds of the model by stage"
        try:
            # Kept: Triton takes the counters away with it.
            self._family = pb.MetricFamily(name=METRIC, description=text, kind=pb.MetricFamily.COUNTER)
            self._counters = {s: self._family.Metric(labels={"model": model, "stage": s}) for s in STAGES}
        except pb.TritonModelException:
            return  # this server shows no metrics

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The time of the block is of this stage, without that of stages inside it."""
        began, outer = self._clock(), self._inner
        self._inner = 0.0
        try:
            yield
        finally:
            took = self._clock() - began
            self._spent[name] += took - self._inner
            self._inner = outer + took

    def report(self) -> None:
        """Tell Triton, unless that was done a moment ago."""
        now = self._clock()
        if now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        for name, counter in self._counters.items():
            counter.increment(self._spent[name])
            self._spent[name] = 0.0
