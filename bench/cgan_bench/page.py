"""A report as a page: every figure, the plots of `plots/`, and what became of an earlier result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cgan_runtime.pages import Table, readable, write_page

from cgan_bench.comparison import Comparison
from cgan_bench.plots import fidelity_plot, roofline_plot, spread_plot, throughput_plot
from cgan_bench.plots.frame import marks_of
from cgan_bench.report_base import BaseReport

__all__ = ["write_report"]

_PAGE: Final = Path(__file__).with_name("bench.html.j2")


def write_report(path: Path, report: BaseReport[Any, Any], comparison: Comparison | None = None) -> None:
    """Write the page, complete or not at all.

    Args:
        path: of the page.
        report: what was measured.
        comparison: the same beside an earlier result.
    """
    marks = marks_of(row.title for row in report.rows)
    write_page(
        path,
        _PAGE,
        title=report.title,
        kicker=f"cgan-bench · {report.about()['measured']}",
        invalid=report.complaint if report.invalid else "",
        verdicts=[*report.verdicts(), *([comparison.verdict] if comparison else [])],
        doubts=list(report.doubts()),
        comparison=comparison,
        blocks=[
            (
                report.block_title(one),
                report.table(one),
                list(report.more_tables(one)),
                _drawn(
                    spread_plot(report.plotted(one), report.times_what),
                    fidelity_plot(report.fidelity(one), marks),
                    roofline_plot(report.roofline(one), marks),
                ),
            )
            for one in report.blocks
            if one.rows
        ],
        over_blocks=_drawn(throughput_plot(report.throughput(), marks)),
        notes=[*report.not_measured(), *report.notes(), *report.definitions()],
        machine=_machine(report.environment),
    )


def _drawn(*plots: str) -> list[str]:
    """Those that had something to draw."""
    return [plot for plot in plots if plot]


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
