"""Line charts as inline SVG: axes, ticks, raw and smoothed lines. The page has the colours, for light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cgan_trainer.watching.formatting import readable, short
from cgan_trainer.watching.html import Markup, element

__all__ = ["Axis", "Chart", "Points", "Series", "draw", "smooth", "thin"]

Points = tuple[tuple[float, float], ...]

# In units of the view box; a chart is as wide as its place on the page.
WIDTH, HEIGHT = 480, 238
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 10, 42
_MOST_POINTS = 400
_MOST_DOTS = 40
_SMOOTH_FROM = 12


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
    x_label: str = "images seen"
    hint: str = ""
    """What the reader should make of it."""
    from_zero: bool = False
    """Let the vertical axis begin at zero: so that the noise of rates and durations looks as small as it is."""
    noisy: bool = True
    """Whether a trailing mean helps; a schedule is exact."""


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


def draw(chart: Chart) -> Markup:
    """A figure with title, legend and picture."""
    items = [
        element(
            "li",
            element("i", class_=f"swatch s{number % 4}"),
            series.name,
            " ",
            element("b", readable(series.points[-1][1])),
        )
        for number, series in enumerate(chart.series)
    ]
    return element(
        "figure",
        element("figcaption", chart.title),
        element("ul", *items, class_="legend"),
        _picture(chart),
        *([element("p", chart.hint, class_="hint")] if chart.hint else []),
        class_="chart",
    )


def _picture(chart: Chart) -> Markup:
    everything = [point for series in chart.series for point in series.points]
    xs = Axis.around([x for x, _ in everything], LEFT, WIDTH - RIGHT, loose=False)
    ys = Axis.around([y for _, y in everything], HEIGHT - BOTTOM, TOP, loose=True, from_zero=chart.from_zero)
    said = "; ".join(
        f"{series.name} from {readable(series.points[0][1])} to {readable(series.points[-1][1])}"
        for series in chart.series
    )
    return element(
        "svg",
        *_axes(xs, ys, chart.x_label),
        *(
            part
            for number, series in enumerate(chart.series)
            for part in _line(series, number % 4, xs, ys, chart.noisy)
        ),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{chart.title} over {chart.x_label}: {said}",
    )


def _axes(xs: Axis, ys: Axis, x_label: str) -> list[Markup]:
    parts = []
    for tick in ys.ticks:
        y = f"{ys.place(tick):.1f}"
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        parts.append(element("text", short(tick), x=LEFT - 7, y=y, dy="0.32em", text_anchor="end"))
    below = HEIGHT - BOTTOM + 16
    parts += [
        element("text", short(tick), x=f"{xs.place(tick):.1f}", y=below, text_anchor="middle") for tick in xs.ticks
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, element("text", x_label, x=middle, y=HEIGHT - 4, text_anchor="middle", class_="label")]


def _line(series: Series, color: int, xs: Axis, ys: Axis, noisy: bool) -> list[Markup]:
    """The values; from a dozen on, faint behind their trailing mean."""
    if len(series.points) < _SMOOTH_FROM or not noisy:
        return [_path(thin(series.points), f"line s{color}", xs, ys), *_dots(series, color, xs, ys)]
    means = smooth([y for _, y in series.points], max(3, len(series.points) // 20))
    calm = tuple((x, mean) for (x, _), mean in zip(series.points, means, strict=True))
    return [
        _path(thin(series.points), f"raw s{color}", xs, ys),
        _path(thin(calm), f"line s{color}", xs, ys),
        *_dots(series, color, xs, ys, "dot faint"),
    ]


def _dots(series: Series, color: int, xs: Axis, ys: Axis, kind: str = "dot") -> list[Markup]:
    if len(series.points) > _MOST_DOTS:
        return []
    return [
        element(
            "circle",
            element("title", f"{series.name} {readable(y)} after {readable(x)}"),
            class_=f"{kind} s{color}",
            cx=f"{xs.place(x):.1f}",
            cy=f"{ys.place(y):.1f}",
            r=3,
        )
        for x, y in series.points
    ]


def _path(points: Points, kind: str, xs: Axis, ys: Axis) -> Markup:
    words = " ".join(f"{xs.place(x):.1f},{ys.place(y):.1f}" for x, y in points)
    return element("polyline", class_=kind, points=words)
