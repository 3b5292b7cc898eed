"""Fuzz one kind of input or the server, or kill processes of one kind.

    python -m tests.fuzz checkpoints --count 10000 --first 0
    python -m tests.fuzz requests --count 12000
    python -m tests.fuzz kills --what training --count 200
    unshare -rm python -m tests.fuzz full-disk --count 8

Every mutant follows from its kind and number: a failure is repeated with --first NUMBER --count 1. The last line is
one JSON object; the exit code is 1 where anything broke the law.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz.base import Target, fuzz

KINDS: Final = ("checkpoints", "pictures", "bundles", "datasets")


def targets_of(kind: str) -> Callable[[Path], list[Target]]:
    """What makes the sound files of a kind."""
    from importlib import import_module

    made: Callable[[Path], list[Target]] = import_module(f"tests.fuzz.{kind}").targets
    return made


def main() -> None:
    """Print every failure, then the counts as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=(*KINDS, "kills", "full-disk", "requests"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--what", choices=("export", "training"), default="export", help="what is killed")
    parser.add_argument("--only", default="", help="of full-disk: the commands whose name contains this")
    words = parser.parse_args()
    warnings.simplefilter("error")  # a warning is a second sentence, and in tests an error
    with tempfile.TemporaryDirectory() as folder:
        if words.kind == "kills":
            from tests.fuzz.kills import kills

            report = kills(words.what, words.count, Path(folder), _say)
        elif words.kind == "requests":
            from tests.fuzz.requests import fuzz_requests_here

            report = fuzz_requests_here(Path(folder), words.count, words.first, _say)
        elif words.kind == "full-disk":
            from tests.fuzz.full_disk import full_disk

            report = full_disk(words.count, words.only, Path(folder), _say)
        else:
            report = fuzz(words.kind, targets_of(words.kind)(Path(folder)), words.count, words.first, _say)
    _say(report.as_json(words.kind if words.kind != "kills" else f"kills of {words.what}"))
    sys.exit(bool(report.failures))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
