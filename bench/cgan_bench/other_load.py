"""How much of the processor other processes used while ours were measured, by the counters of the Linux kernel.

Only the CPUs that we may use count. What the hypervisor gave to other machines (steal) is other use too. A server
on this machine would be one of the others, so nothing is judged where one is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MAX_OTHERS_PERCENT", "CpuTimes", "cpu_times", "others_percent"]

# Of one core. A desktop that nobody uses needs 2 to 5 %; a tenth of a core can move a ratio by some percent.
MAX_OTHERS_PERCENT: Final = 10.0
PROC: Final = Path("/proc")
# Fields of a line of /proc/stat: user, nice, system, irq, softirq, steal; idle and iowait are not use.
BUSY: Final = (1, 2, 3, 6, 7, 8)
# Fields of /proc/PID/stat behind the name: process group, then user and system time, and those of ended children.
GROUP: Final = 2
OWN: Final = (11, 12)
WITH_CHILDREN: Final = (11, 12, 13, 14)


@dataclass(frozen=True, kw_only=True)
class CpuTimes:
    """Counters at one instant, in seconds of one core.

    Attributes:
        at_s: the instant.
        all_s: used by everything on the CPUs that we may use.
        ours_s: used by this process and by the process groups that were named.
    """

    at_s: float
    all_s: float
    ours_s: float


def cpu_times(groups: Collection[int]) -> CpuTimes | None:
    """The counters now; None where the system does not tell.

    Args:
        groups: process groups that are ours.
    """
    try:
        lines = (PROC / "stat").read_text().splitlines()
        usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        fields = [words for line in lines if (words := line.split())[0] in usable]
        ticks = sum(int(words[field]) for words in fields for field in BUSY)
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return None
    if not ticks:  # a sandbox that shows zeros
        return None
    return CpuTimes(at_s=time.monotonic(), all_s=ticks * tick_s, ours_s=_ours(groups) * tick_s)


def others_percent(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """What others used between two instants, as a share of one core [%]; None where it is not known."""
    if before is None or after is None or after.at_s <= before.at_s:
        return None
    others_s = (after.all_s - before.all_s) - (after.ours_s - before.ours_s)
    return max(0.0, 100 * others_s / (after.at_s - before.at_s))


def _ours(groups: Collection[int]) -> int:
    """Ticks of this process, and of every process of the groups with its children that ended."""
    ticks = 0
    for entry in PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(entry.name) == os.getpid():
            ticks += sum(int(fields[field]) for field in OWN)
        elif int(fields[GROUP]) in groups:
            ticks += sum(int(fields[field]) for field in WITH_CHILDREN)
    return ticks
