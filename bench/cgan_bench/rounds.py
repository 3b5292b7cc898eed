"""Rounds: every backend once per round, in random order, all on the same inputs.

A machine is never the same twice: it gets warmer, its neighbours come and go. So backends are not measured one
after the other but in turns, and compared within a round. The order of a round is drawn anew each time, and a
gap follows each inference, because worker threads go on spinning after it (ONNX Runtime's do by default) and
would slow whoever comes next. Warm-up rounds are not counted. What comes out is compared
after the timing, so that the comparison cannot disturb it.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array

from cgan_bench.backends import Backend, Triton, precision_of
from cgan_bench.fidelity import Agreement, compare_answers
from cgan_bench.rows import Absent, Row, ratio
from cgan_bench.target import Target
from cgan_bench.worker_client import Worker
from cgan_bench.workload import check_seeds, round_seeds

__all__ = ["Block", "Plan", "in_turns", "measure"]

MIN_ROUNDS = 10

Say = Callable[[str], None]
Answers = Sequence[dict[str, Array]]
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how it is measured.

    Attributes:
        seconds: how long the rounds go on, per row, gaps included.
        rounds: exactly so many instead.
        warm_up: rounds before, not counted.
        threads: of each library; 0 leaves the number to it.
        gap_ms: pause after each inference.
        order_seed: draws the order of each round.
    """

    seconds: float = 10.0
    rounds: int | None = None
    warm_up: int = 3
    threads: int = 0
    gap_ms: float = 60.0
    order_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Block:
    """One batch size: its rows (the reference first), and the reference's answers to the check seeds.

    Attributes:
        contract: with numbers for axes: the size that was measured.
    """

    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    contract: Contract | None
    answers: tuple[dict[str, Array], ...]


@dataclass(frozen=True, kw_only=True)
class _Started:
    """A backend in its worker process, loaded."""

    backend: Backend
    worker: Worker
    description: str
    contract: Contract


def measure(target: Target, backends: Sequence[Backend], *, batch: int, plan: Plan, say: Say) -> Block:
    """Measure the backends side by side at one batch size. The first one present is the reference.

    Raises:
        ServerError: the server does not answer.
        BadInputError: a file cannot be used.
        WorkerDiedError: a worker ended by itself.
    """
    absent: list[Absent] = []
    with ExitStack() as stack:
        started = []
        for backend in backends:
            say(f"batch {batch}: starting {backend.title}")
            found = _start(backend, target, batch, plan, stack)
            if isinstance(found, Absent):
                absent.append(found)
            else:
                started.append(found)
        if not started:
            return Block(rows=(), absent=tuple(absent), contract=None, answers=())
        say(f"batch {batch}: measuring {len(started)} rows in turns")
        latencies_ms = _rounds([one.worker for one in started], batch, plan)
        peaks_mb = [one.worker.peak_mb() for one in started]
        say(f"batch {batch}: comparing the outputs")
        answers = [tuple(one.worker.answers(seeds) for seeds in check_seeds(batch)) for one in started]
    first = started[0]
    rows = tuple(
        Row(
            key=one.backend.key,
            title=one.backend.title,
            description=one.description,
            batch=batch,
            latencies_ms=tuple(mine_ms),
            ratio=None if one is first else ratio(latencies_ms[0], mine_ms),
            precision=precision_of(one.backend),
            agreements=() if one is first else _compared(one, ours, to=first, answers=answers[0]),
            peak_memory_mb=None if isinstance(one.backend, Triton) else peak_mb,
        )
        for one, mine_ms, peak_mb, ours in zip(started, latencies_ms, peaks_mb, answers, strict=True)
    )
    return Block(rows=rows, absent=tuple(absent), contract=first.contract, answers=answers[0])


def _start(backend: Backend, target: Target, batch: int, plan: Plan, stack: ExitStack) -> _Started | Absent:
    """A worker with the backend loaded and one inference done, which is when torch.compile compiles."""
    if (reason := backend.absence(target)) is None:
        worker = stack.enter_context(Worker(backend.title))
        try:
            description, contract = worker.open(backend, target, plan.threads)
            worker.time(round_seeds(0, batch))
        except CganError as error:
            if type(error) is not CganError:  # a bad file, a silent server or a dead worker ends the run
                raise
            worker.close(grace_seconds=0)
            reason = str(error)
        else:
            return _Started(backend=backend, worker=worker, description=description, contract=contract)
    return Absent(key=backend.key, title=backend.title, reason=reason)


def _compared(one: _Started, ours: Answers, *, to: _Started, answers: Answers) -> tuple[Agreement, ...]:
    """One row's answers against the reference's, held to the coarser precision of the two."""
    precisions = [precision_of(started.backend) for started in (one, to)]
    return compare_answers(to.contract, answers, ours, precisions=precisions)


def _rounds(workers: Sequence[Worker], batch: int, plan: Plan) -> list[list[float]]:
    """Latencies in milliseconds, one list per worker, one entry per round."""

    def one(worker: Worker, index: int) -> float:
        elapsed_ms = worker.time(round_seeds(index, batch))
        time.sleep(plan.gap_ms / 1e3)
        return elapsed_ms

    return in_turns(workers, plan, one)


def in_turns(workers: Sequence[Worker], plan: Plan, one: Callable[[Worker, int], Answer]) -> list[list[Answer]]:
    """What each worker answers in the rounds that count, by worker.

    Args:
        workers: each is asked once a round, in an order that is drawn for each round.
        plan: how long it goes on.
        one: asks a worker in the round of a number.
    """
    shuffle = random.Random(plan.order_seed).shuffle
    answers: list[list[Answer]] = [[] for _ in workers]
    order = list(range(len(workers)))
    started = time.monotonic()
    for index in itertools.count():
        if index == plan.warm_up:
            started = time.monotonic()
        done = len(answers[0])
        spent_seconds = (time.monotonic() - started) / len(workers)
        if done == plan.rounds or (plan.rounds is None and done >= MIN_ROUNDS and spent_seconds >= plan.seconds):
            break
        shuffle(order)
        for at in order:
            answer = one(workers[at], index)
            if index >= plan.warm_up:
                answers[at].append(answer)
    return answers
