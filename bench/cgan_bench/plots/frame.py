"""What plots of points share: the size, axes with ticks, and for each row a mark of its own.

Marks differ in shape, not only in colour: they can be told apart in print, and by readers who see no colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cgan_runtime.pages import short

__all__ = ["BOTTOM", "LEFT", "RIGHT", "TOP", "Frame", "Mark", "Point", "Tick", "marks_of", "place", "ticks_of"]

# In units of the view box; a plot is as wide as its place on the page.
WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 46, 466, 30, 284  # of the area where values lie

# A character for the legend and the same shape as a path around (0, 0).
SHAPES: Final = (
    ("●○", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z"),
    ("■□", "M-4-4h8v8h-8z"),
    ("▲△", "M0-5.2l5 8.8h-10z"),
    ("◆◇", "M0-5.8l5.4 5.8l-5.4 5.8l-5.4-5.8z"),
    ("▼▽", "M0 5.2l5-8.8h-10z"),
    ("★☆", "M0-6.4l1.9 4.3l4.6 .4l-3.5 3.1l1 4.6l-4-2.4l-4 2.4l1-4.6l-3.5-3.1l4.6-.4z"),
)
COLORS: Final = 4


class Placing(Protocol):
    """An axis, linear or logarithmic."""

    @property
    def ticks(self) -> tuple[float, ...]:
        """Values that are written at it."""

    def place(self, value: float) -> float:
        """Where a value lies."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How a row is drawn in every plot: a colour of the page, a shape, and whether it is filled."""

    style: str
    character: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value of a row, and its words; `low` and `high` are the ends of its bar, None where it has none."""

    mark: Mark
    x: float
    y: float
    words: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A value at an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A plot without its values.

    Attributes:
        title: of the figure.
        words: the figures, for those who do not see them.
        x_label: below, with its unit.
        y_label: above the axis on the left, with its unit.
        x_ticks: below.
        y_ticks: on the left, each with a line across.
        hint: how to read it.
        width, height, left, right, top, bottom: in units of the view box.
    """

    title: str
    words: str
    x_label: str
    y_label: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    hint: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def marks_of(titles: Iterable[str]) -> Mapping[str, Mark]:
    """A mark for each title; the first twelve differ in shape, later ones of a shape in colour."""
    marks = {}
    for number, title in enumerate(dict.fromkeys(titles)):
        characters, path = SHAPES[number % len(SHAPES)]
        hollow = number // len(SHAPES) % 2
        color = (number + number // (2 * len(SHAPES))) % COLORS
        marks[title] = Mark(style=f"s{color}{' hollow' if hollow else ''}", character=characters[hollow], path=path)
    return marks


def ticks_of(axis: Placing) -> tuple[Tick, ...]:
    """The ticks of an axis, at their places."""
    return tuple(Tick(at=place(axis, tick), text=short(tick)) for tick in axis.ticks)


def place(axis: Placing, value: float) -> float:
    """Where a value lies, to a tenth of a unit."""
    return round(axis.place(value), 1)
