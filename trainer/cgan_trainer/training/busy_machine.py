"""Whether other programs had the CPU cores while this one was preparing, told before the first step.

A slowdown in the middle of a run is seen in its steps (slow_steps.py). A run that begins beside busy programs has
no faster steps to compare with: the system says how long its cores were busy, and this process how much of that was
its own.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Moment", "busy_sentence", "cores_of_others", "moment", "moment_after"]

_STAT: Final = Path("/proc/stat")  # proc(5): user nice system idle iowait irq softirq steal ...
_IDLE: Final = (3, 4)  # idle, iowait
LEAST_S: Final = 0.3  # the system counts in hundredths of a second
TOLD_FROM: Final = 0.5  # cores


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Seconds by three clocks: the wall's, all cores of the machine while busy, and this process on all threads."""

    wall_s: float
    machine_s: float
    own_s: float


def moment(stat: Path = _STAT) -> Moment | None:
    """The three clocks now; None where the system does not tell (elsewhere than on Linux)."""
    try:
        ticks = [int(word) for word in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        busy = sum(ticks) - sum(ticks[at] for at in _IDLE)
        machine_s = busy / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return Moment(wall_s=time.monotonic(), machine_s=machine_s, own_s=time.process_time())


def moment_after(before: Moment | None) -> Moment | None:
    """The clocks as soon as enough time has passed since another moment: now, or a fraction of a second later."""
    if before is None:
        return None
    time.sleep(max(0.0, LEAST_S - (time.monotonic() - before.wall_s)))
    return moment()


def cores_of_others(before: Moment | None, after: Moment | None) -> float:
    """How many cores other programs kept busy between two moments; 0 where that is not known."""
    if before is None or after is None or after.wall_s - before.wall_s < LEAST_S:
        return 0.0
    others_s = (after.machine_s - before.machine_s) - (after.own_s - before.own_s)
    return max(0.0, others_s / (after.wall_s - before.wall_s))


def busy_sentence(others: float, cores: int, threads: int) -> str:
    """What the user is told; empty where the machine has cores left for this many threads.

    Args:
        others: cores that other programs keep busy.
        cores: of the machine.
        threads: that this program computes with.
    """
    if others < TOLD_FROM or others + threads < cores + TOLD_FROM:
        return ""
    said = (
        f"Other programs keep {others:.1f} of {cores} CPU cores busy: this run is slower than on an idle machine."
    )
    return f"{said} If that stays so, --threads 1 may be faster." if threads > 1 else said
