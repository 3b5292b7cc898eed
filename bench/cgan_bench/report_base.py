"""What the reports of inference and of training share: rows in blocks, what is invalid and absent, table and JSON.

A block holds the rows of one batch size; the first row is its reference.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cgan_bench.rounds import Plan
from cgan_bench.rows import NOISY_RATIO, Absent, Ratio

__all__ = [
    "WIDE",
    "BaseReport",
    "Measured",
    "column_heads",
    "figure",
    "machine_note",
    "new_table",
    "print_report",
    "ratio_cell",
    "title_cell",
]

WIDTH_WITHOUT_TERMINAL: Final = 120
WIDE: Final = 104  # columns that the whole table needs; in fewer the least needed figures stay in the JSON


class Measured(Protocol):
    """What every row can tell."""

    @property
    def title(self) -> str:
        """Name of the row."""

    @property
    def description(self) -> str:
        """Library, version, device, threads."""

    @property
    def noisy(self) -> bool:
        """Whether the machine was not quiet."""

    @property
    def valid(self) -> bool:
        """Whether its result is the reference's."""

    def to_json(self) -> dict[str, Any]:
        """The row as plain values, as --json prints it."""


R = TypeVar("R", bound=Measured)
R_co = TypeVar("R_co", bound=Measured, covariant=True)


class Block(Protocol[R_co]):
    """The rows of one batch size."""

    @property
    def rows(self) -> tuple[R_co, ...]:
        """The rows of this block; the reference comes first."""

    @property
    def absent(self) -> tuple[Absent, ...]:
        """The rows that could not be measured, and why."""


B = TypeVar("B", bound=Block[Any])


@dataclass(frozen=True, kw_only=True)
class BaseReport(ABC, Generic[B, R]):
    """Everything one command measured.

    Attributes:
        plan: how long and how.
        environment: the machine, from environment.py.
        blocks: one per batch size and device.
    """

    plan: Plan
    environment: dict[str, Any]
    blocks: tuple[B, ...]

    @property
    def rows(self) -> list[R]:
        """All rows, block by block."""
        return [row for block in self.blocks for row in block.rows]

    @property
    def invalid(self) -> list[R]:
        """Rows whose result is not the reference's."""
        return [row for row in self.rows if not row.valid]

    @property
    def absent(self) -> tuple[Absent, ...]:
        """The rows that could not be measured; the same row with the same reason once."""
        return tuple(dict.fromkeys(absent for block in self.blocks for absent in block.absent))

    def to_json(self) -> dict[str, Any]:
        """Plain values: environment, options, every row with each of its latencies, what is absent and why."""
        return {
            "tool": "cgan-bench",
            "model": self.title,
            **self.about(),
            "environment": self.environment,
            "rows": [row.to_json() for row in self.rows],
            "absent": [dataclasses.asdict(absent) for absent in self.absent],
            "valid": not self.invalid,
        }

    @property
    @abstractmethod
    def title(self) -> str:
        """What was measured."""

    @property
    @abstractmethod
    def complaint(self) -> str:
        """One sentence that names what is invalid."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What else the JSON object says, options and the reference of each block included."""

    @abstractmethod
    def table(self, block: B, *, wide: bool) -> Table:
        """The rows of a block; not `wide` where they must fit 80 columns."""

    @abstractmethod
    def notes(self, *, wide: bool) -> Iterator[str]:
        """What the figures in the table mean."""

    @abstractmethod
    def verdicts(self) -> Iterator[str]:
        """The result in one sentence per block."""


def print_report(report: BaseReport[Any, Any]) -> None:
    """A table per block, what is absent, what the figures mean, and the result in words."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe has no width to fit
        console = Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    wide = console.width >= WIDE
    for block in report.blocks:
        if block.rows:
            console.print(report.table(block, wide=wide))
    for absent in report.absent:
        console.print(f"absent: {absent.title}: {absent.reason}", markup=False)
    for line in (*report.notes(wide=wide), *_warnings(report)):
        console.print(line, markup=False)
    console.print()
    for line in report.verdicts():
        console.print(line, style="bold", markup=False)


def machine_note(environment: dict[str, Any]) -> str:
    """Processor, cores, system and Python in one line."""
    where = environment
    return f"{where['cpu']}, {where['cores']} cores, {where['os']}, Python {where['python']}"


def new_table(first: str, title: str) -> Table:
    """An empty table whose first column names the rows."""
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column(first)
    return table


def column_heads(table: Table, *names: str) -> None:
    """Columns of figures, to the right."""
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def figure(value: float) -> str:
    """A time or a rate with three digits that count, or all before the point."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def title_cell(row: Measured, *more: str) -> str:
    """Name of a row, and below it what must be said of it and how it ran."""
    remarks = [*more] if row.valid else ["[red]INVALID[/]", *more]
    remarks += ["[yellow]noisy[/]"] if row.noisy else []
    return f"{row.title}\n{', '.join([*remarks, f'[dim]{escape(row.description)}[/]'])}"


def ratio_cell(ratio: Ratio | None, otherwise: str) -> str:
    """Median, and the quartiles below it."""
    return otherwise if ratio is None else f"{ratio.median:.2f}\n[dim]{ratio.q1:.2f}-{ratio.q3:.2f}[/]"


def _warnings(report: BaseReport[Any, Any]) -> Iterator[str]:
    where = report.environment
    if (where["load_average"] or 0) > where["cores"] / 2:
        yield f"The machine was busy before this (load average {where['load_average']}): measure again when idle."
    if any(row.noisy for row in report.rows):
        yield f"noisy: p90 is more than {NOISY_RATIO} times p50; something else was running."
