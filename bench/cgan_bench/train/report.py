"""The result of --train as a table for people and as one JSON object for everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from cgan_bench.measure import Plan
from cgan_bench.report import console_for_tables
from cgan_bench.rows import NOISY_RATIO, Absent
from cgan_bench.train.loops import Setup
from cgan_bench.train.measure import TrainingBlock
from cgan_bench.train.rows import TrainingRow
from cgan_bench.train.step_parity import LIMITS

__all__ = ["TrainingReport", "print_training_report"]


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """Everything one `cgan-bench --train` measured. `pictures` says what was trained on."""

    setup: Setup
    plan: Plan
    pictures: str
    environment: dict[str, Any]
    blocks: tuple[TrainingBlock, ...]

    @property
    def title(self) -> str:
        """The networks."""
        setup = self.setup
        return f"pix2pix U-Net-{setup.size}, ngf {setup.ngf}, and 70x70 PatchGAN, ndf {setup.ndf}"

    @property
    def invalid(self) -> list[TrainingRow]:
        """Rows that take another step than the plain loop though their arithmetic is the same."""
        return [row for block in self.blocks for row in block.rows if not row.valid]

    @property
    def complaint(self) -> str:
        """What is wrong, where something is invalid."""
        named = ", ".join(f"{row.contender.title} at batch {row.batch} ({row.difference})" for row in self.invalid)
        return f"another training step than the plain loop's: {named}; the limits are {LIMITS}."

    @property
    def absent(self) -> tuple[Absent, ...]:
        """Loops without a row; the same reason is told once."""
        return tuple(dict.fromkeys(absent for block in self.blocks for absent in block.absent))

    def to_json(self) -> dict[str, Any]:
        """Plain values: environment, options, every row with each of its turns, what is absent and why."""
        setup = self.setup
        return {
            "tool": "cgan-bench",
            "measured": "training",
            "model": self.title,
            "pictures": self.pictures,
            "environment": self.environment,
            "options": {
                "size": setup.size,
                "ngf": setup.ngf,
                "ndf": setup.ndf,
                "threads": setup.threads,
                "seconds": self.plan.seconds,
                "rounds": self.plan.rounds,
                "warm_up": self.plan.warm_up,
            },
            "limits": dataclasses.asdict(LIMITS),
            "reference": {
                f"{block.rows[0].contender.device} {block.rows[0].batch}": block.rows[0].contender.key
                for block in self.blocks
            },
            "rows": [row.to_json() for block in self.blocks for row in block.rows],
            "absent": [dataclasses.asdict(absent) for absent in self.absent],
            "valid": not self.invalid,
        }


def print_training_report(report: TrainingReport) -> None:
    """A table per batch size, what the figures mean, and the result in words."""
    console = console_for_tables()
    for block in report.blocks:
        console.print(_table(report, block))
    for absent in report.absent:
        console.print(f"absent: {absent.title}: {absent.reason}", markup=False)
    for line in _notes(report):
        console.print(line, markup=False)
    for line in _verdicts(report):
        console.print(line, style="bold", markup=False)


def _table(report: TrainingReport, block: TrainingBlock) -> Table:
    first = block.rows[0]
    title = f"{escape(report.title)}, batch {first.batch}, {len(first.latencies_ms)} rounds of {first.steps} steps"
    table = Table("training loop", title=title, title_justify="left", title_style="bold")
    for heading in ("ms/step", "p90 ms", "data ms", "step ms", "images/s", "times reference", "peak MB"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in block.rows:
        table.add_row(
            f"{row.contender.title}\n[dim]{escape(row.description)}[/]",
            *(f"{row.percentile_ms(percent):.1f}" for percent in (50, 90)),
            f"{row.data_ms:.1f}",
            f"{row.step_ms:.1f}",
            f"{row.images_per_s:.2f}",
            f"{row.ratio.median:.2f} ({row.ratio.q1:.2f}-{row.ratio.q3:.2f})" if row.ratio else "1",
            f"{row.peak_memory_mb:.0f}",
            ", ".join(_remarks(row)),
        )
    return table


def _remarks(row: TrainingRow) -> Iterator[str]:
    if not row.valid:
        yield "[red]INVALID[/]"
    elif row.difference is not None:
        yield "same result" if row.contender.must_agree else "other result"
    if row.noisy:
        yield "[yellow]noisy[/]"


def _notes(report: TrainingReport) -> Iterator[str]:
    where = report.environment
    yield f"{where['cpu']}, {where['cores']} cores, {where['os']}, Python {where['python']}"
    yield (
        f"{report.pictures}. A step: a batch of pictures, one step of each network, the losses read out. Not "
        "included: starting, validating, saving."
    )
    yield "Ratio: the reference's time / the row's, paired within each round; median (quartiles)."
    yield "Peak memory: of the loop's own process, interpreter and libraries included, loader processes not."
    for row in (row for block in report.blocks for row in block.rows if row.difference is not None):
        verdict = "" if row.contender.must_agree else " (another arithmetic, no limits)"
        yield f"Against one plain step, batch {row.batch}: {row.contender.title}: {row.difference}{verdict}"
    yield f"Limits of the same result: {LIMITS}"
    if (where["load_average"] or 0) > where["cores"] / 2:
        yield f"The machine was busy before this (load average {where['load_average']}): measure again when idle."
    if any(row.noisy for block in report.blocks for row in block.rows):
        yield f"noisy: p90 is more than {NOISY_RATIO} times p50; something else was running."
    for row in report.invalid:
        yield f"INVALID: {row.contender.title} at batch {row.batch} takes another step than the plain loop."


def _verdicts(report: TrainingReport) -> Iterator[str]:
    """One sentence per batch size and device: what the loop of cgan-train is worth at the same result."""
    for block in report.blocks:
        first = block.rows[0]
        for row in block.rows:
            if row.contender.must_agree and row.valid and row.ratio:
                yield (
                    f"{row.contender.title} is {row.ratio.median:.2f}x the {first.contender.title} "
                    f"({row.ratio.q1:.2f}-{row.ratio.q3:.2f}) at batch {row.batch}"
                )
