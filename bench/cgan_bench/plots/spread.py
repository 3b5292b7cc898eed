"""How the times of the rows of a block are spread: box plots, one below the other.

This file computes where everything lies; `spread.html.j2` writes it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from cgan_runtime.pages import render, short
from cgan_trainer.watching.charts import Axis

from cgan_bench.report_base import Measured, figure

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["spread_plot"]

_PLOT: Final = Path(__file__).with_name("spread.html.j2")
# In units of the view box; a plot is as wide as its place on the page.
WIDTH: Final = 480
MARGIN: Final = 14
ROW: Final = 54
PERCENTS: Final = (10, 25, 50, 75, 90)


@dataclass(frozen=True, kw_only=True)
class _Box:
    """The times of a row: where each of `PERCENTS` lies, and the words beside it."""

    title: str
    words: str
    y: int
    places: tuple[float, ...]


def spread_plot(rows: Sequence[Measured], what: str) -> Markup | str:
    """Box plots of the times of rows [ms], one below the other on one axis from 0; empty where there is no row.

    Args:
        rows: of one block.
        what: the times are of: "latency".
    """
    if not rows:
        return ""
    spreads = [np.percentile(row.latencies_ms, PERCENTS) for row in rows]
    axis = Axis.around([float(max(s[-1] for s in spreads))], MARGIN, WIDTH - MARGIN, loose=True, from_zero=True)
    boxes = [
        _Box(
            title=row.title,
            words=f"{figure(float(spread[2]))} ms ({figure(float(spread[1]))}-{figure(float(spread[3]))})"
            + (", noisy" if row.noisy else ""),
            y=number * ROW,
            places=tuple(round(axis.place(float(value)), 1) for value in spread),
        )
        for number, (row, spread) in enumerate(zip(rows, spreads, strict=True))
    ]
    return render(
        _PLOT,
        what=what,
        boxes=boxes,
        ticks=[(round(axis.place(tick), 1), short(tick)) for tick in axis.ticks],
        width=WIDTH,
        middle=WIDTH / 2,
        bottom=ROW * len(rows),
    )
