"""What was measured of one backend at one batch size, and the figures drawn from it.

p50, p90, p99   percentiles of the latency, numpy's linear interpolation
images/s        all images (or other outputs) / all time spent in inferences
ratio           reference's latency / this row's, round by round: median and quartiles; above 1 is faster
fidelity        of each output against the reference's, see fidelity.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cgan_bench.fidelity import Agreement

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
    """How many times as fast as the reference, paired by round."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One way of running the generator at one batch size, and how near its outputs are to the reference's.

    Attributes:
        key: of the backend.
        title: of the backend.
        description: library, version, device, as the backend itself tells.
        batch: rows of one inference.
        precision: decides how far the outputs may be off; of the artifact, fp32 for everything that is not one.
        ratio: None for the reference, and where rounds are not paired.
        agreements: one per output; none for the reference and where there is nothing to compare with.
    """

    key: str
    title: str
    description: str
    batch: int
    precision: str = "fp32"
    ratio: Ratio | None = None
    agreements: tuple[Agreement, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the outputs are the reference's, as far as the precision allows."""
        return all(agreement.within_limit for agreement in self.agreements)

    @property
    def psnr_db(self) -> float | None:
        """The worst of all outputs that are measured by it; None where none is."""
        return min((one.psnr_db for one in self.agreements if one.psnr_db is not None), default=None)

    def faults(self) -> Iterator[str]:
        """A sentence for each output that is wrong."""
        for one in (one for one in self.agreements if not one.within_limit):
            yield (
                f"INVALID: {self.title} at batch {self.batch}: {one.output} agrees to {one.words}, "
                f"needs {one.limit_words}."
            )


@dataclass(frozen=True, kw_only=True)
class Row(ComparedRow):
    """One backend at one batch size.

    Attributes:
        latencies_ms: one per round, in the order of the rounds.
        peak_memory_mb: of the worker; None for a server, whose memory is not here.
    """

    latencies_ms: tuple[float, ...]
    peak_memory_mb: float | None = None

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latency."""
        return float(np.percentile(self.latencies_ms, percent))

    @property
    def images_per_s(self) -> float:
        """Rows of the batch per second."""
        return self.batch * len(self.latencies_ms) / (sum(self.latencies_ms) / 1e3)

    @property
    def noisy(self) -> bool:
        """The machine was not quiet enough for more than a rough figure."""
        return self.percentile_ms(90) > NOISY_RATIO * self.percentile_ms(50)

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys, every latency."""
        quartiles = self.ratio and {"median": self.ratio.median, "q1": self.ratio.q1, "q3": self.ratio.q3}
        return {
            "backend": self.key,
            "title": self.title,
            "description": self.description,
            "precision": self.precision,
            "batch": self.batch,
            "rounds": len(self.latencies_ms),
            "p50_ms": self.percentile_ms(50),
            "p90_ms": self.percentile_ms(90),
            "p99_ms": self.percentile_ms(99),
            "images_per_s": self.images_per_s,
            "ratio_to_reference": quartiles,
            "psnr_db": self.psnr_db,
            "agreements": [one.to_json() for one in self.agreements],
            "peak_memory_mb": self.peak_memory_mb,
            "noisy": self.noisy,
            "valid": self.valid,
            "latencies_ms": list(self.latencies_ms),
        }


def ratio(reference_ms: Sequence[float], row_ms: Sequence[float]) -> Ratio:
    """The ratio of two lists of times, paired by position: both hold the same rounds in the same order."""
    each = np.divide(np.asarray(reference_ms), np.asarray(row_ms))
    q1, median, q3 = (float(value) for value in np.percentile(each, (25, 50, 75)))
    return Ratio(median=median, q1=q1, q3=q3)
