"""The result of measuring inference, as a table for people and as one JSON object for everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from cgan_bench.report_base import BaseReport, column_heads, figure, machine_note, new_table, ratio_cell, title_cell
from cgan_bench.rounds import Block
from cgan_bench.rows import Row
from cgan_bench.sizes import image_size_of, size_words
from cgan_bench.target import Target

__all__ = ["Report"]

PLENTY_OF_ROUNDS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Report(BaseReport[Block, Row]):
    """Everything one `cgan-bench` measured. `target` says of what."""

    target: Target

    @property
    def title(self) -> str:
        """The title of the target."""
        return self.target.title

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
        return f"other outputs than {self.blocks[0].rows[0].title}'s: {named}."

    def about(self) -> dict[str, Any]:
        """What was measured, at which size, with which options."""
        server = self.target.server
        return {
            "measured": "inference",
            "bundle": self.target.digest or None,
            "server": dataclasses.asdict(server) if server else None,
            "size": self.size,
            "options": dataclasses.asdict(self.plan),
            "reference": {str(b.rows[0].batch): b.rows[0].key for b in self.blocks if b.rows},
        }

    def table(self, block: Block, *, wide: bool) -> Table:
        """One row per backend."""
        first = block.rows[0]
        facts = [self.title, *([self.size] if self.size else []), f"batch {first.batch}"]
        table = new_table("backend", ", ".join([*facts, f"{len(first.latencies_ms)} rounds"]))
        percents = (50, 90, 99) if wide else (50, 90)
        column_heads(table, *(f"p{percent} ms" for percent in percents), "images/s", "times")
        column_heads(table, self._fidelity_head(), *["peak MB"] * wide)
        for row in block.rows:
            memory = f"{row.peak_memory_mb:.0f}" if row.peak_memory_mb is not None else "-"
            table.add_row(
                title_cell(row),
                *(figure(row.percentile_ms(percent)) for percent in percents),
                figure(row.images_per_s),
                ratio_cell(row.ratio, "1" if row is first else "-"),
                "reference" if row is first else self._fidelity(row),
                *[memory] * wide,
            )
        return table

    def notes(self, *, wide: bool) -> Iterator[str]:
        """What the figures mean."""
        yield machine_note(self.environment)
        yield (
            "Latency: one inference, inputs in memory to outputs in memory. Not included: reading and writing "
            "images, drawing the noise, the network (except in server rows), loading, compiling."
        )
        if any(row.ratio for row in self.rows):
            first = self.rows[0].title
            yield f"times: the time of {first} / the row's, paired within each round; median, quartiles below."
        if any(one.relative_error is not None for row in self.rows for one in row.agreements):
            yield "agreement: worst PSNR of an image; largest difference of a score / largest score."
        if wide:
            yield "Peak memory: of the row's own process, with interpreter and libraries, loading included."
        if wide and self.rows and min(len(row.latencies_ms) for row in self.rows) < PLENTY_OF_ROUNDS:
            yield f"Fewer than {PLENTY_OF_ROUNDS} rounds: p99 is close to the slowest one; --seconds makes more."
        for row in self.invalid:
            for one in (one for one in row.agreements if not one.within_limit):
                yield (
                    f"INVALID: {row.title} at batch {row.batch}: {one.output} agrees to {one.words}, "
                    f"needs {one.limit_words}."
                )

    def verdicts(self) -> Iterator[str]:
        """One sentence for each row of ours: what it is worth."""
        for block in self.blocks:
            for row in block.rows:
                if row.ratio is None or not row.valid or not row.key.startswith(("ort_bundle", "triton")):
                    continue
                name = "the server" if row.key == "triton" else row.title.removeprefix("ONNX Runtime, ")
                yield (
                    f"{name} is {row.ratio.median:.2f}x {block.rows[0].title} "
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
        return "\n".join(f"{one.output} {one.words}" for one in row.agreements)
