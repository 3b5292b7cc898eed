"""Progress on stderr: a bar with the time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["note", "progress"]

_LINE_EVERY_S = 10.0


def note(sentence: str) -> None:
    """One line on stderr."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


@contextlib.contextmanager
def progress(title: str, *, unit: str, start: int = 0) -> Iterator[Callable[..., None]]:
    """Yield `report(done, total)`.

    Args:
        title: what is being done.
        unit: what is counted, "images" for example.
        start: how much was done before, so that the time left is honest after a resume.
    """
    if sys.stderr.isatty():
        with _bar(title, unit, start) as report:
            yield report
    else:
        yield _lines(title, unit, start)


@contextlib.contextmanager
def _bar(title: str, unit: str, start: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, completed=start, total=None)
        yield lambda done, total, _values=None: bar.update(task, completed=done, total=total)


def _lines(title: str, unit: str, start: int) -> Callable[..., None]:
    began_s = time.monotonic()
    last_s = began_s

    def report(done: int, total: int, _values: object = None) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s < _LINE_EVERY_S and done < total:
            return
        last_s = now_s
        left_s = (now_s - began_s) / max(done - start, 1) * (total - done)
        note(f"{title}: {done}/{total} {unit}, {left_s:.0f} s left")

    return report
