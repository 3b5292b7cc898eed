"""How well the median of a measurement is known, and when that is well enough.

The interval is that of order statistics: of n values the j-th and the k-th smallest enclose the median of what they
were drawn from with a probability that the binomial distribution B(n, 1/2) gives, whatever their distribution is.
Ranks are exact up to 70 values and from the normal approximation above (J.-Y. Le Boudec, Performance Evaluation of
Computer and Communication Systems, EPFL Press 2010, theorem 2.1 and appendix A). Five values or fewer enclose it
with less than 95 %: they have no interval.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_WIDTH", "MOST_TIMES", "Verdict", "median_interval"]

CONFIDENCE: Final = 0.95
EXACT: Final = 70
# Width of the interval / median, below which a ratio counts as known.
MAX_WIDTH: Final = 0.05
# So many times as long as was asked for, a measurement waits for its intervals.
MOST_TIMES: Final = 6

# Of a row: its interval is narrow; it is not; nobody asked for it; other processes had the machine.
Verdict = Literal["stable", "unstable", "not judged", "noisy"]


def median_interval(values: npt.ArrayLike) -> tuple[float, float] | None:
    """The interval that holds the median with at least 95 %; None of fewer than six values."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    ranks = _ranks(len(ordered))
    return None if ranks is None else (float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1]))


@cache
def _ranks(count: int) -> tuple[int, int] | None:
    """The two ranks, from 1: as near to each other as 95 % allows, and equally far from the ends."""
    if count > EXACT:
        return math.floor(count / 2 - 0.98 * math.sqrt(count)), math.ceil(count / 2 + 1 + 0.98 * math.sqrt(count))
    below, lower = 0.0, 0  # the median is below the lower rank + 1 with a probability of `below`
    while (more := below + math.comb(count, lower) / 2**count) <= (1 - CONFIDENCE) / 2:
        below, lower = more, lower + 1
    return (lower, count + 1 - lower) if lower else None
