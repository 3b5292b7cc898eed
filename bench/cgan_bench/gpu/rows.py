"""What was measured of one way of running on a GPU at one batch size.

stage           GPU time by events, median of a turn; a figure is the median of all turns
wall            conditions and seeds in the memory of the host to outputs there, noise included
times           the reference's compute time / the row's, turn by turn; of the wall clock without GPU time
images/s        end to end, where runs follow each other without waiting; by number of streams
roofline        least time of the card for this work / compute time
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from cgan_bench.gpu.meter import WALL
from cgan_bench.rows import NOISY_RATIO, ComparedRow, Ratio, ratio

__all__ = ["GpuRow", "ratio_to"]

COMPUTE = "compute"


@dataclass(frozen=True, kw_only=True)
class GpuRow(ComparedRow):
    """One row.

    Attributes:
        times_ms: by stage and "wall", one for each turn.
        images_per_s: by number of streams.
        gpu_memory_mb: of the GPU, that the process took by the end of its first runs.
        floor_ms: least time of this card for this work; None where it is not known.
    """

    times_ms: Mapping[str, tuple[float, ...]]
    images_per_s: Mapping[int, float] = field(default_factory=dict)
    gpu_memory_mb: float | None = None
    floor_ms: float | None = None

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """Compute time on the GPU where it is known, else the wall clock; one for each turn."""
        return self.times_ms.get(COMPUTE) or self.times_ms[WALL]

    @property
    def has_gpu_time(self) -> bool:
        """Whether its stages could be told apart."""
        return COMPUTE in self.times_ms

    def p50_ms(self, stage: str) -> float | None:
        """Median of a stage; None where it has none."""
        return median(self.times_ms[stage]) if stage in self.times_ms else None

    @property
    def share_of_roofline(self) -> float | None:
        """1 would be as fast as this card can be."""
        return self.floor_ms / median(self.latencies_ms) if self.floor_ms and self.has_gpu_time else None

    @property
    def noisy(self) -> bool:
        """Something else was running on the card."""
        low, high = np.percentile(self.latencies_ms, (50, 90))
        return bool(high > NOISY_RATIO * low)

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys, every turn."""
        return {
            "backend": self.key,
            "title": self.title,
            "description": self.description,
            "device": "cuda",
            "precision": self.precision,
            "batch": self.batch,
            "turns": len(self.latencies_ms),
            "p50_ms": {stage: self.p50_ms(stage) for stage in self.times_ms},
            "ratio_to_reference": self.ratio and self.ratio.to_json(),
            "images_per_s": {str(streams): rate for streams, rate in self.images_per_s.items()},
            "floor_ms": self.floor_ms,
            "share_of_roofline": self.share_of_roofline,
            "psnr_db": self.psnr_db,
            "agreements": [one.to_json() for one in self.agreements],
            "gpu_memory_mb": self.gpu_memory_mb,
            "noisy": self.noisy,
            "valid": self.valid,
            "times_ms": {stage: list(values) for stage, values in self.times_ms.items()},
        }


def ratio_to(reference: Mapping[str, tuple[float, ...]], row: Mapping[str, tuple[float, ...]]) -> Ratio:
    """How many times as fast, of the GPU time where both have it, else of the wall clock; paired by turn."""
    of = COMPUTE if COMPUTE in reference and COMPUTE in row else WALL
    return ratio(reference[of], row[of])
