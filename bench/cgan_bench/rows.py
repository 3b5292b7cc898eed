"""What was measured of one backend at one batch size, and the figures drawn from it.

p50, p90, p99   percentiles of the latency, numpy's linear interpolation
images/s        all images (or other outputs) / all time spent in inferences
ratio           reference's latency / this row's, round by round: median, its 95 % interval, quartiles; above 1 is
                faster
cold start      from starting the row's process to its first answer
fidelity        of each output against the reference's, see fidelity.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cgan_bench.audit import Audit
from cgan_bench.fidelity import Agreement
from cgan_bench.stability import MAX_WIDTH, Verdict, median_interval

__all__ = ["NOISY_RATIO", "Absent", "ComparedRow", "Ratio", "Row", "ratio"]

NOISY_RATIO: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A backend without a row, and why."""

    key: str
    title: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast as the reference, paired by round.

    Attributes:
        median: of all rounds.
        q1: the lower quartile.
        q3: the upper one.
        interval: holds the median with 95 %; None of fewer than six rounds.
    """

    median: float
    q1: float
    q3: float
    interval: tuple[float, float] | None = None

    @property
    def width(self) -> float | None:
        """Of the interval, as a share of the median."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / self.median

    @property
    def is_settled(self) -> bool:
        """Whether the median is known well enough to rely on it."""
        return self.width is not None and self.width < MAX_WIDTH

    def to_json(self) -> dict[str, Any]:
        """Median, quartiles and the ends of the interval."""
        low, high = self.interval or (None, None)
        return {"median": self.median, "q1": self.q1, "q3": self.q3, "low_95": low, "high_95": high}


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One way of running the generator at one batch size, and how near its outputs are to the reference's.

    Attributes:
        key: of the backend.
        title: of the backend.
        description: library, version, device, as the backend itself tells.
        batch: rows of one inference.
        precision: what it computes in; decides how far the outputs may be off.
        lossy: whether other people's tool chose the precision; outputs beyond the limit are then no error of ours.
        ratio: None for the reference, and where rounds are not paired.
        agreements: one per output; none for the reference and where there is nothing to compare with.
    """

    key: str
    title: str
    description: str
    batch: int
    precision: str = "fp32"
    lossy: bool = False
    ratio: Ratio | None = None
    agreements: tuple[Agreement, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether the outputs are the reference's, as far as the precision allows."""
        return all(agreement.within_limit for agreement in self.agreements)

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong: other outputs are, unless another tool's choice of precision lost them."""
        return self.lossy or self.comparable

    @property
    def psnr_db(self) -> float | None:
        """The worst of all outputs that are measured by it; None where none is."""
        return min((one.psnr_db for one in self.agreements if one.psnr_db is not None), default=None)

    def faults(self) -> Iterator[str]:
        """A sentence for each output that is wrong, or for which a row of another tool is not comparable."""
        verdict = "Not comparable" if self.lossy else "INVALID"
        for one in (one for one in self.agreements if not one.within_limit):
            yield (
                f"{verdict}: {self.title} at batch {self.batch}: {one.output} agrees to {one.words}, "
                f"needs {one.limit_words}."
            )

    def remarks(self) -> Iterator[str]:
        """What must be said of a row whose speed bought other outputs: ``below 35 dB: not comparable``."""
        if self.lossy and not self.comparable:
            worst = next(one for one in self.agreements if not one.within_limit)
            limit = f"below {worst.limit:.0f} dB" if worst.psnr_db is not None else f"above {worst.limit:.1e}"
            yield f"{limit}: not comparable"


@dataclass(frozen=True, kw_only=True)
class Row(ComparedRow):
    """One backend at one batch size.

    Attributes:
        latencies_ms: one per round, in the order of the rounds.
        noise_ms: of each of them, drawing the noise; None for a server, which draws it itself.
        cold_start_s: from starting the process to its first answer.
        peak_memory_mb: of the worker; None for a server, whose memory is not here.
        audits: what was found when the answers were looked at.
        verdict: whether the ratio is one to rely on.
        floor_ms: least time of this machine for the plain graph in the row's precision; None where it is not known.
    """

    latencies_ms: tuple[float, ...]
    noise_ms: tuple[float, ...] | None = None
    cold_start_s: float | None = None
    peak_memory_mb: float | None = None
    audits: tuple[Audit, ...] = ()
    verdict: Verdict = "not judged"
    floor_ms: float | None = None

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong with the outputs, and no audit failed."""
        return super().valid and all(audit.passed for audit in self.audits)

    def faults(self) -> Iterator[str]:
        """A sentence for each output that is wrong and each audit that failed."""
        yield from super().faults()
        for audit in (audit for audit in self.audits if not audit.passed):
            yield f"INVALID: {self.title} at batch {self.batch} fails the audit {audit.name!r}: {audit.words}."

    def remarks(self) -> Iterator[str]:
        """What must be said of a row that stays: that its ratio is not known, or its outputs are not comparable."""
        if self.verdict == "unstable":
            yield "UNSTABLE"
        yield from super().remarks()

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latency."""
        return float(np.percentile(self.latencies_ms, percent))

    @property
    def images_per_s(self) -> float:
        """Rows of the batch per second."""
        return self.batch * len(self.latencies_ms) / (sum(self.latencies_ms) / 1e3)

    @property
    def noise_share(self) -> float | None:
        """Share of all the time that drawing the noise took; None where it is not known."""
        return None if self.noise_ms is None else sum(self.noise_ms) / sum(self.latencies_ms)

    @property
    def share_of_peak(self) -> float | None:
        """1 would be as fast as the machine's matrix products or its memory; fewer operations give more than 1."""
        return None if self.floor_ms is None else self.floor_ms / self.percentile_ms(50)

    @property
    def noisy(self) -> bool:
        """The machine was not quiet enough for more than a rough figure."""
        return self.percentile_ms(90) > NOISY_RATIO * self.percentile_ms(50)

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys, every latency."""
        return {
            "backend": self.key,
            "title": self.title,
            "description": self.description,
            "device": "cpu" if self.peak_memory_mb is not None else "server",
            "precision": self.precision,
            "batch": self.batch,
            "rounds": len(self.latencies_ms),
            "p50_ms": self.percentile_ms(50),
            "p90_ms": self.percentile_ms(90),
            "p99_ms": self.percentile_ms(99),
            "images_per_s": self.images_per_s,
            "floor_ms": self.floor_ms,
            "share_of_peak": self.share_of_peak,
            "noise_p50_ms": None if self.noise_ms is None else float(np.median(self.noise_ms)),
            "noise_share": self.noise_share,
            "cold_start_s": self.cold_start_s,
            "ratio_to_reference": self.ratio and self.ratio.to_json(),
            "verdict": self.verdict,
            "psnr_db": self.psnr_db,
            "agreements": [one.to_json() for one in self.agreements],
            "audits": [one.to_json() for one in self.audits],
            "peak_memory_mb": self.peak_memory_mb,
            "noisy": self.noisy,
            "valid": self.valid,
            "comparable": self.comparable,
            "latencies_ms": list(self.latencies_ms),
        }


def ratio(reference_ms: Sequence[float], row_ms: Sequence[float]) -> Ratio:
    """The ratio of two lists of times, paired by position: both hold the same rounds in the same order."""
    each = np.divide(np.asarray(reference_ms), np.asarray(row_ms))
    q1, median, q3 = (float(value) for value in np.percentile(each, (25, 50, 75)))
    return Ratio(median=median, q1=q1, q3=q3, interval=median_interval(each))
