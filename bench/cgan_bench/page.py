"""A report as a page: every figure, and for each block a plot of how the times of its rows are spread.

This file computes where everything lies; `spread.html.j2` writes it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cgan_runtime.pages import Table, readable, render, short, write_page
from cgan_trainer.watching.charts import Axis

from cgan_bench.report_base import BaseReport, Measured, figure

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["spread_plot", "write_report"]

_PAGE: Final = Path(__file__).with_name("bench.html.j2")
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


def write_report(path: Path, report: BaseReport[Any, Any]) -> None:
    """Write the page, complete or not at all."""
    blocks = [block for block in report.blocks if block.rows]
    write_page(
        path,
        _PAGE,
        title=report.title,
        kicker=f"cgan-bench · {report.about()['measured']}",
        invalid=report.complaint if report.invalid else "",
        verdicts=list(report.verdicts()),
        doubts=list(report.doubts()),
        blocks=[
            (
                report.block_title(one),
                report.table(one),
                list(report.more_tables(one)),
                spread_plot(rows, report.times_what) if (rows := report.plotted(one)) else "",
            )
            for one in blocks
        ],
        notes=[*report.not_measured(), *report.notes(), *report.definitions()],
        machine=_machine(report.environment),
    )


def spread_plot(rows: Sequence[Measured], what: str) -> Markup:
    """Box plots of the times of rows [ms], one below the other on one axis from 0.

    Args:
        rows: of one block.
        what: the times are of: "latency".
    """
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


def _machine(environment: dict[str, Any]) -> Table:
    """The environment, a row for each fact."""
    where = environment
    memory = f"{readable(round(where['memory_mb'] / 1e3, 1))} GB" if where["memory_mb"] else "not known"
    return Table(
        text=True,
        rows=(
            ("processor", f"{where['cpu']}, {where['cores']} cores"),
            ("memory", memory),
            ("system", f"{where['os']}, Python {where['python']}"),
            ("load before", "not known" if where["load_average"] is None else str(where["load_average"])),
            ("with", ", ".join(f"{name} {version}" for name, version in where["versions"].items())),
            ("time", where["date"].replace("T", " ").replace("+00:00", " UTC")),
        ),
    )
