"""What the plots show of inference on the CPU, and of all that is timed in rounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from cgan_bench.fidelity import furthest
from cgan_bench.plot_data import Achieved, Compared, Fidelity, Roofline, Throughput
from cgan_bench.roofline.processor import ELEMENT_BYTES, Processor
from cgan_bench.rounds import Block

__all__ = ["fidelity_of", "roofline_of", "throughput_of"]


class Timed(Protocol):
    """A row of rounds."""

    @property
    def title(self) -> str:
        """Name of the row."""

    @property
    def batch(self) -> int:
        """Images of one round."""

    @property
    def images_per_s(self) -> float:
        """Of all rounds."""

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the time of a round."""


def throughput_of(rows: Iterable[Timed]) -> list[Throughput]:
    """Every row at its batch size."""
    return [
        Throughput(
            title=row.title,
            batch=row.batch,
            images_per_s=row.images_per_s,
            p10=row.batch / row.percentile_ms(90) * 1e3,
            p90=row.batch / row.percentile_ms(10) * 1e3,
        )
        for row in rows
    ]


def fidelity_of(block: Block) -> Fidelity | None:
    """Every row beside the reference; None of a busy machine, where no ratio is given."""
    compared = [(row, furthest(row.agreements)) for row in block.rows if row.agreements]
    points = [
        Compared(
            title=row.title,
            times=row.ratio.median,
            interval=row.ratio.interval,
            fidelity=None if worst.is_equal else worst.figure,
            remark=", ".join([*([] if row.valid else ["INVALID"]), *row.remarks()]),
        )
        for row, worst in compared
        if row.ratio is not None
    ]
    if block.noisy or not points:
        return None
    limits: dict[float, list[str]] = {}
    for row, worst in compared:
        limits.setdefault(worst.limit, []).append(row.precision.upper())
    reference = block.rows[0].title
    return Fidelity(
        reference=reference,
        is_error=compared[0][1].psnr_db is None,
        points=[Compared(title=reference, times=1.0), *points],
        limits={limit: ", ".join(dict.fromkeys(names)) for limit, names in limits.items()},
    )


def roofline_of(block: Block, processor: Processor) -> Roofline | None:
    """Every row; None where what the processor can do or what the generator needs is not known."""
    peaks, work = processor.peaks, processor.work
    if peaks is None or work is None:
        return None
    return Roofline(
        peaks_gflops={precision.upper(): gops for precision, gops in peaks.gops.items()},
        gb_s=peaks.gb_s,
        points=[
            Achieved(
                title=row.title,
                flops_per_byte=work.in_elements_of(ELEMENT_BYTES[row.precision]).flops_per_byte(row.batch),
                gflops=row.batch * work.flops / row.percentile_ms(50) / 1e6,
            )
            for row in block.rows
        ],
    )
