"""Images a second over the batch size: a line for each row that was measured at several.

This file computes where everything lies; `throughput.html.j2` writes it down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime.pages import render, short
from cgan_trainer.watching.charts import Axis

from cgan_bench.plot_data import Throughput
from cgan_bench.plots.frame import BOTTOM, LEFT, RIGHT, TOP, Frame, Mark, Point, Tick, place, ticks_of
from cgan_bench.plots.log_axis import LogAxis
from cgan_bench.report_base import figure

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["throughput_plot"]

_PLOT: Final = Path(__file__).with_name("throughput.html.j2")
MARGIN: Final = 20  # beside the first and the last batch size
TICK_ROOM: Final = 24


@dataclass(frozen=True, kw_only=True)
class _Line:
    mark: Mark
    points: Sequence[Point]

    @property
    def path(self) -> str:
        return " ".join(f"{point.x},{point.y}" for point in self.points)


def throughput_plot(found: Sequence[Throughput], marks: Mapping[str, Mark]) -> Markup | str:
    """The plot; empty where no row was measured at two batch sizes.

    Args:
        found: each row at each batch size.
        marks: of each title.
    """
    rows: dict[str, dict[int, Throughput]] = {}
    for one in sorted(found, key=lambda one: one.batch):
        rows.setdefault(one.title, {})[one.batch] = one
    if not any(len(row) > 1 for row in rows.values()):
        return ""
    batches = tuple(sorted({one.batch for one in found}))
    xs = LogAxis(
        low=batches[0], high=batches[-1], start=LEFT + MARGIN, end=RIGHT - MARGIN, ticks=tuple(map(float, batches))
    )
    tops = [max(one.images_per_s, one.p90 or 0.0) for one in found]
    ys = Axis.around(tops, BOTTOM, TOP, loose=True, from_zero=True)
    fastest_last = sorted(rows, key=lambda title: list(rows[title].values())[-1].images_per_s, reverse=True)
    frame = Frame(
        title="Throughput over the batch size",
        words="Images a second over the batch size: " + "; ".join(_words(t, rows[t].values()) for t in rows),
        x_label="batch size, images",
        y_label="images/s",
        x_ticks=_apart(ticks_of(xs)),
        y_ticks=ticks_of(ys),
        hint=_hint(found),
    )
    return render(
        _PLOT,
        frame=frame,
        marks={title: marks[title] for title in fastest_last},
        lines=[
            _Line(mark=marks[title], points=[_point(one, xs, ys, marks[title]) for one in row.values()])
            for title, row in rows.items()
        ],
    )


def _point(one: Throughput, xs: LogAxis, ys: Axis, mark: Mark) -> Point:
    return Point(
        mark=mark,
        x=place(xs, one.batch),
        y=place(ys, one.images_per_s),
        low=None if one.p10 is None else place(ys, one.p10),
        high=None if one.p90 is None else place(ys, one.p90),
        words=f"{one.title}: {figure(one.images_per_s)} images/s at batch {one.batch}",
    )


def _apart(ticks: Iterable[Tick]) -> list[Tick]:
    """Without those whose text would touch that of the one before."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= TICK_ROOM:
            kept.append(tick)
    return kept


def _words(title: str, row: Iterable[Throughput]) -> str:
    each = (f"{figure(one.images_per_s)} at {short(one.batch)}" for one in row)
    return f"{title} {', '.join(each)}"


def _hint(found: Iterable[Throughput]) -> str:
    order = "The legend has the fastest row at the largest batch size first."
    bars = any(one.p10 is not None for one in found)
    return f"{order} Thin lines: from the 10th to the 90th percentile of the rounds." if bars else order
