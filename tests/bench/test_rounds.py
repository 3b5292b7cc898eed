"""How long is measured: for the seconds that were asked for, each row as long as the others."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest
from cgan_bench import rounds
from cgan_bench.backends.base import Timed
from cgan_bench.rounds import MIN_ROUNDS, Plan
from cgan_bench.worker_client import Worker


@dataclass
class Clock:
    now_s: float = 1e6  # a machine that has been up for days

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Row:
    clock: Clock
    takes_s: float

    def time(self, _: object) -> Timed:
        self.clock.sleep(self.takes_s)
        return Timed(elapsed_ms=self.takes_s * 1e3, noise_ms=0.0, kept={})


@pytest.mark.parametrize(("seconds", "most"), [(10.0, 20), (0.1, MIN_ROUNDS)])
def test_each_row_is_measured_for_the_seconds_that_were_asked_for(
    seconds: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds of 0.3, 0.5 and twice 0.1 s of pause: two rows for 10 s each are 20 rounds."""
    clock = Clock()
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: clock.now_s, sleep=clock.sleep))
    workers = [Row(clock, 0.3), Row(clock, 0.5)]
    found = rounds._rounds(cast("list[Worker]", workers), 1, Plan(seconds=seconds, warm_up=2, gap_ms=100), 0)
    assert [len(row) for row in found] == [most, most]
    assert {timed.elapsed_ms for timed in found[0]} == {300.0}
