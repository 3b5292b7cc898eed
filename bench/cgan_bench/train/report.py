"""The result of --train, as a table for people and as one JSON object for everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from cgan_bench.report_base import BaseReport, column_heads, figure, machine_note, new_table, ratio_cell, title_cell
from cgan_bench.train.loops import Setup
from cgan_bench.train.measure import TrainingBlock
from cgan_bench.train.rows import TrainingRow
from cgan_bench.train.step_parity import LIMITS

__all__ = ["TrainingReport"]


@dataclass(frozen=True, kw_only=True)
class TrainingReport(BaseReport[TrainingBlock, TrainingRow]):
    """Everything one `cgan-bench --train` measured. `images` says what was trained on."""

    setup: Setup
    images: str

    @property
    def title(self) -> str:
        """The networks that are trained, in words."""
        setup = self.setup
        return f"pix2pix U-Net-{setup.size}, ngf {setup.ngf}, and 70x70 PatchGAN, ndf {setup.ndf}"

    @property
    def complaint(self) -> str:
        """What is wrong, where something is invalid."""
        named = ", ".join(f"{row.title} at batch {row.batch} ({row.difference})" for row in self.invalid)
        return f"another training step than the plain loop's: {named}; the limits are {LIMITS}."

    def about(self) -> dict[str, Any]:
        """Which images were trained on, with which options and limits."""
        setup, plan = self.setup, self.plan
        return {
            "measured": "training",
            "images": self.images,
            "options": {
                "size": setup.size,
                "ngf": setup.ngf,
                "ndf": setup.ndf,
                "threads": setup.threads,
                "seconds": plan.seconds,
                "rounds": plan.rounds,
                "warm_up": plan.warm_up,
            },
            "limits": dataclasses.asdict(LIMITS),
            "reference": {
                f"{block.rows[0].loop.device} {block.rows[0].batch}": block.rows[0].loop.key
                for block in self.blocks
            },
        }

    def table(self, block: TrainingBlock, *, wide: bool) -> Table:
        """One row per loop."""
        first = block.rows[0]
        rounds = f"{len(first.latencies_ms)} rounds of {first.steps} step{'s' if first.steps > 1 else ''}"
        table = new_table("training loop", f"{self.title}, batch {first.batch}, {rounds}")
        column_heads(table, "ms/step", *["p90 ms"] * wide, "data ms", "step ms", "images/s", "times")
        column_heads(table, *["peak MB"] * wide)
        for row in block.rows:
            table.add_row(
                title_cell(row, *_remarks(row)),
                figure(row.percentile_ms(50)),
                *[figure(row.percentile_ms(90))] * wide,
                figure(row.data_ms),
                figure(row.step_ms),
                figure(row.images_per_s),
                ratio_cell(row.ratio, "1"),
                *[f"{row.peak_memory_mb:.0f}"] * wide,
            )
        return table

    def notes(self, *, wide: bool) -> Iterator[str]:
        """What the figures mean."""
        yield machine_note(self.environment)
        yield (
            f"{self.images}. A step: a batch of images, one step of each network, the losses read out. Not "
            "included: starting, validating, saving."
        )
        yield "times: the reference's time / the row's, paired within each round; median, quartiles below."
        if wide:
            yield "Peak memory: of the loop's process, interpreter and libraries included, loader processes not."
        for row in (row for row in self.rows if row.difference is not None):
            verdict = "" if row.loop.must_agree else " (another arithmetic, no limits)"
            yield f"Against one plain step, batch {row.batch}: {row.title}: {row.difference}{verdict}"
        yield f"Limits of the same result: {LIMITS}"
        for row in self.invalid:
            yield f"INVALID: {row.title} at batch {row.batch} takes another step than the plain loop."

    def verdicts(self) -> Iterator[str]:
        """One sentence per batch size and device: what the loop of cgan-train is worth at the same result."""
        for block in self.blocks:
            first = block.rows[0]
            for row in block.rows:
                if row.loop.must_agree and row.valid and row.ratio:
                    yield (
                        f"{row.title} is {row.ratio.median:.2f}x the {first.title} "
                        f"({row.ratio.q1:.2f}-{row.ratio.q3:.2f}) at batch {row.batch}"
                    )


def _remarks(row: TrainingRow) -> Iterator[str]:
    if row.valid and row.difference is not None:
        yield "same result" if row.loop.must_agree else "other result"
