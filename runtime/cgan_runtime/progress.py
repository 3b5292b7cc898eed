"""Progress on stderr: a line that stays in place on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from cgan_runtime.limits import MAX_SENTENCE, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

__all__ = ["Pace", "Report", "leads", "note", "progress"]

_LINE_EVERY_S = 10.0
_DRAW_EVERY_S = 0.1
_WINDOW_S = 30.0
# A pause: a gap between two reports of more than `_PAUSE` times the median of the `_BESIDE` gaps before and after.
_PAUSE, _BESIDE = 4.0, 3
_LINE_WIDTH = 109
_BAR_WIDTHS = 10, 30  # at least, at most

Values = Mapping[str, float | str]


class Report(Protocol):
    """What a loop calls after each step."""

    def __call__(self, done: int, total: int, values: Values | None = None) -> None:
        """Say how far it is.

        Args:
            done: so far, with what was done before a resume.
            total: when it is finished.
            values: figures of the moment, the most important first; a text may have the name "". None: as before.
        """


def note(sentence: str) -> None:
    """Words on stderr; of several processes that train together, only the first prints them.

    File names may be in them: what would give the terminal orders is replaced.
    """
    if not leads():
        return
    sys.stderr.write("".join(f"{printable(line, MAX_SENTENCE)}\n" for line in sentence.split("\n")))
    sys.stderr.flush()


@contextlib.contextmanager
def progress(
    title: str, *, unit: str, start: int = 0, clock: Callable[[], float] = time.monotonic
) -> Iterator[Report]:
    """Yield `report(done, total, values)`.

    Args:
        title: what is being done.
        unit: what is counted, "images" for example.
        start: how much was done before, so that pace and time left are honest after a resume.
        clock: seconds that never run backwards.
    """
    state = _State(title, unit, Pace(start, clock()), clock)
    # A dumb terminal, an editor's for example, cannot go back to the start of a line.
    if not leads():
        yield _silence
    elif sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown"):
        with _in_place(state) as report:
            yield report
    else:
        yield _lines(state)


class Pace:
    """How fast it goes, over the last half minute: what was slow or fast before does not count.

    Pauses between two reports that are much longer than those beside them, a validation for example, do not make it
    slower; they count in the time left, by their share so far. Where all that follows takes as long, it is slower.

    Args:
        start: how much was done at the beginning.
        now_s: when that was, in seconds of the clock used throughout.
    """

    def __init__(self, start: int, now_s: float) -> None:
        self.start, self.began_s = start, now_s
        self._seen = deque([(now_s, start)])
        self._paused_s = 0.0

    def add(self, done: int, now_s: float) -> None:
        """Note how much is done; at most ten moments a second are kept."""
        if len(self._seen) > 1 and now_s - self._seen[-2][0] < _DRAW_EVERY_S:
            self._seen[-1] = (now_s, done)
        else:
            self._seen.append((now_s, done))
            gaps = self._gaps_s()
            if _is_pause(gaps, len(gaps) - 1):
                self._paused_s += gaps[-1]
        # The oldest moment kept lies at or before the window's beginning: steps longer than it count too.
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - _WINDOW_S:
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        """How much is done in a second, 0 while that is not known."""
        gaps, seconds, count = self._gaps_s(), 0.0, 0
        for at, ((_, before), (_, now)) in enumerate(itertools.pairwise(self._seen)):
            if not _is_pause(gaps, at):
                seconds, count = seconds + gaps[at], count + now - before
        return max(count / seconds, 0.0) if seconds > 0 else 0.0

    def left_s(self, rest: int) -> float:
        """Seconds until `rest` more is done, pauses included; infinite while the pace is not known."""
        passed_s = self._seen[-1][0] - self.began_s
        slower = passed_s / (passed_s - self._paused_s) if passed_s > self._paused_s else 1.0
        return rest / self.per_s * slower if self.per_s else math.inf

    def _gaps_s(self) -> list[float]:
        """Seconds between two moments that are kept."""
        return [now_s - before_s for (before_s, _), (now_s, _) in itertools.pairwise(self._seen)]


def _is_pause(gaps_s: Sequence[float], at: int) -> bool:
    """Whether a gap is much longer than those beside it; False where these are fewer than `_BESIDE`."""
    beside = (*gaps_s[max(0, at - _BESIDE) : at], *gaps_s[at + 1 : at + 1 + _BESIDE])
    return len(beside) >= _BESIDE and gaps_s[at] > _PAUSE * statistics.median(beside) > 0


class _State:
    """What there is to say, in words."""

    def __init__(self, title: str, unit: str, pace: Pace, clock: Callable[[], float]) -> None:
        self.title, self.unit, self.pace, self.clock = title, unit, pace, clock
        self.done, self.total, self.now_s = pace.start, 0, pace.began_s
        self.values: Values = {}

    def update(self, done: int, total: int, values: Values | None) -> None:
        self.done, self.total, self.now_s = done, total, self.clock()
        self.values = self.values if values is None else dict(values)
        self.pace.add(done, self.now_s)

    def words(self) -> dict[str, str]:
        """Count, pace, and time left or taken, as far as they are known."""
        words = {"count": f"{self.done}/{self.total or '?'} {self.unit}"}
        if per_s := self.pace.per_s:
            words["pace"] = f"{_number(per_s)} {self.unit}/s"
        if self.done >= self.total > 0:
            words["time"] = f"took {_hours(self.now_s - self.pace.began_s)}"
        elif per_s and self.total:
            words["time"] = f"{_hours(self.pace.left_s(self.total - self.done))} left"
        return words

    def values_within(self, width: int) -> str:
        """As many values as fit, the first ones first."""
        text = ""
        for name, value in self.values.items():
            words = (text, name, value if isinstance(value, str) else _number(value))
            longer = " ".join(word for word in words if word)
            if len(longer) > width:
                break
            text = longer
        return text

    def line(self) -> str:
        line = f"{self.title}: {', '.join(self.words().values())}"
        values = self.values_within(_LINE_WIDTH - len(line) - 2)
        return f"{line}, {values}" if values else line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """One line that fits the terminal: values are left out first, then bar, pace, title and time."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        del console
        words = {"title": self.title, "bar": " " * _BAR_WIDTHS[0], **self.words()}
        for name in ("bar", "pace", "title", "time"):
            if len("  ".join(words.values())) > options.max_width:
                words.pop(name, None)
        room = options.max_width - len("  ".join(words.values()))
        values = self.values_within(room - 2)
        room -= len(values) + 2 if values else 0
        widths = {"bar": min(_BAR_WIDTHS[0] + room, _BAR_WIDTHS[1])}
        bar = ProgressBar(total=self.total or None, completed=self.done, width=widths["bar"], animation_time=0)
        table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        cells = [bar if name == "bar" else Text(text, no_wrap=True) for name, text in words.items()]
        table.add_row(*cells, *([Text(values, style="dim", no_wrap=True)] if values else []))
        yield table


@contextlib.contextmanager
def _in_place(state: _State) -> Iterator[Report]:
    """A line that is drawn again when something is reported, not by a thread. stdout is left to the data."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(state, console=console, auto_refresh=False, redirect_stdout=False) as live:
        drawn_s = -math.inf

        def report(done: int, total: int, values: Values | None = None) -> None:
            nonlocal drawn_s
            state.update(done, total, values)
            if state.now_s - drawn_s >= _DRAW_EVERY_S or done >= total:
                drawn_s = state.now_s
                live.refresh()

        yield report


def _silence(done: int, total: int, values: Values | None = None) -> None:
    del done, total, values


def _lines(state: _State) -> Report:
    told_s = state.now_s

    def report(done: int, total: int, values: Values | None = None) -> None:
        nonlocal told_s
        state.update(done, total, values)
        if state.now_s - told_s >= _LINE_EVERY_S or done >= total:
            told_s = state.now_s
            note(state.line())

    return report


def leads() -> bool:
    """Whether this process prints: of several started by torchrun, only the first does."""
    return os.environ.get("RANK", "0") == "0"


def _number(value: float) -> str:
    """At most three significant digits, but all before the point: 0.92, 14.1, 1234, 0.0002."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))) - (abs(value) < 1))}f}"


def _hours(seconds: float) -> str:
    """Seconds as hours, minutes and seconds: 0:02:40, 75:00:00."""
    whole = round(min(seconds, 1e9))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
