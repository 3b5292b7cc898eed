"""What was measured of one loop at one batch size, and the figures drawn from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cgan_bench.rows import NOISY_RATIO, Ratio
from cgan_bench.train.loops import Loop
from cgan_bench.train.step_parity import Difference

__all__ = ["TrainingRow"]


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One loop at one batch size.

    Attributes:
        loop: which.
        description: library, version, threads.
        batch: images per step.
        steps: per turn.
        latencies_ms: time of a step, one mean per turn, in the order of the rounds.
        data_ms: the part of it spent waiting for images, median over the turns.
        step_ms: the rest of it, median over the turns.
        ratio: None for the reference.
        difference: from the plain loop after one step; None for the plain loop itself.
        peak_memory_mb: of its process; loader processes not included.
    """

    loop: Loop
    description: str
    batch: int
    steps: int
    latencies_ms: tuple[float, ...]
    data_ms: float
    step_ms: float
    peak_memory_mb: float
    ratio: Ratio | None = None
    difference: Difference | None = None

    @property
    def title(self) -> str:
        """Name of the loop."""
        return self.loop.title

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the time of a step."""
        return float(np.percentile(self.latencies_ms, percent))

    @property
    def images_per_s(self) -> float:
        """Images per second at the median step."""
        return self.batch / self.percentile_ms(50) * 1e3

    @property
    def noisy(self) -> bool:
        """The machine was not quiet enough for more than a rough figure."""
        return self.percentile_ms(90) > NOISY_RATIO * self.percentile_ms(50)

    @property
    def valid(self) -> bool:
        """Whether it takes the plain loop's step; another arithmetic need not."""
        return not self.loop.must_agree or self.difference is None or self.difference.within_limits

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys, every turn."""
        return {
            "loop": self.loop.key,
            "title": self.loop.title,
            "description": self.description,
            "device": self.loop.device,
            "precision": self.loop.precision,
            "batch": self.batch,
            "rounds": len(self.latencies_ms),
            "steps_per_round": self.steps,
            "p50_ms": self.percentile_ms(50),
            "p90_ms": self.percentile_ms(90),
            "data_ms": self.data_ms,
            "step_ms": self.step_ms,
            "images_per_s": self.images_per_s,
            "ratio_to_reference": self.ratio and self.ratio.to_json(),
            "difference": self.difference and asdict(self.difference),
            "peak_memory_mb": self.peak_memory_mb,
            "noisy": self.noisy,
            "valid": self.valid,
            "latencies_ms": list(self.latencies_ms),
        }
