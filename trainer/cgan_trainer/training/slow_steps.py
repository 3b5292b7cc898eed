"""Notices that steps have become much slower than they were in this run, and that this is over again.

It is told the time of steps alone: validation and saving never look like a slow step. It measures nothing itself
and knows no clock.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

__all__ = ["Change", "StepWatch", "sentence"]

SLOW: Final = 2.5  # times the best time of this run: steps are slow from here on
USUAL: Final = 1.5  # times the best: they are slow no longer. Lower than SLOW, so that one slowdown is told once
LEAST_STEPS, LEAST_S = 5, 10.0  # steps, and seconds, that a median is over
BUSY: Final = 0.7  # of the CPU time that this program had per second: below it others have the CPU


@dataclass(frozen=True, kw_only=True)
class Change:
    """The steps have become slow, or are as before.

    Attributes:
        slow: whether they are slow now.
        images_per_s: now.
        usual_images_per_s: at their best in this run.
        others: whether this program gets less of the CPU than it did then.
    """

    slow: bool
    images_per_s: float
    usual_images_per_s: float
    others: bool


class StepWatch:
    """Medians of groups of steps, one after the other: single slow steps, such as the first, do not matter."""

    def __init__(self) -> None:
        self._steps: list[tuple[float, float, float]] = []  # seconds per image, seconds, CPU seconds
        self._best_s = math.inf  # per image
        self._best_share = 0.0
        self._slow = False

    def see(self, *, images: int, seconds: float, cpu_seconds: float) -> Change | None:
        """Take one step in; a `Change` where it is the one that shows it.

        Args:
            images: of the step, 1 or more.
            seconds: it took.
            cpu_seconds: that this program spent on it, over all threads.
        """
        self._steps.append((seconds / images, seconds, cpu_seconds))
        total_s = sum(step[1] for step in self._steps)
        if len(self._steps) < LEAST_STEPS or total_s < LEAST_S:
            return None
        median_s = statistics.median(step[0] for step in self._steps)
        share = sum(step[2] for step in self._steps) / total_s
        self._steps = []
        if median_s < self._best_s:
            self._best_s, self._best_share = median_s, share
        limit = USUAL if self._slow else SLOW
        if (median_s > limit * self._best_s) == self._slow:
            return None
        self._slow = not self._slow
        return Change(
            slow=self._slow,
            images_per_s=1 / median_s,
            usual_images_per_s=1 / self._best_s,
            others=share < BUSY * self._best_share,
        )


def sentence(change: Change, *, left: int, now: datetime, threads: int) -> str:
    """What the user is told.

    Args:
        change: what has changed.
        left: images that the run has still to see.
        now: local time.
        threads: that this program computes with.
    """
    end = now + timedelta(seconds=left / change.images_per_s)
    when = f"{end:%H:%M}" if end.date() == now.date() else f"{end:%Y-%m-%d %H:%M}"
    if not change.slow:
        return f"Steps are as fast as before again: {change.images_per_s:.3g} images/s; the end is at about {when}."
    why = "Other programs keep the CPU busy" if change.others else "Steps have become slower"
    rates = f"{change.images_per_s:.3g} images/s instead of {change.usual_images_per_s:.3g}"
    hint = " If it stays so, --threads 1 may be faster." if change.others and threads > 1 else ""
    return f"{why}: {rates}; the end moves to about {when}.{hint}"
