"""Rounds: every loop takes a turn of some steps, in random order, each in a process that is stopped in between.

Stopped (SIGSTOP), because a loader process would otherwise read ahead while another loop is on the clock, which
would slow that one and give its own loop images for nothing. After the timing, a process of its own compares the
first step of each loop with the plain one's. What FP32 may differ by is in step_parity.py.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cgan_runtime.errors import CganError

from cgan_bench.backends.base import missing_package
from cgan_bench.backends.torch_compile import no_compiler_reason
from cgan_bench.rounds import Plan, Say
from cgan_bench.rows import Absent, ratio
from cgan_bench.train.loops import Loop, Setup
from cgan_bench.train.rows import TrainingRow
from cgan_bench.train.step_parity import compare
from cgan_bench.worker_client import Worker, WorkerDiedError

if TYPE_CHECKING:
    from cgan_bench.train.loop_runner import Stage, Turn

__all__ = ["TrainingBlock", "measure_training"]

MIN_ROUNDS = 5
TURN_SECONDS = 0.5  # a turn has as many steps as the fastest loop takes in this time


@dataclass(frozen=True, kw_only=True)
class TrainingBlock:
    """One batch size on one device: its rows, the faster plain loop first."""

    rows: tuple[TrainingRow, ...]
    absent: tuple[Absent, ...]


@dataclass(frozen=True, kw_only=True)
class _Started:
    """A loop in its worker process, with one step taken."""

    loop: Loop
    worker: Worker
    description: str


def measure_training(setup: Setup, loops: Sequence[Loop], *, batch: int, plan: Plan, say: Say) -> TrainingBlock:
    """Measure the loops side by side at one batch size; the faster of the plain ones is the reference.

    Raises:
        CganError: no plain loop can be run.
        WorkerDiedError: a process ended by itself, out of memory for example.
    """
    absent: list[Absent] = []
    with ExitStack() as stack:
        started = []
        for loop in loops:
            say(f"batch {batch}: starting {loop.title}")
            found = _start(loop, setup, batch, stack)
            if isinstance(found, Absent):
                absent.append(found)
            else:
                started.append(found)
        if not any(one.loop.kind == "plain" for one in started):
            reasons = "; ".join(f"{one.title}: {one.reason}" for one in absent)
            raise CganError(f"there is no plain loop to compare with: {reasons}.")
        say(f"batch {batch}: measuring {len(started)} rows in turns")
        turns, steps = _rounds([one.worker for one in started], plan)
        peaks_mb = []
        for one in started:
            one.worker.resume()
            peaks_mb.append(one.worker.peak_mb())
    rows = [
        TrainingRow(
            loop=one.loop,
            description=one.description,
            batch=batch,
            steps=steps,
            latencies_ms=tuple(turn.total_ms for turn in mine),
            data_ms=statistics.median(turn.data_ms for turn in mine),
            step_ms=statistics.median(turn.step_ms for turn in mine),
            peak_memory_mb=peak_mb,
        )
        for one, mine, peak_mb in zip(started, turns, peaks_mb, strict=True)
    ]
    plain = sorted((row for row in rows if row.loop.kind == "plain"), key=lambda row: row.percentile_ms(50))
    say(f"batch {batch}: comparing one step")
    with Worker("the comparison") as worker:
        ours = [
            replace(row, difference=worker.run(compare, plain[0].loop, row.loop, setup, batch))
            for row in rows
            if row.loop.kind == "ours"
        ]
    reference = plain[0]
    others = [replace(row, ratio=ratio(reference.latencies_ms, row.latencies_ms)) for row in (*plain[1:], *ours)]
    return TrainingBlock(rows=(reference, *others), absent=tuple(absent))


def _start(loop: Loop, setup: Setup, batch: int, stack: ExitStack) -> _Started | Absent:
    """A process with the loop open and one step taken, which is when torch.compile compiles; stopped."""
    reason = missing_package("torch", "jaxtyping", extra="train")
    if reason is None and loop.compiled:
        reason = no_compiler_reason()
    if reason is None:
        worker = stack.enter_context(Worker(loop.title))
        try:
            worker.hold(_open_stage, loop, setup, batch)
            worker.call("turn", 1)
            description = str(worker.call("describe"))
        except WorkerDiedError:
            raise
        except CganError as error:
            worker.close(grace_seconds=0)
            reason = str(error)
        else:
            worker.pause()
            return _Started(loop=loop, worker=worker, description=description)
    return Absent(key=loop.key, title=loop.title, reason=reason)


def _rounds(workers: Sequence[Worker], plan: Plan) -> tuple[list[list[Turn]], int]:
    """The turns of each worker, one per round, and the steps of a turn."""
    shuffle = random.Random(plan.order_seed).shuffle
    turns: list[list[Turn]] = [[] for _ in workers]
    order = list(range(len(workers)))
    steps, fastest_ms = 1, math.inf
    started = time.monotonic()
    for index in itertools.count():
        if index == plan.warm_up:
            started = time.monotonic()
            if fastest_ms < math.inf:
                steps = max(1, round(TURN_SECONDS * 1e3 / fastest_ms))
        done = len(turns[0])
        spent_seconds = (time.monotonic() - started) / len(workers)
        if done == plan.rounds or (plan.rounds is None and done >= MIN_ROUNDS and spent_seconds >= plan.seconds):
            return turns, steps
        shuffle(order)
        for at in order:
            workers[at].resume()
            turn: Turn = workers[at].call("turn", steps)
            workers[at].pause()
            if index >= plan.warm_up:
                turns[at].append(turn)
            fastest_ms = min(fastest_ms, turn.total_ms)
    raise AssertionError  # the count has no end


def _open_stage(loop: Loop, setup: Setup, batch: int) -> Stage:
    """In the worker: torch is imported there and nowhere else."""
    from cgan_bench.train.loop_runner import open_stage

    return open_stage(loop, setup, batch)
