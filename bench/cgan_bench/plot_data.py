"""What the plots of a page show, as plain values: a report makes them, `plots/` draws them.

The title of a point is that of its row: a row has the same mark in every plot of a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Achieved", "Compared", "Fidelity", "Roofline", "Throughput"]


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """A row at one batch size.

    Attributes:
        batch: images of one inference, request or step.
        images_per_s: of all rounds.
        p10: images a second that the fastest 90 % of the rounds reach; None where the rounds are not known.
        p90: the same of the fastest 10 %.
    """

    title: str
    batch: int
    images_per_s: float
    p10: float | None = None
    p90: float | None = None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How fast a row is beside the reference, and how near its outputs are.

    Attributes:
        times: as fast as the reference; 1 for the reference itself.
        interval: of 95 %; None where it is not known.
        fidelity: in the unit of the plot; None where the outputs are equal to the last bit.
        remark: what must be said of it, such as INVALID.
    """

    title: str
    times: float
    interval: tuple[float, float] | None = None
    fidelity: float | None = None
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """The rows of a block, the reference among them.

    Attributes:
        reference: title of that row.
        is_error: whether the figure is a relative error, smaller is nearer; else a PSNR [dB], larger is nearer.
        limits: the figures that rows must reach, with the precisions that they hold for.
    """

    reference: str
    is_error: bool
    points: Sequence[Compared]
    limits: Mapping[float, str]


@dataclass(frozen=True, kw_only=True)
class Achieved:
    """What a row makes of the machine.

    Attributes:
        flops_per_byte: of the plain graph in elements of the row's precision, at its batch size.
        gflops: 10^9 operations of the plain graph a second, at the median time.
    """

    title: str
    flops_per_byte: float
    gflops: float


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """The rows of a block under what the machine can do at most.

    Attributes:
        peaks_gflops: 10^9 operations a second of a matrix product, by precision as it is written: FP32.
        gb_s: 10^9 bytes a second of a copy, read and written.
    """

    peaks_gflops: Mapping[str, float]
    gb_s: float
    points: Sequence[Achieved]
