"""The result as a table for people and as one JSON object for everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cgan_bench.measure import Block, Plan
from cgan_bench.rows import MIN_PSNR_DB, NOISY_RATIO, Absent, Row
from cgan_bench.target import Target

__all__ = ["Report", "console_for_tables", "print_report"]

WIDTH_WITHOUT_TERMINAL = 130
PLENTY_OF_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything one command measured."""

    subject: Target
    plan: Plan
    environment: dict[str, Any]
    blocks: tuple[Block, ...]

    @property
    def invalid(self) -> list[Row]:
        """Rows whose pictures are not the reference's."""
        return [row for block in self.blocks for row in block.rows if not row.valid]

    @property
    def complaint(self) -> str:
        """What is wrong, where something is invalid."""
        named = ", ".join(f"{row.title} at batch {row.batch}" for row in self.invalid)
        return f"other pictures than {self.blocks[0].rows[0].title}'s: {named}."

    @property
    def absent(self) -> tuple[Absent, ...]:
        """Backends without a row; the same reason is told once."""
        return tuple(dict.fromkeys(absent for block in self.blocks for absent in block.absent))

    def to_json(self) -> dict[str, Any]:
        """Plain values: environment, options, every row with its raw latencies, what is absent and why."""
        server = self.subject.server
        return {
            "tool": "cgan-bench",
            "model": self.subject.title,
            "bundle": self.subject.digest or None,
            "server": dataclasses.asdict(server) if server else None,
            "environment": self.environment,
            "options": dataclasses.asdict(self.plan),
            "reference": {str(b.rows[0].batch): b.rows[0].key for b in self.blocks if b.rows},
            "rows": [row.to_json() for block in self.blocks for row in block.rows],
            "absent": [dataclasses.asdict(absent) for absent in self.absent],
            "valid": not self.invalid,
        }


def print_report(report: Report) -> None:
    """A table per batch size, what the figures mean, and the result in words."""
    console = console_for_tables()
    for block in report.blocks:
        if block.rows:
            console.print(_table(report.subject, block))
    for absent in report.absent:
        console.print(f"absent: {absent.title}: {absent.reason}", markup=False)
    for line in _notes(report):
        console.print(line, markup=False)
    for line in _verdicts(report):
        console.print(line, style="bold", markup=False)


def console_for_tables() -> Console:
    """stdout, as wide as the terminal."""
    console = Console(highlight=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)  # a file or a pipe has no width to fit


def _table(subject: Target, block: Block) -> Table:
    first = block.rows[0]
    title = f"{escape(subject.title)}, batch {first.batch}, {len(first.latencies_ms)} rounds"
    table = Table("backend", title=title, title_justify="left", title_style="bold")
    for heading in ("p50 ms", "p90 ms", "p99 ms", "pictures/s", f"times {first.title}", "PSNR dB", "peak MB"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in block.rows:
        table.add_row(
            f"{row.title}\n[dim]{escape(row.description)}[/]",
            *(f"{row.percentile_ms(percent):.1f}" for percent in (50, 90, 99)),
            f"{row.pictures_per_s:.2f}",
            f"{row.ratio.median:.2f} ({row.ratio.q1:.2f}-{row.ratio.q3:.2f})"
            if row.ratio
            else _no_ratio(row, first),
            f"{row.psnr_db:.1f}" if row.psnr_db is not None else "reference" if row is first else "-",
            f"{row.peak_memory_mb:.0f}" if row.peak_memory_mb is not None else "-",
            ", ".join(_remarks(row)),
        )
    return table


def _no_ratio(row: Row, first: Row) -> str:
    return "1" if row is first else "-"


def _remarks(row: Row) -> Iterator[str]:
    if not row.valid:
        yield "[red]INVALID[/]"
    if row.noisy:
        yield "[yellow]noisy[/]"


def _notes(report: Report) -> Iterator[str]:
    rows = [row for block in report.blocks for row in block.rows]
    where = report.environment
    yield f"{where['cpu']}, {where['cores']} cores, {where['os']}, Python {where['python']}"
    yield (
        "Latency: one inference, inputs in memory to outputs in memory. Not included: reading and writing "
        "pictures, drawing the noise, the network (except in server rows), loading, compiling."
    )
    if any(row.ratio for row in rows):
        yield "Ratio: the reference's time / the row's, paired within each round; median (quartiles)."
    yield "Peak memory: of the row's own process, with interpreter and libraries, loading included."
    if rows and min(len(row.latencies_ms) for row in rows) < PLENTY_OF_ROUNDS:
        yield f"Fewer than {PLENTY_OF_ROUNDS} rounds: p99 is close to the slowest one; --seconds makes more."
    if (where["load_average"] or 0) > where["cores"] / 2:
        yield f"The machine was busy before this (load average {where['load_average']}): measure again when idle."
    if any(row.noisy for row in rows):
        yield f"noisy: p90 is more than {NOISY_RATIO} times p50; something else was running."
    for row in report.invalid:
        yield f"INVALID: {row.title} at batch {row.batch} is {row.psnr_db:.1f} dB, needs {MIN_PSNR_DB:.0f} dB."


def _verdicts(report: Report) -> Iterator[str]:
    """One sentence per batch size: what the last row that counts is worth."""
    for block in report.blocks:
        counting = [row for row in block.rows if row.valid and row.ratio and row.key in ("ort_bundle", "triton")]
        for row in counting[:1]:
            name = "our bundle" if row.key == "ort_bundle" else "the server"
            assert row.ratio is not None  # noqa: S101 - filtered above
            yield (
                f"{name} is {row.ratio.median:.2f}x {block.rows[0].title} "
                f"({row.ratio.q1:.2f}-{row.ratio.q3:.2f}) at batch {row.batch}"
            )
