"""Rounds: every backend once per round, in random order, all on the same inputs.

A machine is never the same twice: it gets warmer, its neighbours come and go. So backends are not measured one
after the other but in turns, and compared within a round. The order of a round is drawn anew each time, and a
gap follows each inference, because worker threads go on spinning after it (ONNX Runtime's do by default) and
would slow whoever comes next. Warm-up rounds are not counted. Rounds go on until the ratios are known well enough.
What comes out is audited after the timing, so that this cannot disturb it.
"""

from __future__ import annotations

import itertools
import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError

from cgan_bench.audit import Fp32Model, Sample, audits_of, draw_sample, fp32_model
from cgan_bench.backends import Backend, Triton
from cgan_bench.backends.base import Timed
from cgan_bench.fidelity import Answers, compare_answers
from cgan_bench.other_load import MAX_OTHERS_PERCENT, cpu_times, others_percent
from cgan_bench.rows import Absent, Ratio, Row, ratio
from cgan_bench.stability import MOST_TIMES, Verdict
from cgan_bench.target import Precision, Target
from cgan_bench.worker_client import Worker
from cgan_bench.workload import round_seeds

__all__ = ["Block", "Plan", "in_turns", "measure"]

MIN_ROUNDS = 10

Say = Callable[[str], None]
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how it is measured.

    Attributes:
        seconds: how long the rounds go on at least, per row, gaps included.
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
    """One batch size: its rows, the reference first.

    Attributes:
        contract: with numbers for axes: the size that was measured.
        sample: what the rows were asked in the audit.
        others_percent: what other processes used meanwhile, of one core; None where it is not known.
    """

    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    contract: Contract | None
    sample: Sample | None = None
    others_percent: float | None = None

    @property
    def noisy(self) -> bool:
        """Whether others used so much that nothing is said of how fast a row is beside another."""
        return self.others_percent is not None and self.others_percent > MAX_OTHERS_PERCENT


@dataclass(frozen=True, kw_only=True)
class _Started:
    """A backend in its worker process, loaded."""

    backend: Backend
    worker: Worker
    description: str
    contract: Contract
    precision: Precision
    cold_start_s: float


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What one backend did: its rounds, then its answers to the calls of the audit."""

    of: _Started
    timed: Sequence[Timed]
    answers: Answers
    peak_mb: float

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """One per round."""
        return tuple(one.elapsed_ms for one in self.timed)

    @property
    def noise_ms(self) -> tuple[float, ...] | None:
        """One per round, where the worker draws the noise."""
        drawn = tuple(one.noise_ms for one in self.timed if one.noise_ms is not None)
        return drawn if len(drawn) == len(self.timed) else None


def measure(target: Target, backends: Sequence[Backend], *, batch: int, plan: Plan, say: Say) -> Block:
    """Measure the backends side by side at one batch size. The first one present is the reference.

    Raises:
        ServerError: the server does not answer.
        BadInputError: a file cannot be used.
        WorkerDiedError: a worker ended by itself.
    """
    absent: list[Absent] = []
    first_seed = secrets.randbits(48)
    with ExitStack() as stack:
        started = []
        for backend in backends:
            say(f"batch {batch}: starting {backend.title}")
            found = _start(backend, target, plan, round_seeds(0, batch, first=first_seed), stack)
            if isinstance(found, Absent):
                absent.append(found)
            else:
                started.append(found)
        if not started:
            return Block(rows=(), absent=tuple(absent), contract=None)
        say(f"batch {batch}: measuring {len(started)} rows in turns")
        workers = [one.worker for one in started]
        before = cpu_times(groups := {worker.pid for worker in workers})
        timed = _rounds(workers, batch, plan, first_seed)
        others = None if target.server else others_percent(before, cpu_times(groups))
        peaks_mb = [worker.peak_mb() for worker in workers]
        say(f"batch {batch}: comparing the outputs")
        rounds = range(_index(plan.warm_up), _index(plan.warm_up) + len(timed[0]))
        sample = draw_sample(first_seed=first_seed, rounds=rounds, batch=batch)
        answers = [sample.answers_of(worker) for worker in workers]
    runs = [
        _Run(of=one, timed=mine, answers=now, peak_mb=peak_mb)
        for one, mine, now, peak_mb in zip(started, timed, answers, peaks_mb, strict=True)
    ]
    block = Block(rows=(), absent=tuple(absent), contract=started[0].contract, sample=sample, others_percent=others)
    fp32 = fp32_model(target, sample, plan.threads)
    rows = [_row(run, runs[0], block, fp32, plan) for run in runs]
    return replace(block, rows=tuple(rows))


def _row(run: _Run, reference: _Run, block: Block, fp32: Fp32Model | None, plan: Plan) -> Row:
    """The figures of one run beside the reference's."""
    assert block.contract is not None and block.sample is not None  # noqa: S101 - something was measured
    paired = None if run is reference else ratio(reference.latencies_ms, run.latencies_ms)
    precisions = [one.of.precision for one in (run, reference)]  # the coarser one decides
    found = compare_answers(block.contract, reference.answers, run.answers, precisions=precisions)
    return Row(
        key=run.of.backend.key,
        title=run.of.backend.title,
        description=run.of.description,
        batch=len(block.sample.calls[0]),
        latencies_ms=run.latencies_ms,
        noise_ms=run.noise_ms,
        cold_start_s=run.of.cold_start_s,
        ratio=paired,
        precision=run.of.precision,
        lossy=run.of.backend.lossy,
        agreements=() if run is reference else found,
        audits=audits_of(
            block.contract,
            block.sample,
            kept=[run.timed[number].kept for number in block.sample.rounds],
            now=run.answers,
            fp32=None if run.of.backend.lossy else fp32,
            precision=run.of.precision,
        ),
        verdict=_verdict(paired, plan, noisy=block.noisy),
        peak_memory_mb=None if isinstance(run.of.backend, Triton) else run.peak_mb,
    )


def _start(backend: Backend, target: Target, plan: Plan, seeds: list[int], stack: ExitStack) -> _Started | Absent:
    """A worker with the backend loaded and one inference done, which is when torch.compile compiles."""
    if (reason := backend.absence(target)) is None:
        began = time.monotonic()
        worker = stack.enter_context(Worker(backend.title))
        try:
            description, contract, precision = worker.open(backend, target, plan.threads)
            worker.time(seeds)
        except CganError as error:
            if type(error) is not CganError:  # a bad file, a silent server or a dead worker ends the run
                raise
            worker.close(grace_seconds=0)
            reason = str(error)
        else:
            return _Started(
                backend=backend,
                worker=worker,
                description=description,
                contract=contract,
                precision=precision,
                cold_start_s=time.monotonic() - began,
            )
    return Absent(key=backend.key, title=backend.title, reason=reason)


def _verdict(paired: Ratio | None, plan: Plan, *, noisy: bool) -> Verdict:
    if noisy:
        return "noisy"
    if paired is None or plan.rounds is not None:
        return "not judged"
    return "stable" if paired.is_settled else "unstable"


def _index(number: int) -> int:
    """Index of the seeds of a round, warm-up included: those of index 0 are the first answer's."""
    return number + 1


def _rounds(workers: Sequence[Worker], batch: int, plan: Plan, first_seed: int) -> list[list[Timed]]:
    """What was timed, one list per worker, one entry per round."""

    def one(worker: Worker, number: int) -> Timed:
        timed = worker.time(round_seeds(_index(number), batch, first=first_seed))
        time.sleep(plan.gap_ms / 1e3)
        return timed

    def settled(answers: Sequence[Sequence[Timed]]) -> bool:
        reference_ms, *others_ms = ([timed.elapsed_ms for timed in mine] for mine in answers)
        return all(ratio(reference_ms, mine_ms).is_settled for mine_ms in others_ms)

    return in_turns(workers, plan, one, settled=settled)


def in_turns(
    workers: Sequence[Worker],
    plan: Plan,
    one: Callable[[Worker, int], Answer],
    *,
    settled: Callable[[Sequence[Sequence[Answer]]], bool] = lambda _: True,
) -> list[list[Answer]]:
    """What each worker answers in the rounds that count, by worker.

    Args:
        workers: each is asked once a round, in an order that is drawn for each round.
        plan: how long it goes on.
        one: asks a worker in the round of a number.
        settled: whether the answers so far are enough, once the time is over: until they are, it goes on for up to
            `MOST_TIMES` the time. Not asked where the plan names the number of rounds.
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
        long_enough = plan.rounds is None and done >= MIN_ROUNDS and spent_seconds >= plan.seconds
        too_long = spent_seconds >= MOST_TIMES * plan.seconds
        if done == plan.rounds or (long_enough and (too_long or settled(answers))):
            break
        shuffle(order)
        for at in order:
            answer = one(workers[at], index)
            if index >= plan.warm_up:
                answers[at].append(answer)
    return answers
