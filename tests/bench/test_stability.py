"""How well a median is known, against the binomial distribution and by drawing; and how long that is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from cgan_bench import rounds
from cgan_bench.backends.base import Timed
from cgan_bench.rounds import Plan, _verdict
from cgan_bench.rows import Ratio, ratio
from cgan_bench.stability import EXACT, MAX_WIDTH, MOST_TIMES, median_interval
from cgan_bench.worker_client import Worker
from scipy.stats import binom


@pytest.mark.parametrize("count", [*range(1, 13), 30, 69, 70, 71, 100, 151, 200])
def test_the_ranks_enclose_the_median_with_95_percent_and_narrower_ones_do_not(count: int) -> None:
    """Ranks j and k enclose it with P(j <= B < k), B of B(n, 1/2)."""
    found = median_interval([float(number) for number in range(count, 0, -1)])
    if found is None:
        assert binom.cdf(count - 1, count, 0.5) - binom.cdf(0, count, 0.5) < 0.95
        return
    low, high = (int(rank) for rank in found)

    def coverage(j: int, k: int) -> float:
        return float(binom.cdf(k - 1, count, 0.5) - binom.cdf(j - 1, count, 0.5))

    assert low + high == count + 1, "equally far from the ends"
    assert coverage(low, high) >= 0.95
    # The normal approximation may be a rank too wide.
    assert coverage(low + 1, high - 1) < 0.95 if count <= EXACT else coverage(low + 2, high - 2) < 0.95


def test_in_95_of_100_measurements_the_interval_holds_the_median() -> None:
    """Of a skewed distribution, whose median is known: exp(0) = 1."""
    values = np.random.default_rng(0).lognormal(size=(2000, 40))
    held = [low <= 1 <= high for low, high in (median_interval(row) or (2, 2) for row in values)]
    assert 0.945 <= np.mean(held) <= 0.985


@pytest.mark.parametrize(("width", "settled"), [(0.049, True), (0.051, False), (None, False)])
def test_a_ratio_is_settled_below_5_percent_of_its_median(width: float | None, settled: bool) -> None:
    assert MAX_WIDTH == 0.05
    interval = None if width is None else (2.0, 2.0 + 2 * width)
    found = Ratio(median=2.0, q1=1, q3=3, interval=interval)
    assert found.is_settled is settled
    for plan, noisy, verdict in (
        (Plan(), False, "stable" if settled else "unstable"),
        (Plan(rounds=3), False, "not judged"),
        (Plan(rounds=3), True, "noisy"),
        (Plan(), True, "noisy"),
    ):
        assert _verdict(found, plan, noisy=noisy) == verdict
    assert _verdict(None, Plan(), noisy=False) == "not judged"


@dataclass
class Row:
    """A backend of half a second on average, by a clock of its own; its times scatter by so much."""

    scatter: float
    clock: SimpleNamespace
    draw: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def time(self, _: object) -> Timed:
        self.clock.now_s += 0.5
        elapsed_ms = 500 * (1 + self.scatter * self.draw.uniform(-1, 1))
        return Timed(elapsed_ms=elapsed_ms, noise_ms=0.0, kept={})


@pytest.mark.parametrize(
    ("scatter", "plan", "least", "most"),
    [
        (0.0, Plan(seconds=10, gap_ms=0), 20, 20),
        (0.05, Plan(seconds=10, gap_ms=0), 21, 20 * MOST_TIMES - 1),
        (0.9, Plan(seconds=10, gap_ms=0), 20 * MOST_TIMES, 20 * MOST_TIMES),
        (0.9, Plan(rounds=4, gap_ms=0), 4, 4),
    ],
)
def test_rounds_go_on_until_every_ratio_is_known_or_the_longest_time_is_over(
    scatter: float, plan: Plan, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now_s=0.0)
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: clock.now_s, sleep=lambda _: None))
    workers = [Row(0.0, clock), Row(0.0, clock), Row(scatter, clock)]
    first, second, last = rounds._rounds(cast("list[Worker]", workers), 1, plan, 0)
    assert least <= len(last) <= most
    assert len(first) == len(second) == len(last)
    last_ms, first_ms = ([timed.elapsed_ms for timed in mine] for mine in (last, first))
    if scatter == 0.05:
        assert ratio(first_ms, last_ms).is_settled
        assert not ratio(first_ms[:-1], last_ms[:-1]).is_settled, "not a round longer than needed"
