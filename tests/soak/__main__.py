"""Keep a real server busy for long, break parts of it, or press it harder than it can bear.

    python -m tests.soak deaths --count 20
    python -m tests.soak reloads --count 25
    python -m tests.soak requests --count 100000 --reloads 200
    python -m tests.soak overload --seconds 20
    python -m tests.soak slow --count 500

deaths    each process is killed or stopped so often, under one client
reloads   versions follow one another under clients; every fifth is unsound and has to be refused
requests  the same with small requests; it is looked at what the processes take
overload  five times what can be answered
slow      clients that never finish a request, so many over each protocol, beside a good one

The last line is one JSON object; the exit code is 1 where anything broke the law: a wrong answer, a failed request,
an unsound version that was served.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.soak.base import Report

COUNTS: Final = {"deaths": 20, "reloads": 25, "requests": 100_000, "overload": 0, "slow": 500}

SHOWN: Final = 20  # failures


def report_of(kind: str, count: int, publications: int, seconds: float, folder: Path) -> Report:
    """Run one kind in a folder of its own."""
    from cgan_runtime.bundle import read_bundle

    from tests.helpers import export_facades

    if kind == "requests":
        from tests.soak.requests import requests

        return requests(folder, count, publications, _say)
    if kind == "overload":
        from tests.soak.overload import overload

        return overload(export_facades(folder, size=256, ngf=16), seconds, _say)
    if kind == "slow":
        from tests.soak.slow import slow

        return slow(export_facades(folder), count, _say)
    bundle = read_bundle(export_facades(folder))
    if kind == "reloads":
        from tests.soak.reloads import reloads

        return reloads(bundle, count, folder, _say)
    from tests.soak.deaths import deaths

    return deaths(bundle, count, _say)


def main() -> None:
    """Print what is measured, every failure, then the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=COUNTS)
    parser.add_argument("--count", type=int, help=f"how many; by default {COUNTS}")
    parser.add_argument("--reloads", type=int, default=200, help="of requests: versions published meanwhile")
    parser.add_argument("--seconds", type=float, default=20.0, help="of overload: length of each of its four parts")
    words = parser.parse_args()
    count = COUNTS[words.kind] if words.count is None else words.count
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"  # logs of the servers
        report = report_of(words.kind, count, words.reloads, words.seconds, Path(folder))
    for failure in report.failures[:SHOWN]:
        _say(failure)
    _say(report.as_json(words.kind))
    sys.exit(bool(report.failures))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
