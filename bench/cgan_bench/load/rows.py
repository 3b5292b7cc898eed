"""What was measured of a server under one load, and the figures drawn from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import numpy as np

from cgan_bench.load.loops import MAX_IN_FLIGHT, Level, Load
from cgan_bench.load.windows import Span
from cgan_bench.rows import Ratio, ratio

__all__ = ["Difference", "LoadRow", "compared", "row_of"]

LATE_MS: Final = 5.0  # more than a time slice of Linux: so long any process may wait for a core
LATE_SHARE_OF_LATENCY: Final = 0.1
MOST_LATE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how many milliseconds the median latency is above the reference's, paired by turn."""

    median_ms: float
    q1_ms: float
    q3_ms: float


@dataclass(frozen=True, kw_only=True)
class LoadRow:
    """One server under one load.

    Attributes:
        level: the load.
        server: its address.
        letter: of the server where there are two: "A" is the reference.
        description: model and protocol.
        batch: images of one request.
        latencies_ms: of the answered requests that count, in the order of their ends.
        seconds: that were measured.
        offered: requests that were sent in them.
        answered: requests that were answered in them.
        refused: requests that were refused in them: the server was full.
        wrong: answers with other bits than the same request got alone; of the whole load, its beginning included.
        failures: requests of the whole load that failed, by kind.
        late: share of the instants at which the generator acted late.
        late_ms: what counts as late.
        flooded: whether MAX_IN_FLIGHT requests were unanswered.
        stable: whether the last three windows agree; None where turns were measured.
        generator_cores: CPU time of the generator / time.
        turn_medians_ms: the median latency of each turn.
        ratio: the reference's median latency / this row's, turn by turn; None for the reference.
        difference: the same as a difference.
    """

    level: Level
    server: str
    letter: str = ""
    description: str
    batch: int
    latencies_ms: tuple[float, ...]
    seconds: float
    offered: int
    answered: int
    refused: int = 0
    wrong: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    late: float = 0.0
    late_ms: float = LATE_MS
    flooded: bool = False
    stable: bool | None = None
    generator_cores: float = 0.0
    turn_medians_ms: tuple[float, ...] = ()
    ratio: Ratio | None = None
    difference: Difference | None = None

    @property
    def title(self) -> str:
        """The load, and the server where there are two."""
        return f"{self.level.title}, {self.letter}" if self.letter else self.level.title

    @property
    def noisy(self) -> bool:
        """Never said: a queue spreads latencies on the quietest machine."""
        return False

    @property
    def valid(self) -> bool:
        """Whether the answers were right and the figures are the server's."""
        return not list(self.faults())

    @property
    def is_late(self) -> bool:
        """Whether the generator did not keep up. In a closed loop that makes the figures worse, never better."""
        return self.late > MOST_LATE

    def faults(self) -> Iterator[str]:
        """Why the row is no measurement, a sentence each."""
        if self.wrong:
            one = self.wrong == 1
            yield f"{self.wrong} answer{'' if one else 's'} had other bits than the same request got alone"
        if not self.latencies_ms:
            yield "no request was answered"
        if self.flooded:
            yield f"{MAX_IN_FLIGHT} requests were unanswered at once: the server takes less than it was offered"
        if self.is_late and self.level.rate:
            yield (
                f"the generator did not keep up: {self.late:.1%} of its instants came more than {self.late_ms:.1f} "
                "ms late"
            )

    def percentile_ms(self, percent: float) -> float | None:
        """A percentile of the latency; None where nothing was answered."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else None

    @property
    def answered_per_s(self) -> float:
        """Requests."""
        return self.answered / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys, every latency."""
        return {
            "title": self.title,
            "server": self.server,
            "description": self.description,
            "loop": "open" if self.level.rate else "closed",
            "clients": self.level.clients or None,
            "rate_per_s": self.level.rate or None,
            "arrivals": self.level.arrivals if self.level.rate else None,
            "batch": self.batch,
            "seconds": self.seconds,
            "offered_per_s": self.offered / self.seconds,
            "answered_per_s": self.answered_per_s,
            "images_per_s": self.answered_per_s * self.batch,
            **{f"p{percent}_ms": self.percentile_ms(percent) for percent in (50, 90, 99)},
            "max_ms": self.percentile_ms(100),
            "refused": self.refused,
            "failed": dict(self.failures),
            "wrong": self.wrong,
            "late_share": self.late,
            "late_ms": self.late_ms,
            "stable": self.stable,
            "generator_cores": self.generator_cores,
            "ratio_to_reference": self.ratio and self.ratio.to_json(),
            "difference_to_reference": self.difference and vars(self.difference),
            "turn_medians_ms": list(self.turn_medians_ms),
            "valid": self.valid,
            "faults": list(self.faults()),
            "latencies_ms": list(self.latencies_ms),
        }


def row_of(load: Load, spans: Sequence[Span], *, stable: bool | None, **about: Any) -> LoadRow:
    """The figures of a load over the spans that count.

    Args:
        load: which ran.
        spans: of it.
        stable: whether they agree.
        about: the fields of `LoadRow` that the load does not know.
    """
    counted = [[one.latency_ms for one in span.counted(load) if one.answered] for span in spans]
    latencies_ms = tuple(latency for one in counted for latency in one)
    ended = [sample for span in spans for sample in span.ended(load)]
    offered = [sample for span in spans for sample in load.samples if span.start_s <= sample.sent_s < span.end_s]
    late_ms = max(LATE_MS, LATE_SHARE_OF_LATENCY * (median(latencies_ms) if latencies_ms else 0.0))
    lags_s = [
        acted_s - planned_s
        for span in spans
        for planned_s, acted_s in load.departures
        if span.start_s <= planned_s < span.end_s
    ]
    seconds = sum(span.seconds for span in spans)
    return LoadRow(
        level=load.level,
        latencies_ms=latencies_ms,
        seconds=seconds,
        offered=len(offered),
        answered=sum(sample.answered for sample in ended),
        refused=sum(sample.ending == "refused" for sample in ended),
        wrong=sum(sample.ending == "wrong" for sample in load.samples),
        failures=dict(load.failures),
        late=sum(lag_s * 1e3 > late_ms for lag_s in lags_s) / max(1, len(lags_s)),
        late_ms=late_ms,
        flooded=load.flooded,
        stable=stable,
        generator_cores=sum(span.cpu_s for span in spans) / seconds,
        turn_medians_ms=tuple(median(one) if one else float("nan") for one in counted),
        **about,
    )


def compared(row: LoadRow, reference: LoadRow) -> tuple[Ratio, Difference] | None:
    """The ratio and the difference of the medians of turns; None where no turn has an answer of both."""
    pairs = zip(reference.turn_medians_ms, row.turn_medians_ms, strict=True)
    both = [pair for pair in pairs if not np.isnan(pair).any()]
    if not both:
        return None
    theirs, ours = zip(*both, strict=True)
    q1, middle, q3 = (float(value) for value in np.percentile(np.subtract(ours, theirs), (25, 50, 75)))
    return ratio(theirs, ours), Difference(median_ms=middle, q1_ms=q1, q3_ms=q3)
