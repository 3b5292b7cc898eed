"""What all kinds share: mutants by their number, the law that each is held to, and the report."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, Protocol

from cgan_runtime.errors import CganError

__all__ = [
    "MAX_BYTES",
    "MAX_CPU_S",
    "Report",
    "Target",
    "fuzz",
    "in_bounds",
    "peak_bytes",
    "refusal",
    "reset_peak_bytes",
]

MAX_CPU_S: Final = 5.0
MAX_BYTES: Final = 2**30
SHOWN: Final = 40


class Target(Protocol):
    """One sound file or folder, of which mutants are made."""

    @property
    def name(self) -> str:
        """What it is."""

    def damage(self, draws: random.Random) -> str:
        """Write the mutant that follows from `draws`; returns what was done."""

    def use(self) -> str:
        """Read the mutant and do with it what users do; returns what it came to, "refused" among others.

        Raises:
            AssertionError: it was accepted and is not sound.
            Exception: anything else breaks the law too.
        """

    def size(self) -> int:
        """Bytes of the mutant."""


class OverTimeError(BaseException):
    """No `except Exception` between here and the loop may take it for a damaged file."""


@dataclass
class Report:
    """How many mutants came to what, and which of them broke the law."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    largest_bytes: int = 0

    def as_json(self, kind: str) -> str:
        """One line, without the failures."""
        figures = {"slowest_cpu_s": round(self.slowest_s, 2), "most_mib": self.largest_bytes >> 20}
        counts = dict(sorted(self.counts.items()))
        return json.dumps({"kind": kind, **counts, **figures, "failures": len(self.failures)})


def fuzz(
    kind: str,
    targets: Sequence[Target],
    count: int,
    first: int = 0,
    on_failure: Callable[[str], object] = lambda _: None,
) -> Report:
    """Make and use mutants `first` to `first + count`. Number n is of target n modulo their number."""
    report = Report()
    for number in range(first, first + count):
        target = targets[number % len(targets)]
        draws = random.Random(f"{kind} {number}")
        way = target.damage(draws)
        before, began = reset_peak_bytes(), time.process_time()
        try:
            with in_bounds():
                report.counts[target.use()] += 1
            used, taken = time.process_time() - began, peak_bytes() - before
            assert used < MAX_CPU_S, f"{used:.1f} s of CPU time"
            assert taken < MAX_BYTES + target.size(), f"{taken >> 20} MiB of memory"
        except (Exception, OverTimeError) as error:  # noqa: BLE001 - whatever it is, it broke the law
            report.failures.append(f"{kind} {number}: {target.name}, {way}: {error!r:.600}")
            on_failure(report.failures[-1])
        else:
            report.slowest_s = max(report.slowest_s, used)
            report.largest_bytes = max(report.largest_bytes, taken)
    return report


@contextmanager
def in_bounds(cpu_s: float = 2 * MAX_CPU_S) -> Iterator[None]:
    """End the block with an OverTimeError after so much CPU time."""

    def over(_: int, frame: FrameType | None) -> NoReturn:
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"
        raise OverTimeError(f"no end after {cpu_s} s, in {where}")

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def refusal(error: CganError) -> str:
    """ "refused", if the error is one line of a bearable length. Of file names in it the shell takes care."""
    text = str(error)
    assert "\n" not in text, f"not one line: {text!r}"
    assert 0 < len(text) < 2500, f"a message of {len(text)} characters"
    return "refused"


def reset_peak_bytes() -> int:
    """Begin to measure the peak of resident memory anew; returns what is resident now. Linux only."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes() -> int:
    """The peak of resident memory since it was last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
