"""How large a net this machine finishes in the time there is, told by a few real training steps.

A net is finished when its learning rate has come to its end: so the number of images is chosen before the training,
by measured speed, instead of stopping one that was planned for a faster machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = [
    "DIGITS",
    "DRAWINGS",
    "LEAST_MINUTES",
    "MINUTES",
    "Candidate",
    "Choice",
    "Task",
    "choose",
    "read_plan",
    "write_plan",
]

Measure = Callable[[int, int], float]  # training images a second, of a side in pixels and a number of threads
_SPARE = 0.85  # of the measured speed: validations, and a machine that gets busier


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A side in pixels, the fewest images after which its results are worth showing, and the most that help."""

    size: int
    least: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained: its candidates, the best first."""

    name: str
    candidates: tuple[Candidate, ...]


MINUTES = 6.0  # for both trainings
LEAST_MINUTES = 2.5  # of the second, however long the first takes
# After fewer images many a digit cannot be read.
DIGITS = Task(name="digits", candidates=(Candidate(size=32, least=100_000, most=160_000),))
# After fewer images the colours of a drawing do not keep to its lines yet.
DRAWINGS = Task(
    name="drawings",
    candidates=(Candidate(size=128, least=2400, most=6000), Candidate(size=64, least=2400, most=12000)),
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        size: side of the images in pixels.
        threads: of the training.
        images: that it sees.
        images_per_s: measured with these threads at this size.
        expected_minutes: by that speed.
        minutes: that there were.
    """

    size: int
    threads: int
    images: int
    images_per_s: float
    expected_minutes: float
    minutes: float

    @property
    def sentence(self) -> str:
        """For the terminal and the page."""
        speed = f"{self.images_per_s:,.0f}" if self.images_per_s >= 10 else f"{self.images_per_s:.1f}"
        told = (
            f"{speed} training images a second were measured here at {self.size} pixels with "
            f"{self.threads} thread{'' if self.threads == 1 else 's'}: {self.images:,} images, about "
            f"{self.expected_minutes:.1f} minutes"
        )
        late = self.expected_minutes > self.minutes
        fewest = f", more than the {self.minutes:.1f} meant: fewer images would show nothing yet" if late else ""
        return f"{told}{fewest}."


def choose(task: Task, minutes: float, cores: int, measure: Measure) -> Choice:
    """The first candidate that this machine finishes in time; else the last, with its fewest images.

    Args:
        task: what is trained.
        minutes: that there are.
        cores: of the machine; training is measured on all of them and on one, for beside busy programs one may be
            the faster.
        measure: takes a few real steps.
    """
    best: Choice | None = None
    for candidate in task.candidates:
        speeds = {threads: measure(candidate.size, threads) for threads in sorted({cores, 1}, reverse=True)}
        threads = max(speeds, key=lambda number: speeds[number])
        possible = speeds[threads] * minutes * 60 * _SPARE
        images = max(candidate.least, min(candidate.most, int(possible) // 100 * 100))
        best = Choice(
            size=candidate.size,
            threads=threads,
            images=images,
            images_per_s=speeds[threads],
            expected_minutes=images / speeds[threads] / 60,
            minutes=minutes,
        )
        if possible >= candidate.least:
            break
    assert best is not None  # noqa: S101 - a task has a candidate
    return best


def read_plan(path: Path, task: Task) -> Choice | None:
    """What was chosen by an earlier `make demo`, whose training goes on; None where there is none."""
    try:
        return Choice(**json.loads(path.read_text(encoding="utf-8"))[task.name])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_plan(path: Path, choices: dict[str, Choice]) -> None:
    """Keep what was chosen."""
    text = json.dumps({name: asdict(choice) for name, choice in choices.items()}, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")
