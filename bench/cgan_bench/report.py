"""The result of measuring inference, as a table for people and as one JSON object for everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from cgan_runtime.pages import Table

from cgan_bench.audit import AUDITS
from cgan_bench.inference_plots import fidelity_of, roofline_of, throughput_of
from cgan_bench.peers import against_peers
from cgan_bench.plot_data import Fidelity, Roofline, Throughput
from cgan_bench.report_base import BaseReport, figure, ratio_cell, title_cell
from cgan_bench.roofline.processor import Processor
from cgan_bench.rounds import Block, Plan
from cgan_bench.rows import Row
from cgan_bench.sizes import image_size_of, size_words
from cgan_bench.target import Target
from cgan_bench.trust import (
    audit_cell,
    audit_sentence,
    audit_table,
    interval_cell,
    noise_sentence,
    noisy_sentence,
    trust_definitions,
    unstable_sentence,
)

__all__ = ["Report"]

PLENTY_OF_ROUNDS: Final = 100
# Stands in the JSON object too: figures of another clock are not compared.
TIMED: Final = "conditions and seeds in memory to outputs in memory"


@dataclass(frozen=True, kw_only=True)
class Report(BaseReport[Block, Row]):
    """Everything one `cgan-bench` measured: `target` says of what, `processor` what the machine can do at most."""

    details: ClassVar[frozenset[str]] = BaseReport.details | {"95 %", "noise %", "cold start s", "audit", *AUDITS}

    plan: Plan
    target: Target
    processor: Processor = field(default_factory=Processor)

    @property
    def title(self) -> str:
        """The title of the target."""
        return self.target.title

    def block_title(self, block: Block) -> str:
        """Size, batch and rounds."""
        first = block.rows[0]
        facts = [*([self.size] if self.size else []), f"batch {first.batch}", f"{len(first.latencies_ms)} rounds"]
        return ", ".join(facts)

    @property
    def size(self) -> str | None:
        """Width x height of the images that went in, else of those that came out."""
        contract = next((block.contract for block in self.blocks if block.contract), None)
        size = image_size_of(contract) if contract else None
        return size_words(size) if size else None

    @property
    def complaint(self) -> str:
        """What is wrong, where something is invalid."""
        named = ", ".join(f"{row.title} at batch {row.batch}" for row in self.invalid)
        return f"other outputs than the generator's: {named}."

    @property
    def uncertain(self) -> str:
        """Which ratios are not known well enough, after the longest time."""
        return unstable_sentence(self.rows, self.plan.seconds)

    def about(self) -> dict[str, Any]:
        """What was measured, at which size, with which options."""
        server = self.target.server
        return {
            "measured": "inference",
            "bundle": self.target.digest or None,
            "server": dataclasses.asdict(server) if server else None,
            "size": self.size,
            "timed": TIMED,
            "options": dataclasses.asdict(self.plan),
            "peaks": self.processor.peaks and self.processor.peaks.to_json(),
            "work_of_an_image": self.processor.work and self.processor.work.to_json(),
            "reference": {str(b.rows[0].batch): b.rows[0].key for b in self.blocks if b.rows},
            "audit": {str(b.rows[0].batch): b.sample.to_json() for b in self.blocks if b.rows and b.sample},
            "other_processes_percent_of_a_core": {
                str(b.rows[0].batch): b.others_percent for b in self.blocks if b.rows
            },
        }

    def table(self, block: Block) -> Table:
        """One row per backend."""
        first = block.rows[0]
        return Table(
            heads=(
                *("backend", "p50 ms", "times", "images/s"),
                self._fidelity_head(),
                *("95 %", "p90 ms", "p99 ms", "of the peak", "noise %", "cold start s", "peak MB", "audit", "how"),
            ),
            rows=tuple(
                (
                    title_cell(row, *row.remarks()),
                    figure(row.percentile_ms(50)),
                    "NOISY" if row.verdict == "noisy" else ratio_cell(row.ratio, "1" if row is first else "-"),
                    figure(row.images_per_s),
                    "reference" if row is first else self._fidelity(row),
                    interval_cell(row),
                    *(figure(row.percentile_ms(percent)) for percent in (90, 99)),
                    "-" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
                    "-" if row.noise_share is None else f"{100 * row.noise_share:.1f}",
                    "-" if row.cold_start_s is None else figure(row.cold_start_s),
                    f"{row.peak_memory_mb:.0f}" if row.peak_memory_mb is not None else "-",
                    audit_cell(row),
                    row.description,
                )
                for row in block.rows
            ),
        )

    def more_tables(self, block: Block) -> Iterator[tuple[str, Table]]:
        """What the audits found, for the page."""
        if any(row.audits for row in block.rows):
            yield "Audit", audit_table(block)

    def throughput(self) -> Sequence[Throughput]:
        """Every row."""
        return throughput_of(self.rows)

    def fidelity(self, block: Block) -> Fidelity | None:
        """Every row of a block of which ratios are given."""
        return fidelity_of(block)

    def roofline(self, block: Block) -> Roofline | None:
        """Every row, where the peaks and the work are known."""
        return roofline_of(block, self.processor)

    @property
    def reference_note(self) -> str:
        """The row that the others are compared with."""
        compared = any(row.ratio and row.verdict != "noisy" for row in self.rows)
        return f"times: as fast as {self.rows[0].title}; median, quartiles below." if compared else ""

    def notes(self) -> Iterator[str]:
        """Which outputs are wrong or not comparable; what was audited; how near the machine's limits it is."""
        for row in self.rows:
            yield from row.faults()
        for block in (block for block in self.blocks if block.rows):
            yield from filter(None, (audit_sentence(block), noise_sentence(block)))
        yield from self.processor.notes()
        if shares := [row for row in self.rows if row.valid and row.share_of_peak is not None]:
            nearest = max(shares, key=lambda row: row.share_of_peak or 0)
            yield (
                f"Nearest to what it can do: {nearest.title} at batch {nearest.batch}, "
                f"{nearest.share_of_peak:.0%} of the peak in {nearest.precision.upper()}."
            )

    def doubts(self) -> Iterator[str]:
        """Which blocks say nothing of how fast a row is beside another."""
        for block in self.blocks:
            if block.noisy:
                yield noisy_sentence(block)
        yield from super().doubts()

    def definitions(self) -> Iterator[str]:
        """What the figures mean."""
        yield (
            f"Latency: one inference, {TIMED}; drawing the noise is in it. Not included: reading "
            "and writing images, the network (except in server rows), loading, compiling."
        )
        if any(row.ratio for row in self.rows):
            first = self.rows[0].title
            yield f"times: the latency of {first} / the row's, paired within each round; median and quartiles."
        yield "images/s: all images / all time spent in inferences."
        yield from trust_definitions(self.rows, judged=self.plan.rounds is None)
        if any(one.relative_error is not None for row in self.rows for one in row.agreements):
            yield "agreement: worst PSNR of an image; largest difference of a score / largest score."
        if self.processor.peaks is not None:
            yield (
                "of the peak: the least time of this machine / p50. The least time is that of the multiplications "
                "of the plain graph at the rate of a matrix product in the row's precision, or of its weights and "
                "values at the rate of a copy, whichever is longer; both rates are of the same run. A row "
                "that does fewer operations can exceed 100 %."
            )
        yield "peak MB: most memory of the row's own process, with interpreter and libraries, loading included."
        if self.rows and min(len(row.latencies_ms) for row in self.rows) < PLENTY_OF_ROUNDS:
            yield f"Fewer than {PLENTY_OF_ROUNDS} rounds: p99 is close to the slowest one; --seconds makes more."

    def verdicts(self) -> Iterator[str]:
        """The fastest row beside the fastest of the others; then one sentence for each row of ours."""
        for block in self.blocks:
            if sentence := against_peers(block):
                yield sentence
            for row in block.rows:
                if row.ratio is None or not row.valid or not row.key.startswith(("ort_bundle", "triton")):
                    continue
                if row.verdict in ("noisy", "unstable"):
                    continue
                name = "the server" if row.key == "triton" else row.title.removeprefix("ONNX Runtime, ")
                yield (
                    f"{name} is {row.ratio.median:.2f} times as fast as {block.rows[0].title} "
                    f"({row.ratio.q1:.2f}-{row.ratio.q3:.2f}) at batch {row.batch}"
                )

    def _fidelity_head(self) -> str:
        outputs = {one.output for row in self.rows for one in row.agreements}
        relative = any(one.relative_error is not None for row in self.rows for one in row.agreements)
        return "agreement" if relative or len(outputs) > 1 else "PSNR dB"

    def _fidelity(self, row: Row) -> str:
        if not row.agreements:
            return "-"
        if self._fidelity_head() == "PSNR dB":
            return row.agreements[0].words.removesuffix(" dB")
        return ",\n".join(f"{one.output} {one.words}" for one in row.agreements)  # a page shows a space
