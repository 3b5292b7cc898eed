"""The roofline: what the machine can do at most for each operation on a byte, and what each row makes of it.

After S. Williams, A. Waterman and D. Patterson, Roofline: an insightful visual performance model for multicore
architectures, Communications of the ACM 52, 2009: the lesser of the peak and of the rate of memory x operations per
byte.
This file computes where everything lies; `roofline.html.j2` writes it down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime.pages import render

from cgan_bench.plot_data import Achieved, Roofline
from cgan_bench.plots.frame import BOTTOM, LEFT, RIGHT, TOP, Frame, Mark, Point, place, ticks_of
from cgan_bench.plots.log_axis import LogAxis
from cgan_bench.report_base import figure

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["roofline_plot"]

_PLOT: Final = Path(__file__).with_name("roofline.html.j2")
TEXT_ROOM: Final = 17  # between two lines of text
ROOM: Final = 2.5  # the axis goes on for this factor beyond all values: on the right the roofs have their names
MARK_ROOM: Final = 12.0  # between two marks


@dataclass(frozen=True, kw_only=True)
class _Roof:
    """The horizontal part of a roof, from where it meets the slope to the right, and its name above it."""

    left: float
    y: float
    text_y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class _Slope:
    """The part that all roofs share; `angle` is that of its name [degrees, clockwise]."""

    left: float
    low: float
    right: float
    high: float
    angle: float
    text: str


def roofline_plot(found: Roofline | None, marks: Mapping[str, Mark]) -> Markup | str:
    """The plot; empty where the machine's peaks, the work or the times are not known.

    Args:
        found: the rows of a block.
        marks: of each title.
    """
    if found is None or not found.points:
        return ""
    peaks = sorted(found.peaks_gflops.items(), key=lambda one: one[1], reverse=True)
    ridges = [gflops / found.gb_s for _, gflops in peaks]
    intensities = [point.flops_per_byte for point in found.points]
    xs = LogAxis.around([min(*ridges, *intensities) / ROOM, max(*ridges, *intensities) * ROOM], LEFT, RIGHT)
    rates = [*found.peaks_gflops.values(), *(point.gflops for point in found.points)]
    ys = LogAxis.around([min(rates) / 1.5, max(rates) * 1.1], BOTTOM, TOP)
    frame = Frame(
        title="Roofline",
        words=_words(found),
        x_label="operations per byte, FLOP/byte",
        y_label="GFLOP/s",
        x_ticks=ticks_of(xs),
        y_ticks=ticks_of(ys),
        hint="Lines: what this machine did at most in the same run, in a matrix product of each precision and in a "
        "copy. Points: the operations of the plain graph / p50, over the bytes that it moves at least. A row that "
        "does fewer operations can lie above its line. Marks that would cover each other stand side by side.",
    )
    return render(
        _PLOT,
        frame=frame,
        marks={point.title: marks[point.title] for point in found.points},
        roofs=_roofs(peaks, found.gb_s, xs, ys),
        slope=_slope(found.gb_s, max(rate for _, rate in peaks), xs, ys),
        points=_side_by_side(
            [
                Point(
                    mark=marks[point.title],
                    x=place(xs, point.flops_per_byte),
                    y=place(ys, point.gflops),
                    words=_point_words(point),
                )
                for point in found.points
            ]
        ),
    )


def _side_by_side(points: Sequence[Point]) -> list[Point]:
    """Rows of one precision have the same intensity: one that would cover an earlier one moves to its side."""
    placed: list[Point] = []
    for point in points:
        near = [other.x for other in placed if abs(other.y - point.y) < MARK_ROOM]
        steps = (0, *(sign * number for number in range(1, len(near) + 1) for sign in (1, -1)))
        free = (x for x in (point.x + MARK_ROOM * step for step in steps) if _is_free(x, near))
        placed.append(replace(point, x=round(next(free, point.x), 1)))
    return placed


def _is_free(x: float, near: Sequence[float]) -> bool:
    return all(abs(x - other) >= MARK_ROOM - 0.1 for other in near)


def _roofs(peaks: Sequence[tuple[str, float]], gb_s: float, xs: LogAxis, ys: LogAxis) -> list[_Roof]:
    """From the highest down; a name that has no room above its line moves down, below the one before."""
    roofs: list[_Roof] = []
    for name, gflops in peaks:
        y = place(ys, gflops)
        above = roofs[-1].text_y + TEXT_ROOM if roofs else 0.0
        roofs.append(
            _Roof(left=place(xs, gflops / gb_s), y=y, text_y=max(y - 5, above), text=f"{name} {figure(gflops)}")
        )
    return roofs


def _slope(gb_s: float, highest_gflops: float, xs: LogAxis, ys: LogAxis) -> _Slope:
    """From where it enters the plot, on the left or from below, to the highest roof."""
    first = max(xs.low, ys.low / gb_s)
    left, right = place(xs, first), place(xs, highest_gflops / gb_s)
    low, high = place(ys, first * gb_s), place(ys, highest_gflops)
    return _Slope(
        left=left,
        low=low,
        right=right,
        high=high,
        angle=round(math.degrees(math.atan2(high - low, right - left)), 1),
        text=f"copy {figure(gb_s)} GB/s",
    )


def _words(found: Roofline) -> str:
    peaks = ", ".join(f"{name} {figure(gflops)}" for name, gflops in found.peaks_gflops.items())
    points = "; ".join(map(_point_words, found.points))
    return f"Roofline: matrix products {peaks} GFLOP/s, copy {figure(found.gb_s)} GB/s. {points}"


def _point_words(point: Achieved) -> str:
    return f"{point.title} {figure(point.gflops)} GFLOP/s at {figure(point.flops_per_byte)} FLOP/byte"
