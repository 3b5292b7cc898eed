"""A report on a terminal: a table per block, what must be said of it, and the result in words."""

from __future__ import annotations

from typing import Any

from cgan_runtime.pages import Cell, Table
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as PrintedTable

from cgan_bench.comparison import Comparison
from cgan_bench.report_base import BaseReport

__all__ = ["print_comparison", "print_report"]


def print_report(report: BaseReport[Any, Any]) -> None:
    """The tables without the columns of `report.details`, then a line each."""
    console = _console(report.width)
    console.print(report.title, style="bold", markup=False)
    for block in report.blocks:
        if block.rows:
            console.print(_printed(report.table(block), report.block_title(block), report.details))
            for title, table in report.more_tables(block):
                if not report.details.issuperset(table.heads[1:]):
                    console.print(_printed(table, title, report.details))
    for line in (*report.not_measured(), report.machine, report.reference_note, *report.notes(), *report.doubts()):
        if line:
            console.print(line, markup=False)
    console.print("All figures and what they mean: --html FILE or --json.", style="dim", markup=False)
    console.print()
    for line in report.verdicts():
        console.print(line, style="bold", markup=False)


def print_comparison(comparison: Comparison) -> None:
    """The change of each row, what must be said of it, and the result in words."""
    console = _console(BaseReport.width)
    console.print()
    console.print(_printed(comparison.table, comparison.title, comparison.details))
    for line in comparison.notes:
        console.print(line, markup=False)
    console.print(comparison.verdict, style="bold", markup=False)


def _console(width: int) -> Console:
    console = Console(highlight=False)
    # A file or a pipe has no width of its own.
    return console if console.is_terminal else Console(highlight=False, width=width)


def _printed(table: Table, title: str, hidden: frozenset[str]) -> PrintedTable:
    shown = [number for number, head in enumerate(table.heads) if head not in hidden]
    printed = PrintedTable(
        title=escape(title), title_justify="left", title_style="", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for number in shown:
        printed.add_column(_words(table.heads[number]), justify="right" if number else "left")
    for row in table.rows:
        printed.add_row(*(_words(row[number]) for number in shown))
    return printed


def _words(content: str | Cell) -> str:
    if isinstance(content, str):
        return escape(content)
    text = f"[red]{escape(content.text)}[/]" if content.mark == "bad" else escape(content.text)
    return f"{text}\n[dim]{escape(content.note)}[/]" if content.note else text
