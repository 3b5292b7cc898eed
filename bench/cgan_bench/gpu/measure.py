"""Rows of a GPU at one batch size: each in a process of its own, in turns, in random order.

The card is never given two of them at once. The outputs are compared with FP32 on the CPU after the timing: a fault
of the GPU's FP32 would show too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array

from cgan_bench.backends import BundleArtifact, TorchEager
from cgan_bench.fidelity import compare_answers
from cgan_bench.gpu.backends import GpuBackend, open_meter
from cgan_bench.gpu.nvml import GpuState, gpu_state
from cgan_bench.gpu.roofline import measure_ceiling
from cgan_bench.gpu.rows import GpuRow, ratio_to
from cgan_bench.roofline.floor import Ceiling, Work, floor_ms
from cgan_bench.roofline.work import work_of_target
from cgan_bench.rounds import Plan, in_turns
from cgan_bench.rows import Absent
from cgan_bench.target import Target
from cgan_bench.worker_client import Worker
from cgan_bench.workload import check_seeds

__all__ = ["Card", "GpuBlock", "measure_card", "measure_gpu"]

Say = Callable[[str], None]
Answers = tuple[dict[str, Array], ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """The card and the work, once for a run; `problems` say why something of it is not known."""

    ceiling: Ceiling | None
    work: Work | None
    state: GpuState | None
    problems: tuple[str, ...] = ()

    def floor_ms(self, batch: int) -> float | None:
        """The least time of a batch."""
        return floor_ms(self.work, batch, self.ceiling) if self.work and self.ceiling else None


@dataclass(frozen=True, kw_only=True)
class GpuBlock:
    """One batch size: its rows, the reference first, and the card before and after."""

    rows: tuple[GpuRow, ...]
    absent: tuple[Absent, ...]
    batch: int
    states: tuple[GpuState | None, GpuState | None] = (None, None)


@dataclass(frozen=True, kw_only=True)
class _Started:
    backend: GpuBackend
    worker: Worker
    description: str
    contract: Contract
    gpu_memory_mb: float | None


def measure_card(target: Target, say: Say) -> Card:
    """What the card can do, what the generator needs, and the state of the card."""
    say("measuring what the card can do: a matrix product and a copy")
    problems = []
    ceiling = work = state = None
    try:
        with Worker("the roofline") as worker:
            ceiling = worker.run(measure_ceiling)
    except CganError as error:
        problems.append(f"The roofline of the card is not known: {_plain(error)}.")
    try:
        with Worker("the work of the generator") as worker:
            work = worker.run(work_of_target, target)
    except CganError as error:
        problems.append(f"The work of the generator was not counted: {_plain(error)}.")
    try:
        state = gpu_state()
    except CganError as error:
        problems.append(f"Clocks, power and memory of the GPU are not known: {_plain(error)}.")
    return Card(ceiling=ceiling, work=work, state=state, problems=tuple(problems))


def measure_gpu(
    target: Target,
    backends: Sequence[GpuBackend],
    *,
    batch: int,
    streams: Sequence[int],
    plan: Plan,
    card: Card,
    say: Say,
) -> GpuBlock:
    """Measure the rows side by side at one batch size. The first one present is the reference of the ratios."""
    absent: list[Absent] = []
    before = _state()
    with ExitStack() as stack:
        started: list[_Started] = []
        for backend in backends:
            say(f"batch {batch}: starting {backend.title}")
            found = _start(backend, target, batch, stack)
            if isinstance(found, Absent):
                absent.append(found)
            else:
                started.append(found)
        if not started:
            return GpuBlock(rows=(), absent=tuple(absent), batch=batch)
        say(f"batch {batch}: measuring {len(started)} rows in turns")
        times_ms = _turns([one.worker for one in started], plan)
        after = _state()
        rates = [_rates(one, target, batch, streams, say) for one in started]
        say(f"batch {batch}: comparing the outputs with FP32 on the CPU")
        answers = [tuple(one.worker.call("answers", seeds) for seeds in check_seeds(batch)) for one in started]
    wanted = _reference_answers(target, batch)
    first = backends[0]
    rows = tuple(
        GpuRow(
            key=one.backend.key,
            title=one.backend.title,
            description=one.description,
            batch=batch,
            precision=one.backend.precision,
            times_ms=mine_ms,
            images_per_s=rate,
            ratio=None if one is started[0] or started[0].backend != first else ratio_to(times_ms[0], mine_ms),
            agreements=compare_answers(one.contract, wanted, ours, precisions=("fp32", one.backend.precision)),
            gpu_memory_mb=one.gpu_memory_mb,
            floor_ms=card.floor_ms(batch),
        )
        for one, mine_ms, rate, ours in zip(started, times_ms, rates, answers, strict=True)
    )
    return GpuBlock(rows=rows, absent=tuple(absent), batch=batch, states=(before, after))


def _start(backend: GpuBackend, target: Target, batch: int, stack: ExitStack) -> _Started | Absent:
    """A worker whose backend has run; what it took of the memory of the card is its own, nothing else runs now."""
    free = _state()
    worker = stack.enter_context(Worker(backend.title))
    try:
        worker.hold(open_meter, backend, target, batch)
        description, contract = worker.call("about")
    except CganError as error:  # whatever is missing, this row is; the others are measured
        worker.close(grace_seconds=0)
        return Absent(key=backend.key, title=backend.title, reason=_plain(error))
    return _Started(
        backend=backend,
        worker=worker,
        description=description,
        contract=contract,
        gpu_memory_mb=_taken_mb(free, _state()),
    )


def _taken_mb(before: GpuState | None, after: GpuState | None) -> float | None:
    """Memory of the card that was taken in between; None where the driver does not tell."""
    if before is None or after is None or before.used_mb is None or after.used_mb is None:
        return None
    return after.used_mb - before.used_mb


def _turns(workers: Sequence[Worker], plan: Plan) -> list[dict[str, tuple[float, ...]]]:
    """Milliseconds by stage for each worker, one entry a turn."""
    turns: list[list[dict[str, float]]] = in_turns(workers, plan, lambda worker, index: worker.call("turn", index))
    return [{stage: tuple(turn[stage] for turn in mine) for stage in mine[0]} for mine in turns]


def _rates(one: _Started, target: Target, batch: int, streams: Sequence[int], say: Say) -> dict[int, float]:
    """Images a second by number of streams; alone on the card, since several streams are to fill it."""
    rates = {1: float(one.worker.call("images_per_s"))}
    if not one.backend.has_streams:
        return rates
    for count in streams:
        if count == 1:
            continue
        say(f"batch {batch}: {one.backend.title} on {count} streams")
        with suppress(CganError), Worker(one.backend.title) as worker:  # no memory for so many: no figure
            worker.hold(open_meter, one.backend, target, batch, count)
            rates[count] = float(worker.call("images_per_s"))
            worker.call("close")
    return rates


def _reference_answers(target: Target, batch: int) -> Answers:
    """FP32 on the CPU: PyTorch where the checkpoint is, else the bundle's own graph."""
    backend = TorchEager() if target.checkpoint is not None else BundleArtifact()
    with Worker("the reference on the CPU") as worker:
        worker.open(backend, target, 0)
        return tuple(worker.answers(seeds) for seeds in check_seeds(batch))


def _state() -> GpuState | None:
    with suppress(CganError):
        return gpu_state()
    return None


def _plain(error: CganError) -> str:
    return str(error).rstrip(".")
