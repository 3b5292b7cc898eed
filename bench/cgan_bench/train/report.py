"""The result of --train, as a table for people and as one JSON object for everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cgan_runtime.pages import Table

from cgan_bench.inference_plots import throughput_of
from cgan_bench.plot_data import Throughput
from cgan_bench.report_base import BaseReport, figure, ratio_cell, title_cell
from cgan_bench.rounds import Plan
from cgan_bench.train.loops import Setup
from cgan_bench.train.measure import TrainingBlock
from cgan_bench.train.rows import TrainingRow
from cgan_bench.train.step_parity import LIMITS

__all__ = ["TrainingReport"]


@dataclass(frozen=True, kw_only=True)
class TrainingReport(BaseReport[TrainingBlock, TrainingRow]):
    """Everything one `cgan-bench --train` measured. `images` says what was trained on."""

    times_what: ClassVar[str] = "time of a step"

    plan: Plan
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

    def block_title(self, block: TrainingBlock) -> str:
        """Device, batch and rounds."""
        first = block.rows[0]
        rounds = f"{len(first.latencies_ms)} rounds of {first.steps} step{'s' if first.steps > 1 else ''}"
        return f"{first.loop.device}, batch {first.batch}, {rounds}"

    def table(self, block: TrainingBlock) -> Table:
        """One row per loop."""
        heads = ("training loop", "ms/step", "times", "images/s", "data ms", "step ms", "p90 ms", "peak MB", "how")
        return Table(
            heads=heads,
            rows=tuple(
                (
                    title_cell(row, *_remarks(row)),
                    figure(row.percentile_ms(50)),
                    ratio_cell(row.ratio, "1"),
                    figure(row.images_per_s),
                    figure(row.data_ms),
                    figure(row.step_ms),
                    figure(row.percentile_ms(90)),
                    f"{row.peak_memory_mb:.0f}",
                    row.description,
                )
                for row in block.rows
            ),
        )

    def throughput(self) -> Sequence[Throughput]:
        """Every loop, at the median of its steps."""
        return throughput_of(self.rows)

    @property
    def reference_note(self) -> str:
        """The first row of each block is the reference."""
        return "times: as fast as the first row; median, quartiles below."

    def notes(self) -> Iterator[str]:
        """What was trained on, and how the steps compare."""
        yield f"{self.images}."
        for row in (row for row in self.rows if row.difference is not None):
            verdict = "" if row.loop.must_agree else " (another arithmetic, no limits)"
            yield f"Against one plain step, batch {row.batch}: {row.title}: {row.difference}{verdict}"
        for row in self.invalid:
            yield f"INVALID: {row.title} at batch {row.batch} takes another step than the plain loop ({LIMITS})."

    def definitions(self) -> Iterator[str]:
        """What the figures mean."""
        yield (
            "A step: a batch of images, one step of each network, the losses read out. Not included: starting, "
            "validating, saving."
        )
        yield "data ms: the wait for the images; step ms: the rest of the step; medians over the rounds."
        yield "times: the reference's time / the row's, paired within each round; median and quartiles."
        yield "peak MB: of the loop's process, interpreter and libraries included, loader processes not."
        yield f"Limits of the same result: {LIMITS}."

    def verdicts(self) -> Iterator[str]:
        """One sentence per batch size and device: what the loop of cgan-train is worth at the same result."""
        for block in self.blocks:
            first = block.rows[0]
            for row in block.rows:
                if row.loop.must_agree and row.valid and row.ratio:
                    yield (
                        f"{row.title} is {row.ratio.median:.2f} times as fast as the {first.title} "
                        f"({row.ratio.q1:.2f}-{row.ratio.q3:.2f}) at batch {row.batch}"
                    )


def _remarks(row: TrainingRow) -> Iterator[str]:
    if row.valid and row.difference is not None:
        yield "same result" if row.loop.must_agree else "other result"
