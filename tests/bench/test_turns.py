"""Rounds of a training benchmark: the first ones only find out how many steps make a turn; a loop may be absent."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from cgan_bench.rounds import Plan
from cgan_bench.rows import Absent
from cgan_bench.train import measure
from cgan_bench.train.loop_runner import Turn
from cgan_bench.train.loops import Setup, loops
from cgan_bench.worker_client import Worker

PLAIN, *_ = loops("cpu")


@dataclass
class Fake:
    """A loop of so many milliseconds a step; it remembers what it was asked for."""

    step_ms: float
    asked: list[int] = field(default_factory=list)
    running: bool = False

    def resume(self) -> None:
        self.running = True

    def pause(self) -> None:
        self.running = False

    def call(self, _: str, steps: int) -> Any:
        assert self.running
        self.asked.append(steps)
        return Turn(total_ms=self.step_ms, data_ms=0, step_ms=self.step_ms)


@pytest.mark.parametrize("warm_up", [1, 3])
def test_turns_after_the_warm_up_are_long_enough_and_alone_are_kept(
    warm_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "TURN_SECONDS", 0.2)
    workers = [Fake(40.0), Fake(20.0)]
    turns, steps = measure._rounds(cast("list[Worker]", workers), Plan(rounds=5, warm_up=warm_up))
    assert steps == 10, "200 ms of the fastest"
    assert [len(kept) for kept in turns] == [5, 5]
    for worker in workers:
        assert worker.asked == [1] * warm_up + [10] * 5
        assert not worker.running, "each is stopped while the others run"


def test_a_loop_that_cannot_run_is_absent_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "no_compiler_reason", lambda: "no compiler here")
    compiled = replace(PLAIN, compiled=True, key="c", title="compiled")
    with ExitStack() as stack:
        found = measure._start(compiled, Setup(data=Path("x"), cache=None), 1, stack)
    assert found == Absent(key="c", title="compiled", reason="no compiler here")
