"""A scenario of MLPerf, what LoadGen is told, and what it says afterwards.

single stream   one sample at a time; the figure is the 90th percentile of the latency
offline         all samples at once; the figure is samples a second
server          samples at instants of a Poisson process; the figure is the rate at which the 99th percentile of the
                latency keeps a bound
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

__all__ = ["Outcome", "Scenario", "ScenarioName", "highest_valid", "outcome_of"]

ScenarioName = Literal["singlestream", "offline", "server"]
PERCENTILES: Final = {"singlestream": 90, "offline": None, "server": 99}
SEARCH_STEPS: Final = 6  # of halving: to 1/64 of the first range
LINE: Final = re.compile(r"^\s*(?P<name>[^:]+?)\s*:\s*(?P<value>.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What LoadGen is told; everything else has its defaults.

    Attributes:
        name: of the scenario.
        min_duration_s: how long it goes on at least; an official run takes 600 s.
        qps: of the server scenario: samples a second; None: the highest valid rate is looked for.
        latency_bound_ms: of the server scenario.
        batch: of the offline scenario: samples of one inference.
    """

    name: ScenarioName
    min_duration_s: float = 10.0
    qps: float | None = None
    latency_bound_ms: float | None = None
    batch: int = 1

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What LoadGen said of one run.

    Attributes:
        valid: its verdict.
        summary: its words.
        figure: milliseconds of the single stream, else samples a second.
        p50_ms: median latency of a sample.
        tail_ms: the percentile that the scenario is about; None of offline.
        satisfied: its conditions, by their names.
        qps: that was asked for, of the server scenario.
    """

    valid: bool
    summary: str
    figure: float
    p50_ms: float
    tail_ms: float | None
    satisfied: dict[str, bool]
    qps: float | None = None


def outcome_of(summary: str, scenario: ScenarioName, *, qps: float | None = None) -> Outcome:
    """The figures in the text of mlperf_log_summary.txt.

    Raises:
        ValueError: the text has not got them.
    """
    told = {match["name"]: match["value"] for match in LINE.finditer(summary)}
    percentile = PERCENTILES[scenario]
    try:
        tail_ms = None if percentile is None else _ms(told[f"{percentile}.00 percentile latency (ns)"])
        rate = {"offline": "Samples per second", "server": "Completed samples per second"}.get(scenario)
        figure = tail_ms if rate is None else float(told[rate])
        assert figure is not None  # noqa: S101 - only offline has no percentile
        return Outcome(
            valid=told["Result is"] == "VALID",
            summary=summary,
            figure=figure,
            p50_ms=_ms(told["50.00 percentile latency (ns)"]),
            tail_ms=tail_ms,
            satisfied={
                name.removesuffix(" satisfied"): value.upper() == "YES"
                for name, value in told.items()
                if name.endswith(" satisfied")
            },
            qps=qps,
        )
    except KeyError as error:
        raise ValueError(f"LoadGen's summary has no {error.args[0]!r}") from error


def highest_valid(run: Callable[[float], Outcome], most_qps: float, *, steps: int = SEARCH_STEPS) -> Outcome:
    """The run at the highest rate that LoadGen calls valid, by halving; the last one where it calls none so.

    Args:
        run: a whole run at samples a second.
        most_qps: what one sample after the other would take.
        steps: runs.
    """
    low, high = 0.0, most_qps
    best: Outcome | None = None
    for _ in range(steps):
        middle = (low + high) / 2
        found = run(middle)
        if found.valid:
            best, low = found, middle
        else:
            high = middle
    return best or found


def _ms(nanoseconds: str) -> float:
    return int(nanoseconds) / 1e6
