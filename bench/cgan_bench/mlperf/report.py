"""What LoadGen said of an artifact, and what it is not: an official MLPerf submission."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from cgan_runtime.pages import Table

from cgan_bench.mlperf.scenarios import PERCENTILES, Outcome, Scenario
from cgan_bench.report_base import BaseReport, figure, title_cell
from cgan_bench.rows import Absent
from cgan_bench.target import Target

__all__ = ["ScenarioBlock", "ScenarioReport", "ScenarioRow"]


@dataclass(frozen=True, kw_only=True)
class ScenarioRow:
    """One artifact under one scenario."""

    key: str
    title: str
    description: str
    precision: str
    outcome: Outcome
    latencies_ms: tuple[float, ...] = ()

    @property
    def noisy(self) -> bool:
        """LoadGen does not judge it."""
        return False

    @property
    def valid(self) -> bool:
        """LoadGen's own verdict."""
        return self.outcome.valid

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys, and LoadGen's own summary."""
        return {
            "backend": self.key,
            "title": self.title,
            "description": self.description,
            "precision": self.precision,
            "valid": self.outcome.valid,
            "figure": self.outcome.figure,
            "p50_ms": self.outcome.p50_ms,
            "tail_ms": self.outcome.tail_ms,
            "target_qps": self.outcome.qps,
            "satisfied": self.outcome.satisfied,
            "loadgen_summary": self.outcome.summary,
        }


@dataclass(frozen=True, kw_only=True)
class ScenarioBlock:
    """The one row."""

    rows: tuple[ScenarioRow, ...]
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScenarioReport(BaseReport[ScenarioBlock, ScenarioRow]):
    """Everything one `cgan-bench --scenario` measured."""

    details: ClassVar[frozenset[str]] = frozenset({"how"})

    target: Target
    scenario: Scenario
    loadgen: str

    @property
    def title(self) -> str:
        """The title of the target."""
        return self.target.title

    @property
    def complaint(self) -> str:
        """Which of LoadGen's conditions were not met."""
        missed = [name for row in self.invalid for name, met in row.outcome.satisfied.items() if not met]
        return f"LoadGen says INVALID; not satisfied: {', '.join(missed) or 'see its summary in --json'}."

    def about(self) -> dict[str, Any]:
        """What was asked for."""
        return {
            "measured": "a scenario of MLPerf",
            "official_submission": False,
            "bundle": self.target.digest or None,
            "size": self.target.measured_size,
            "scenario": self.scenario.to_json(),
            "loadgen": self.loadgen,
        }

    def block_title(self, block: ScenarioBlock) -> str:
        """Scenario, size and duration."""
        del block
        facts = [
            self.scenario.name,
            *filter(None, [self.target.measured_size]),
            f"{self.scenario.min_duration_s:g} s",
        ]
        if self.scenario.latency_bound_ms is not None:
            facts.append(f"bound {self.scenario.latency_bound_ms:g} ms")
        return ", ".join(facts)

    def table(self, block: ScenarioBlock) -> Table:
        """The figure of the scenario, and LoadGen's conditions."""
        percentile = PERCENTILES[self.scenario.name]
        rate = [] if self.scenario.name == "singlestream" else ["samples/s"]
        tail = [] if percentile is None else ["p50 ms", f"p{percentile} ms"]
        return Table(
            heads=("artifact", *rate, *tail, "LoadGen says", "how"),
            rows=tuple(
                (
                    title_cell(row),
                    *(figure(row.outcome.figure) for _ in rate),
                    *(figure(ms) for ms in (row.outcome.p50_ms, row.outcome.tail_ms) if ms is not None and tail),
                    "VALID" if row.valid else "INVALID",
                    row.description,
                )
                for row in block.rows
            ),
        )

    def plotted(self, block: ScenarioBlock) -> tuple[ScenarioRow, ...]:
        """Nothing: LoadGen keeps the times."""
        del block
        return ()

    @property
    def reference_note(self) -> str:
        """Nothing is compared."""
        return ""

    def notes(self) -> Iterator[str]:
        """That it is no submission; LoadGen's conditions, as it names them."""
        yield (
            f"By MLPerf LoadGen {self.loadgen}, in its performance mode; no official MLPerf submission: not one of "
            "its models, not its accuracy check, not its durations."
        )
        for row in self.rows:
            said = ", ".join(f"{name}: {'yes' if met else 'no'}" for name, met in row.outcome.satisfied.items())
            yield f"Satisfied, by LoadGen: {said}."

    def definitions(self) -> Iterator[str]:
        """What the figures mean."""
        yield "singlestream: one sample at a time; the figure is the 90th percentile of the latency."
        yield "offline: all samples at once; the figure is samples a second."
        yield (
            "server: samples at instants of a Poisson process; the figure is samples a second, valid where the "
            "99th percentile of the latency keeps the bound. Without --qps the highest valid rate is looked for by "
            "halving."
        )

    def verdicts(self) -> Iterator[str]:
        """The figure in one sentence."""
        for row in self.rows:
            if not row.valid:
                continue
            found = row.outcome
            if self.scenario.name == "singlestream":
                yield f"{row.title}: 90 % of single-stream queries take {figure(found.figure)} ms or less"
            elif self.scenario.name == "offline":
                yield f"{row.title}: {figure(found.figure)} samples/s offline"
            else:
                yield (
                    f"{row.title}: {figure(found.figure)} samples/s as a server, p99 "
                    f"{figure(found.tail_ms or 0)} ms under a bound of {self.scenario.latency_bound_ms:g} ms"
                )
