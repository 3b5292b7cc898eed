"""Processes as /proc shows them: of what are they, do they run, and is the server that started them still there?

Every process of a server has its owner in its environment, as `OWNER_VARIABLE`: number and start time of the
launcher, which no other process has in common with it. Shared memory and temporary folders have it in their names.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["OWNER_VARIABLE", "Seen", "children", "look", "orphans", "own_mark", "owner_runs"]

OWNER_VARIABLE: Final = "CGAN_SERVE_OWNER"
PROC: Final = Path("/proc")


class Seen(NamedTuple):
    """A process at one moment.

    Attributes:
        state: one letter: R and S for one that runs, T for one that was stopped, Z for one that ended.
        started: when, in clock ticks since the machine started.
    """

    state: str
    started: int

    @property
    def works(self) -> bool:
        """Whether it will go on by itself."""
        return self.state not in "TZX"


def look(process: int) -> Seen | None:
    """The process; None where there is none."""
    try:
        fields = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Seen(state=fields[0], started=int(fields[19]))


def children(process: int) -> dict[int, tuple[str, ...]]:
    """Number -> command line of the children; an ended one has none."""
    found: dict[int, tuple[str, ...]] = {}
    for listing in (PROC / str(process) / "task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread or a child may end while we look
            for child in listing.read_text().split():
                line = (PROC / child / "cmdline").read_bytes().decode(errors="replace")
                found[int(child)] = tuple(line.split("\0"))
    return found


def own_mark() -> str:
    """The owner that this process is."""
    seen = look(os.getpid())
    return f"{os.getpid()}_{seen.started if seen else 0}"


def owner_runs(mark: str) -> bool:
    """Whether the owner of something is still there."""
    number, _, started = mark.partition("_")
    seen = look(int(number))
    return seen is not None and seen.state != "Z" and str(seen.started) == started


def orphans() -> Iterator[int]:
    """This user's processes whose owner is gone."""
    wanted = f"{OWNER_VARIABLE}=".encode()
    for folder in PROC.iterdir():
        with contextlib.suppress(OSError, ValueError):  # another user's, ended meanwhile, or no process
            process = int(folder.name)
            if folder.stat().st_uid != os.getuid():
                continue
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(wanted) and not owner_runs(entry.removeprefix(wanted).decode()):
                    yield process
