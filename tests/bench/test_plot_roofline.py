"""The roofline: its slope, its peaks and the rows lie where the ticks say."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from cgan_bench.gpu.measure import Card, GpuBlock
from cgan_bench.gpu.report import GpuReport
from cgan_bench.gpu.rows import GpuRow
from cgan_bench.plot_data import Achieved, Roofline
from cgan_bench.plots import roofline_plot
from cgan_bench.plots.frame import BOTTOM, LEFT, RIGHT, TOP, marks_of
from cgan_bench.roofline.floor import Ceiling
from cgan_bench.roofline.processor import Processor
from cgan_bench.rounds import Plan
from cgan_bench.target import Target

from tests.bench.plotted import (
    EAGER_MS,
    PEAKS,
    THREE,
    WORK,
    drawn,
    inference,
    measured,
    roofline_of,
)
from tests.bench.test_report import MACHINE


def test_the_roofline_has_the_peaks_the_slope_and_each_row() -> None:
    plot = drawn(roofline_of(inference(THREE)), log_x=True, log_y=True)
    slope, *roofs = plot.lines("roof")
    ends = [(plot.value("x", slope[n]), plot.value("y", slope[n + 1])) for n in (0, 2)]
    for flops_per_byte, gflops in ends:
        assert gflops == pytest.approx(50.0 * flops_per_byte, rel=0.03), "GB/s x FLOP/byte"
    assert ends[1][1] == pytest.approx(900, rel=0.03), "up to the highest peak"
    for (x1, y1, x2, y2), peak in zip(roofs, (900, 205, 200), strict=True):
        assert y1 == y2
        assert plot.value("y", y1) == pytest.approx(peak, rel=0.02)
        assert plot.value("x", x1) == pytest.approx(peak / 50.0, rel=0.03), "from the slope"
        assert x2 == RIGHT
    # Elements of 2 bytes in `WORK`: twice as many in FP32, half as many in INT8.
    for one, factor in zip(THREE, (2, 2, 0.5), strict=True):
        gflops = 20e9 / (np.median(one.latencies_ms) / 1e3) / 1e9
        assert plot.point(f"{one.title} ") == pytest.approx((20e9 / (factor * 250e6), gflops), rel=0.02)
    for words in ("FP32 200, BF16 205, INT8 900 GFLOP/s", "copy 50.0 GB/s", "GFLOP/s at 40.0 FLOP/byte"):
        assert words in plot.words


def test_rows_of_one_precision_do_not_cover_each_other() -> None:
    """Seven rows of the same speed and one of half of it: they differ in where they stand, never in how high."""
    same = [Achieved(title=f"row {n}", flops_per_byte=40.0, gflops=100.0) for n in range(7)]
    alone = Achieved(title="alone", flops_per_byte=40.0, gflops=50.0)
    found = Roofline(peaks_gflops={"FP32": 200.0}, gb_s=50.0, points=[*same, alone])
    marks = marks_of(one.title for one in found.points)
    plot = drawn(roofline_plot(found, marks), log_x=True, log_y=True)
    places = list(plot.points().values())
    for (x1, y1), (x2, y2) in itertools.combinations(places, 2):
        assert math.hypot(x1 - x2, y1 - y2) >= 11.9
    assert {round(plot.value("y", y)) for _, y in places[:7]} == {100}
    assert plot.point("alone") == pytest.approx((40, 50), rel=0.02)
    assert max(abs(x - places[-1][0]) for x, _ in places) < 40


def test_names_of_peaks_that_are_near_each_other_have_room() -> None:
    plot = drawn(roofline_of(inference(THREE)))
    places = [
        float(one.attrib["y"])
        for one in plot.svg.iter("text")
        if (one.text or "").startswith(("FP32 ", "BF16 ", "INT8 "))
    ]
    assert len(places) == 3
    assert min(b - a for a, b in itertools.pairwise(places)) >= 15


@pytest.mark.parametrize("known", [{}, {"peaks": PEAKS}, {"work": WORK}])
def test_without_peaks_or_work_there_is_no_roofline(known: dict[str, object]) -> None:
    assert roofline_of(inference(THREE, processor=Processor(**known))) == ""  # type: ignore[arg-type]  # by name


def test_a_row_of_many_images_reads_its_weights_once() -> None:
    of = inference((measured("eager", tuple(8 * value for value in EAGER_MS), batch=8),))
    (x, y) = drawn(roofline_of(of), log_x=True, log_y=True).point("eager ")
    assert x == pytest.approx(8 * 20e9 / (2 * (200e6 + 8 * 50e6)), rel=0.02)
    assert y == pytest.approx(20e9 / (np.median(EAGER_MS) / 1e3) / 1e9, rel=0.02)


def test_a_gpu_has_its_own_roofline_of_the_rows_with_times_of_the_gpu() -> None:
    rows = tuple(
        GpuRow(
            key=name,
            title=name,
            description="",
            batch=8,
            times_ms={stage: (4.0, 5.0, 6.0)},
            images_per_s={1: 100.0},
        )
        for name, stage in (("on the card", "compute"), ("by the clock", "wall"))
    )
    card = Card(ceiling=Ceiling(tflops=800.0, gb_s=3000.0), work=WORK, state=None)
    of = GpuReport(
        target=Target(title="x"),
        card=card,
        plan=Plan(),
        environment=MACHINE,
        blocks=(GpuBlock(rows=rows, absent=(), batch=8),),
    )
    marks = marks_of(one.title for one in of.rows)
    plot = drawn(roofline_plot(of.roofline(of.blocks[0]), marks), log_x=True, log_y=True)
    assert len(plot.points()) == 1
    assert plot.point("on the card") == pytest.approx((8 * 20e9 / 600e6, 8 * 20e9 / 5e-3 / 1e9), rel=0.02)
    by_the_clock = replace(of, blocks=(GpuBlock(rows=rows[1:], absent=(), batch=8),))
    assert roofline_plot(by_the_clock.roofline(by_the_clock.blocks[0]), marks) == ""
    assert roofline_plot(replace(of, card=replace(card, work=None)).roofline(of.blocks[0]), marks) == ""
    assert [one.images_per_s for one in of.throughput()] == [100.0, 100.0]


def test_a_row_far_above_its_roof_stays_in_the_plot() -> None:
    found = Roofline(
        peaks_gflops={"FP32": 100.0}, gb_s=50.0, points=[Achieved(title="a", flops_per_byte=0.01, gflops=5000.0)]
    )
    plot = drawn(roofline_plot(found, marks_of(["a"])), log_x=True, log_y=True)
    assert plot.point("a ") == pytest.approx((0.01, 5000), rel=0.02)
    ((x, y),) = plot.points().values()
    assert LEFT <= x <= RIGHT
    assert TOP <= y <= BOTTOM
