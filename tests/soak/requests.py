"""Very many small requests while many versions are published: no wrong answer, none missing, and nothing grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.soak.askers import Askers
from tests.soak.base import Report, ServeCommand
from tests.soak.reloads import Publications, Versions
from tests.soak.usage import Usage, growth, table, usage_of

__all__ = ["requests"]

SOUND: Final = 6
MOMENTS: Final = 10  # beside the start, at which the usage is looked at; the first of them ends the warm-up
SLACK: Final = 4  # descriptors or threads: connections come and go
STALLED_SECONDS: Final = 120.0


def requests(folder: Path, count: int, publications: int, say: Callable[[str], object]) -> Report:
    """`count` requests under four clients, publications spread evenly over them."""
    from tests.export.exporting import exported_toy, written
    from tests.toys import LabelGenerator

    versions = Versions.of(written(exported_toy(LabelGenerator()), folder / "toy"), folder, SOUND)
    report, done, usages = Report(), Publications(), list[Usage]()
    with ServeCommand(versions.sound[0]) as server:
        askers = Askers(server.ports, "toy", versions.sound)
        usages.append(usage_of(server.process_id, server.ports.http, 0))
        began = time.monotonic()
        with askers.running():
            planned = versions.in_turn(publications)
            for step in range(1, MOMENTS + 1):
                for number in range(publications * (step - 1) // MOMENTS, publications * step // MOMENTS):
                    path, due = next(planned)
                    askers.version = done.one(server.ports.http, path, due) or askers.version
                    _wait(askers, count * (number + 1) // max(publications, 1))
                _wait(askers, count * step // MOMENTS)
                usages.append(usage_of(server.process_id, server.ports.http, askers.asked))
                say(f"{askers.asked} requests, {len(done.seconds)} published, {done.refused} refused")
        seconds = time.monotonic() - began
    report.failures = [*done.failures, *askers.failures]
    report.require(server.ended_well(), "cgan-serve did not end with exit code 0")
    for name, value in usages[MOMENTS // 2].figures.items():
        if name.endswith((" fds", " threads")) or name == "regions":
            last = usages[-1].figures[name]
            report.require(last <= value + SLACK, f"{name}: {value} half-way, {last} at the end")
    say(f"at the start, after the warm-up, and so on (KiB):\n{table(usages)}")
    report.figures = {
        "requests": askers.asked,
        "per_second": round(askers.asked / seconds, 1),
        "wrong": askers.wrong,
        **done.figures(),
        "growth_kib_per_10000": growth(usages[1], usages[-1]),
    }
    return report


def _wait(askers: Askers, until: int) -> None:
    """Until so many requests ended."""
    seen, changed = askers.asked, time.monotonic()
    while askers.asked < until:
        time.sleep(0.02)
        if askers.asked > seen:
            seen, changed = askers.asked, time.monotonic()
        assert time.monotonic() - changed < STALLED_SECONDS, f"no answer any more: {askers.failures[-3:]}"
