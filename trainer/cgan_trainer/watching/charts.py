"""Line charts as inline SVG: axes, ticks, raw and smoothed lines. The page has the colours, for light and dark.

This file computes where everything lies; `chart.html.j2` writes it down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime.pages import readable, render, short

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Axis", "Chart", "Points", "Series", "draw", "smooth", "thin"]

Points = tuple[tuple[float, float], ...]

# In units of the view box; a chart is as wide as its place on the page.
WIDTH, HEIGHT = 480, 238
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 10, 42
_TEMPLATE: Final = Path(__file__).with_name("chart.html.j2")
_MOST_POINTS = 400
_MOST_DOTS = 40
_SMOOTH_FROM = 12
_COLORS = 4


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: (x, y) in ascending x, all finite."""

    name: str
    points: Points


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines that share both axes."""

    title: str
    series: tuple[Series, ...]
    unit: str = ""
    """The unit of the vertical axis."""
    x_label: str = "images seen"
    hint: str = ""
    """What the reader should make of it."""
    from_zero: bool = False
    """Let the vertical axis begin at zero: so that the noise of rates and durations looks as small as it is."""
    noisy: bool = True
    """Whether a trailing mean helps; a schedule is exact."""

    @property
    def is_curve(self) -> bool:
        """Whether there is more than one value of a series: one alone is a figure, not a curve."""
        return any(len(series.points) > 1 for series in self.series)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Values to places: `low` lies at `start`, `high` at `end`, linear between."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def around(
        cls, values: Sequence[float], start: float, end: float, *, loose: bool, from_zero: bool = False
    ) -> Axis:
        """An axis that holds all `values`, with ticks at 1, 2 or 5 times a power of ten.

        Args:
            values: at least one, finite.
            start: where the lowest goes.
            end: where the highest goes.
            loose: end the axis at ticks, and at zero where that is near.
            from_zero: hold zero as well.
        """
        low, high = min(values), max(values)
        if from_zero:
            low, high = min(low, 0.0), max(high, 0.0)
        if loose and 0 < low < 0.35 * high:
            low = 0.0
        if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value, or all alike
            room = abs(high) * 0.1 or 1.0
            low, high = low - room, high + room
        step = _step(high - low)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if loose:
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            low, high = first * step, last * step
        ticks = tuple(number * step for number in range(first, last + 1))
        return cls(low=low, high=high, start=start, end=end, ticks=ticks)

    def place(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _step(span: float) -> float:
    """About five of them fit in `span`; infinite spans and subnormal ones end up at a finite, positive step."""
    rough = min(max(span / 5, 1e-300), 1e300)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Mean over the last `window` values, fewer at the start: a new value never changes an old mean."""
    means = []
    for end in range(1, len(values) + 1):
        part = values[max(0, end - window) : end]
        means.append(math.fsum(part) / len(part))
    return means


def thin(points: Points, limit: int = _MOST_POINTS) -> Points:
    """At most `limit` points; of each stretch the lowest and the highest stay, so no spike is lost."""
    if len(points) <= limit:
        return points
    inner, count = points[1:-1], (limit - 2) // 2
    kept: list[tuple[float, float]] = []
    for number in range(count):
        stretch = inner[number * len(inner) // count : (number + 1) * len(inner) // count]
        kept += sorted({min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])})
    return (points[0], *kept, points[-1])


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """A grid line, the text of a tick or a value that can be pointed at, in units of the view box."""

    x: str
    y: str
    text: str
    color: int = 0
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class _Stroke:
    """A line through points: `kind` "line", or "raw" for what lies behind its mean."""

    kind: str
    color: int
    points: str


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """Everything of a chart that is drawn."""

    label: str
    x_ticks: tuple[_Mark, ...]
    y_ticks: tuple[_Mark, ...]
    strokes: tuple[_Stroke, ...]
    dots: tuple[_Mark, ...]


def draw(chart: Chart) -> Markup:
    """A figure with title, legend and image; without the image while there is one value of each series."""
    return render(
        _TEMPLATE,
        chart=chart,
        drawing=_drawing(chart) if chart.is_curve else None,
        legend=[
            (number % _COLORS, series.name, readable(series.points[-1][1]))
            for number, series in enumerate(chart.series)
        ],
        size={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP},
    )


def _drawing(chart: Chart) -> _Drawing:
    everything = [point for series in chart.series for point in series.points]
    xs = Axis.around([x for x, _ in everything], LEFT, WIDTH - RIGHT, loose=False)
    room = TOP + (16 if chart.unit else 0)  # for the unit, above the axis
    ys = Axis.around([y for _, y in everything], HEIGHT - BOTTOM, room, loose=True, from_zero=chart.from_zero)
    said = "; ".join(
        f"{series.name} from {readable(series.points[0][1])} to {readable(series.points[-1][1])}"
        for series in chart.series
    )
    numbered = [(number % _COLORS, series) for number, series in enumerate(chart.series)]
    return _Drawing(
        label=f"{chart.title} over {chart.x_label}: {said}",
        x_ticks=tuple(
            _Mark(x=_place(xs, tick), y=str(HEIGHT - BOTTOM + 16), text=short(tick)) for tick in xs.ticks
        ),
        y_ticks=tuple(_Mark(x=str(LEFT - 7), y=_place(ys, tick), text=short(tick)) for tick in ys.ticks),
        strokes=tuple(s for color, series in numbered for s in _strokes(series, color, xs, ys, chart.noisy)),
        dots=tuple(dot for color, series in numbered for dot in _dots(series, color, xs, ys, chart.noisy)),
    )


def _is_smoothed(series: Series, noisy: bool) -> bool:
    return noisy and len(series.points) >= _SMOOTH_FROM


def _strokes(series: Series, color: int, xs: Axis, ys: Axis, noisy: bool) -> list[_Stroke]:
    """The values; from a dozen on, faint behind their trailing mean."""
    if not _is_smoothed(series, noisy):
        return [_Stroke(kind="line", color=color, points=_path(series.points, xs, ys))]
    means = smooth([y for _, y in series.points], max(3, len(series.points) // 20))
    calm = tuple((x, mean) for (x, _), mean in zip(series.points, means, strict=True))
    return [
        _Stroke(kind="raw", color=color, points=_path(series.points, xs, ys)),
        _Stroke(kind="line", color=color, points=_path(calm, xs, ys)),
    ]


def _dots(series: Series, color: int, xs: Axis, ys: Axis, noisy: bool) -> list[_Mark]:
    """A dot with its value for each point, while they are few."""
    if len(series.points) > _MOST_DOTS:
        return []
    return [
        _Mark(
            x=_place(xs, x),
            y=_place(ys, y),
            text=f"{series.name} {readable(y)} after {readable(x)}",
            color=color,
            faint=_is_smoothed(series, noisy),
        )
        for x, y in series.points
    ]


def _path(points: Points, xs: Axis, ys: Axis) -> str:
    return " ".join(f"{_place(xs, x)},{_place(ys, y)}" for x, y in thin(points))


def _place(axis: Axis, value: float) -> str:
    return f"{axis.place(value):.1f}"
