"""The result of measuring on a GPU: a table for each batch size, one of several streams, and one JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar, Final

from cgan_runtime.pages import Cell, Table

from cgan_bench.gpu.measure import Card, GpuBlock
from cgan_bench.gpu.meter import WALL
from cgan_bench.gpu.rows import GpuRow
from cgan_bench.plot_data import Achieved, Roofline, Throughput
from cgan_bench.report_base import BaseReport, figure, ratio_cell, title_cell
from cgan_bench.rounds import Plan
from cgan_bench.sizes import image_size_of, size_words
from cgan_bench.target import Target

__all__ = ["GpuReport"]

# Heads of the columns by stage, in microseconds.
STAGES: Final = {
    "compute": "compute",
    "copy_in": "in",
    "noise": "noise",
    "copy_out": "out",
    WALL: "wall",
}


@dataclass(frozen=True, kw_only=True)
class GpuReport(BaseReport[GpuBlock, GpuRow]):
    """Everything one `cgan-bench --device cuda` measured.

    Attributes:
        target: of what.
        card: what the card can do, and what the generator needs.
        streams: numbers of streams that were asked for.
    """

    details: ClassVar[frozenset[str]] = frozenset({"all", "GPU MB", "how"})
    times_what: ClassVar[str] = "compute time on the GPU"
    width: ClassVar[int] = 100

    plan: Plan
    target: Target
    card: Card
    streams: tuple[int, ...] = (1,)

    @property
    def title(self) -> str:
        """The title of the target, and the card."""
        name = self.card.state.name if self.card.state else "CUDA"
        return f"{self.target.title}, on {name}"

    @property
    def complaint(self) -> str:
        """What is wrong, where something is invalid."""
        named = ", ".join(f"{row.title} at batch {row.batch}" for row in self.invalid)
        return f"other outputs than FP32 on the CPU: {named}."

    def block_title(self, block: GpuBlock) -> str:
        """Size, batch, turns, and the least time."""
        first = block.rows[0]
        facts = [*([self._size] if self._size else []), f"batch {block.batch}", f"{len(first.latencies_ms)} turns"]
        if first.floor_ms is not None:
            facts.append(f"this card needs {figure(first.floor_ms * 1e3)} µs at least")
        return ", ".join(facts) + "; times in µs"

    def table(self, block: GpuBlock) -> Table:
        """One row for each way of running."""
        first = block.rows[0]
        return Table(
            heads=("backend", *STAGES.values(), "times", "images/s", "roofline", "PSNR dB"),
            rows=tuple(
                (
                    title_cell(row),
                    *(_microseconds(row.p50_ms(stage)) for stage in STAGES),
                    ratio_cell(row.ratio, "1" if row is first else "-"),
                    _rate(row, 1),
                    f"{row.share_of_roofline:.0%}" if row.share_of_roofline is not None else "-",
                    _agreement(row),
                )
                for row in block.rows
            ),
        )

    def more_tables(self, block: GpuBlock) -> Iterator[tuple[str, Table]]:
        """Images a second by number of streams, where more than one was asked for; then how each row ran."""
        rows = [row for row in block.rows if set(row.images_per_s) - {1}]
        if rows:
            counts = sorted({1, *self.streams})
            heads = ("backend", *(f"{count} stream{'s' * (count > 1)}" for count in counts))
            yield (
                f"batch {block.batch}: images/s on several streams",
                Table(heads=heads, rows=tuple((row.title, *(_rate(row, n) for n in counts)) for row in rows)),
            )

        yield (
            f"batch {block.batch}: how it ran; all in µs",
            Table(
                heads=("backend", "all", "GPU MB", "how"),
                rows=tuple(
                    (
                        row.title,
                        _microseconds(row.p50_ms("all")),
                        f"{row.gpu_memory_mb:.0f}" if row.gpu_memory_mb is not None else "-",
                        row.description,
                    )
                    for row in block.rows
                ),
            ),
        )

    def plotted(self, block: GpuBlock) -> tuple[GpuRow, ...]:
        """Those with times of the GPU; by the wall clock where none has them."""
        return tuple(row for row in block.rows if row.has_gpu_time) or block.rows

    def throughput(self) -> Sequence[Throughput]:
        """Every row that runs one batch after the other, end to end."""
        return [
            Throughput(title=row.title, batch=row.batch, images_per_s=row.images_per_s[1])
            for row in self.rows
            if 1 in row.images_per_s
        ]

    def roofline(self, block: GpuBlock) -> Roofline | None:
        """Every row with times of the GPU, of the work in FP16 as the least time is."""
        ceiling, work = self.card.ceiling, self.card.work
        if ceiling is None or work is None:
            return None
        timed = [(row.title, row.p50_ms("compute")) for row in block.rows]
        points = [
            Achieved(
                title=title,
                flops_per_byte=work.flops_per_byte(block.batch),
                gflops=block.batch * work.flops / compute_ms / 1e6,
            )
            for title, compute_ms in timed
            if compute_ms is not None
        ]
        return Roofline(peaks_gflops={"FP16": ceiling.tflops * 1e3}, gb_s=ceiling.gb_s, points=points)

    def about(self) -> dict[str, Any]:
        """What was measured, where, with which options."""
        return {
            "measured": "inference on a GPU",
            "bundle": self.target.digest or None,
            "size": self._size,
            "options": {
                "seconds": self.plan.seconds,
                "rounds": self.plan.rounds,
                "warm_up": self.plan.warm_up,
                "streams": list(self.streams),
            },
            "reference": {str(block.batch): block.rows[0].key for block in self.blocks if block.rows},
            "ceiling": self.card.ceiling and self.card.ceiling.to_json(),
            "work_of_an_image": self.card.work and self.card.work.to_json(),
            "gpu": {
                "at_the_start": self.card.state and self.card.state.to_json(),
                "before_and_after": {
                    str(block.batch): [state and state.to_json() for state in block.states] for block in self.blocks
                },
            },
            "not_known": list(self.card.problems),
        }

    @property
    def reference_note(self) -> str:
        """The row that the others are compared with."""
        compared = any(row.ratio for row in self.rows)
        return f"times: as fast as {self.rows[0].title}; median, quartiles below." if compared else ""

    def notes(self) -> Iterator[str]:
        """The card, what is not known, what has no GPU time, which outputs are wrong."""
        if (ceiling := self.card.ceiling) is not None:
            yield (
                f"Measured of this card: FP16 matrix product {ceiling.tflops:.0f} TFLOP/s, copy "
                f"{ceiling.gb_s / 1e3:.2f} TB/s."
            )
        for block in self.blocks:
            for when, state in zip(("before", "after the turns of"), block.states, strict=True):
                if state is not None and block.rows:
                    yield f"GPU {when} batch {block.batch}: {state.words}."
        yield from self.card.problems
        if walls := [row.title for row in self.rows if not row.has_gpu_time]:
            yield (
                f"By the wall clock only: {', '.join(dict.fromkeys(walls))}; its library does not tell its stages "
                "apart here, so its times compare the wall clock."
            )
        for row in self.invalid:
            yield from row.faults()

    def definitions(self) -> Iterator[str]:
        """What the figures mean."""
        yield (
            "compute, in, noise, out, all: time on the GPU by events, median of all turns. in and out are the "
            "copies from and to page-locked memory; without a figure under noise the host draws it, and in holds "
            "its copy. Inputs take turns in several places of the memory, and the whole of another set runs before "
            "each stage: neither the launch nor the caches are in the time."
        )
        yield "wall: conditions and seeds in the memory of the host to outputs there, noise included."
        yield "images/s: the same, where runs follow each other without waiting."
        yield (
            "roofline: the least time of this card / compute. The least time is that of the multiplications at the "
            "rate of a large FP16 matrix product, or of the weights and values of the convolutions at that of a "
            "copy, whichever is longer; both rates were measured in the same run."
        )
        yield "PSNR dB: against FP32 on the CPU, for the worst of the checked images."
        yield "GPU MB: what the process took of the card's memory by its first runs, libraries included."

    def verdicts(self) -> Iterator[str]:
        """The fastest row of each batch size."""
        for block in self.blocks:
            timed = [(row.latencies_ms, row, row.ratio) for row in block.rows if row.valid and row.has_gpu_time]
            found = [(median(times_ms), row, times) for times_ms, row, times in timed if times is not None]
            if found:
                best_ms, row, times = min(found, key=lambda one: one[0])
                share = f", {row.share_of_roofline:.0%} of the roofline" if row.share_of_roofline else ""
                yield (
                    f"{row.title} is the fastest at batch {block.batch}: {_microseconds(best_ms)} µs on the GPU"
                    f"{share}, {times.median:.2f} times as fast as {block.rows[0].title}"
                )

    @property
    def _size(self) -> str | None:
        contract = self.target.contract
        size = self.target.size or (image_size_of(contract) if contract else None)
        return size_words(size) if size else None


def _rate(row: GpuRow, streams: int) -> str:
    return figure(row.images_per_s[streams]) if streams in row.images_per_s else "-"


def _microseconds(value_ms: float | None) -> str:
    return "-" if value_ms is None else figure(value_ms * 1e3)


def _agreement(row: GpuRow) -> str | Cell:
    if not row.agreements:
        return "-"
    if len(row.agreements) == 1:
        return row.agreements[0].words.removesuffix(" dB")
    return ",\n".join(f"{one.output} {one.words}" for one in row.agreements)
