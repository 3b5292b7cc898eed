"""How long a load goes on: until it has settled, then in windows until three in a row agree.

The rule is that of perf_analyzer: the last three windows lie within 10 % of their mean, in requests a second and in
the median latency; after MOST_WINDOWS the last three stand, marked as unstable. At planned instants the requests a
second are ours: there 90 % of those planned have to end, else the queue, and with it the latency, only grows.
In a closed loop a window ends with an answer, so that it holds whole requests: with few of them a cut at any other
instant would be off by as much as one request.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from cgan_bench.load.loops import Load, Sample

__all__ = ["TOLERANCE", "WINDOWS", "Span", "in_turns", "measured_spans"]

TOLERANCE: Final = 0.1
WINDOWS: Final = 3  # that have to agree, and whose requests count
MOST_WINDOWS: Final = 9
MOST_WARM_UPS: Final = 6
WARM_UP_SECONDS: Final = 1.0
LEAST_ENDED: Final = 10  # requests in a window
MOST_TIMES_LONGER: Final = 10  # than planned is a window of a slow server
TURN_SECONDS: Final = 1.0
LEAST_TURNS: Final = 10
RAMP: Final = 0.1  # of a turn: all clients begin at once, which is no load that lasts


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time that counts, in seconds of the event loop's clock.

    Attributes:
        cpu_s: CPU time of this process meanwhile.
    """

    start_s: float
    end_s: float
    cpu_s: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end_s - self.start_s

    def ended(self, load: Load) -> list[Sample]:
        """The requests that ended in it."""
        return [sample for sample in load.samples if self.start_s < sample.done_s <= self.end_s]

    def counted(self, load: Load) -> list[Sample]:
        """The requests whose latency counts: those planned in it; in a closed loop those that ended in it.

        At planned instants a choice by the end would leave out what the span was too short for.
        """
        if not load.level.rate:
            return self.ended(load)
        return [sample for sample in load.samples if self.start_s <= sample.planned_s < self.end_s]


async def measured_spans(load: Load, seconds: float) -> tuple[list[Span], bool]:
    """Run the load until it is stable; the spans that count, and whether they agree.

    Args:
        load: which is not running.
        seconds: of the three windows together.
    """
    window = seconds / WINDOWS
    async with load.running():
        warm: list[Span] = []
        while len(warm) < MOST_WARM_UPS and not (len(warm) > 1 and _agree(load, warm[-2:])) and not load.flooded:
            warm.append(await _span(load, min(WARM_UP_SECONDS, window)))
        spans: list[Span] = []
        while len(spans) < MOST_WINDOWS and not _settled(load, spans) and not load.flooded:
            spans.append(await _span(load, window))
    return (spans or warm)[-WINDOWS:], _settled(load, spans)


async def in_turns(loads: Sequence[Load], seconds: float, seed: int = 0) -> list[list[Span]]:
    """The same load on several servers in turns of a second, in an order drawn for each round; the spans of each.

    Args:
        loads: which are not running.
        seconds: of every load together.
        seed: draws the order.
    """
    turns = max(LEAST_TURNS, round(seconds / TURN_SECONDS))
    shuffle = random.Random(seed).shuffle
    order = list(range(len(loads)))
    spans: list[list[Span]] = [[] for _ in loads]
    for load in loads:
        async with load.running():
            warm: list[Span] = []
            while len(warm) < MOST_WARM_UPS and not (len(warm) > 1 and _agree(load, warm[-2:])):
                warm.append(await _span(load, min(WARM_UP_SECONDS, seconds / WINDOWS)))
    for _ in range(turns):
        shuffle(order)
        for at in order:
            async with loads[at].running():
                await asyncio.sleep(RAMP * seconds / turns)
                spans[at].append(await _span(loads[at], seconds / turns, least=1))
    return spans


async def _span(load: Load, seconds: float, *, least: int = LEAST_ENDED) -> Span:
    """Let the load run for so many seconds, longer where fewer than `least` requests ended."""
    now = asyncio.get_running_loop().time
    start_s, cpu_s = _mark(load, now()), time.process_time()
    for _ in range(MOST_TIMES_LONGER):
        await asyncio.sleep(seconds)
        if load.flooded or sum(sample.done_s > start_s for sample in load.samples) >= least:
            break
    return Span(start_s=start_s, end_s=_mark(load, now()), cpu_s=time.process_time() - cpu_s)


def _mark(load: Load, now_s: float) -> float:
    """Where a window begins or ends: in a closed loop with the last answer, if there was one since the start."""
    if load.level.rate:
        return now_s
    return max(load.begun_s, load.samples[-1].done_s if load.samples else 0.0)


def _settled(load: Load, spans: Sequence[Span]) -> bool:
    return len(spans) >= WINDOWS and _agree(load, spans[-WINDOWS:])


def _agree(load: Load, spans: Sequence[Span]) -> bool:
    answered = [[sample for sample in span.ended(load) if sample.answered] for span in spans]
    if not all(answered):
        return False
    medians = [median(sample.latency_ms for sample in one) for one in answered]
    rates = [len(one) / span.seconds for one, span in zip(answered, spans, strict=True)]
    return _close(medians) and (_keeps_pace(load, spans) if load.level.rate else _close(rates))


def _keeps_pace(load: Load, spans: Sequence[Span]) -> bool:
    """Whether about as many requests ended as were planned; one may be under way at the end."""
    planned = sum(span.start_s <= instant < span.end_s for span in spans for instant in load.planned_s)
    return sum(len(span.ended(load)) for span in spans) >= (1 - TOLERANCE) * planned - 1


def _close(values: Sequence[float]) -> bool:
    mean = fmean(values)
    return all(abs(value - mean) <= TOLERANCE * mean for value in values)
