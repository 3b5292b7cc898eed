"""Speed against fidelity: what a row gains beside the reference, and what it costs in its outputs.

This file computes where everything lies; `fidelity.html.j2` writes it down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime.pages import render, short
from cgan_trainer.watching.charts import Axis

from cgan_bench.plot_data import Compared, Fidelity
from cgan_bench.plots.frame import BOTTOM, LEFT, RIGHT, TOP, Frame, Mark, Point, Tick, place, ticks_of
from cgan_bench.plots.log_axis import LogAxis

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["fidelity_plot"]

_PLOT: Final = Path(__file__).with_name("fidelity.html.j2")
EQUAL: Final = RIGHT - 22  # where rows lie whose outputs are equal: no logarithm of an error says that
END: Final = EQUAL - 34
LINE: Final = 16  # of text, of which each limit has one above the values
PADDING: Final = 0.06  # of the range, before the first value and after the last


@dataclass(frozen=True, kw_only=True)
class _Limit:
    """A figure that rows of some precisions must reach, and the text beside its upper end.

    The further to the left, the higher it ends: a text crosses none of the other lines.
    """

    x: float
    y: int
    text: str


def fidelity_plot(found: Fidelity | None, marks: Mapping[str, Mark]) -> Markup | str:
    """The plot; empty where there is nothing to compare.

    Args:
        found: the rows of a block.
        marks: of each title.
    """
    if found is None:
        return ""
    values = [point.fidelity for point in found.points if point.fidelity is not None]
    xs = _error_axis([*values, *found.limits]) if found.is_error else _psnr_axis([*values, *found.limits])
    tops = [max((point.times, *(point.interval or ()))) for point in found.points]
    top = TOP + LINE * len(found.limits)
    ys = Axis.around(tops, BOTTOM, top, loose=True, from_zero=True)
    unit = "largest error / largest value" if found.is_error else "PSNR of the worst image, dB"
    hint = (
        f"Right: nearer to {found.reference}; equal: to the last bit. Up: faster. Thin lines: the 95 % interval. "
        "Broken lines: what rows of a precision must reach."
    )
    frame = Frame(
        title="Speed against fidelity",
        words=f"Times as fast as {found.reference} and {unit}: " + "; ".join(map(_words, found.points)),
        x_label=f"{unit}, against {found.reference}",
        y_label=f"times as fast as {found.reference}",
        x_ticks=[*ticks_of(xs), Tick(at=EQUAL, text="equal")],
        y_ticks=ticks_of(ys),
        hint=hint,
        top=top,
    )
    return render(
        _PLOT,
        frame=frame,
        marks={point.title: marks[point.title] for point in found.points},
        points=[_point(point, xs, ys, marks[point.title]) for point in found.points],
        limits=[
            _Limit(x=place(xs, value), y=TOP + LINE * number, text=f"{names} {short(value)}")
            for number, (value, names) in enumerate(sorted(found.limits.items(), reverse=found.is_error))
        ],
        one=place(ys, 1),
        equal=(END + EQUAL) / 2,
    )


def _psnr_axis(values: Sequence[float]) -> Axis:
    padding = max(PADDING * (max(values) - min(values)), 1.0)
    return Axis.around([min(values) - padding, max(values) + padding], LEFT, END, loose=False)


def _error_axis(values: Sequence[float]) -> LogAxis:
    """The smallest error on the right, as the largest PSNR is."""
    return LogAxis.around(values, END, LEFT)


def _point(point: Compared, xs: Axis | LogAxis, ys: Axis, mark: Mark) -> Point:
    interval = point.interval
    return Point(
        mark=mark,
        x=EQUAL if point.fidelity is None else place(xs, point.fidelity),
        y=place(ys, point.times),
        low=None if interval is None else place(ys, interval[0]),
        high=None if interval is None else place(ys, interval[1]),
        words=_words(point),
    )


def _words(point: Compared) -> str:
    interval = "" if point.interval is None else f" ({point.interval[0]:.3f}-{point.interval[1]:.3f})"
    fidelity = "equal" if point.fidelity is None else f"{point.fidelity:.3g}"
    return f"{point.title} {point.times:.2f}{interval} at {fidelity}" + (point.remark and f", {point.remark}")
