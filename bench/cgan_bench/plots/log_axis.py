"""A logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["LogAxis"]

# Over more decades than this, ticks at 2 and 5 would be too many.
MOST_DECADES: Final = 2.4


@dataclass(frozen=True, kw_only=True)
class LogAxis:
    """Values above 0 to places: `low` lies at `start`, `high` at `end`, their logarithms linear between."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> LogAxis:
        """An axis that holds all `values` and ends at ticks, at 1, 2 or 5 times a power of ten.

        Args:
            values: at least one, all above 0.
            start: where the lowest tick goes.
            end: where the highest goes.
        """
        low, high = min(values), max(values)
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
        steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        first = max(step for step in steps if step <= low * (1 + 1e-9))
        last = min(step for step in steps if step >= high * (1 - 1e-9) and step > first)
        many = math.log10(last / first) > MOST_DECADES
        ticks = [10.0**power for power in powers] if many else steps
        inside = tuple(tick for tick in ticks if first * (1 - 1e-9) <= tick <= last * (1 + 1e-9))
        return cls(low=first, high=last, start=start, end=end, ticks=inside)

    def place(self, value: float) -> float:
        """Where a value lies."""
        return self.start + math.log(value / self.low) / math.log(self.high / self.low) * (self.end - self.start)
