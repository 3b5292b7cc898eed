"""How large a net this machine finishes in the time there is, told by a few real training steps.

A net is finished when its learning rate has come to its end: so the number of images is chosen before the training,
by measured speed, instead of stopping one that was planned for a faster machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["DIGITS", "DRAWINGS", "Candidate", "Choice", "Task", "choose", "read_plan", "write_plan"]

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
    """What is trained: its minutes, and its candidates, the best first."""

    name: str
    minutes: float
    candidates: tuple[Candidate, ...]


# After fewer images the colours of a drawing do not keep to its lines yet.
DRAWINGS = Task(
    name="drawings",
    minutes=4.5,
    candidates=(Candidate(size=128, least=2400, most=6000), Candidate(size=64, least=2400, most=12000)),
)
# After fewer images the digits of a class look alike.
DIGITS = Task(name="digits", minutes=1.5, candidates=(Candidate(size=32, least=40000, most=80000),))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        size: side of the images in pixels.
        threads: of the training.
        images: that it sees.
        images_per_s: measured with these threads at this size.
        expected_minutes: by that speed.
        within: whether that is no more than the task's minutes.
    """

    size: int
    threads: int
    images: int
    images_per_s: float
    expected_minutes: float
    within: bool

    def sentence(self, task: Task) -> str:
        """For the terminal and the page."""
        told = (
            f"{self.images_per_s:.3g} training images a second were measured here at {self.size} pixels with "
            f"{self.threads} thread{'' if self.threads == 1 else 's'}: {self.images:,} images, about "
            f"{self.expected_minutes:.1f} minutes"
        )
        fewest = "" if self.within else f", more than the {task.minutes:g} meant, for fewer images show nothing yet"
        return f"{told}{fewest}."


def choose(task: Task, cores: int, measure: Measure) -> Choice:
    """The first candidate that this machine finishes in time; else the last, with its fewest images.

    Args:
        task: what is trained.
        cores: of the machine; training is measured on all of them and on one, for beside busy programs one may be
            the faster.
        measure: takes a few real steps.
    """
    best: Choice | None = None
    for candidate in task.candidates:
        speeds = {threads: measure(candidate.size, threads) for threads in sorted({cores, 1}, reverse=True)}
        threads = max(speeds, key=lambda number: speeds[number])
        possible = speeds[threads] * task.minutes * 60 * _SPARE
        images = max(candidate.least, min(candidate.most, int(possible) // 100 * 100))
        best = Choice(
            size=candidate.size,
            threads=threads,
            images=images,
            images_per_s=speeds[threads],
            expected_minutes=images / speeds[threads] / 60,
            within=possible >= candidate.least,
        )
        if best.within:
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
