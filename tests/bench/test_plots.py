"""The plots of a page: every mark lies where the ticks of the axes say, and nothing is drawn of nothing."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from cgan_bench.fidelity import Agreement, furthest
from cgan_bench.gpu.measure import Card, GpuBlock
from cgan_bench.gpu.report import GpuReport
from cgan_bench.gpu.rows import GpuRow
from cgan_bench.page import write_report
from cgan_bench.plot_data import Achieved, Roofline, Throughput
from cgan_bench.plots import fidelity_plot, roofline_plot, spread_plot, throughput_plot
from cgan_bench.plots.frame import BOTTOM, LEFT, RIGHT, TOP, marks_of
from cgan_bench.plots.log_axis import LogAxis
from cgan_bench.report import Report
from cgan_bench.roofline.floor import Ceiling, Work
from cgan_bench.roofline.processor import Peaks, Processor
from cgan_bench.rounds import Block, Plan
from cgan_bench.rows import Row, ratio
from cgan_bench.target import Target
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB

from tests.bench.test_report import MACHINE, TWO, report, row, training_report
from tests.pages import HOSTILE, check_page

RNG = np.random.default_rng(3)
EAGER_MS, OURS_MS, INT8_MS = (tuple(RNG.uniform(0.9, 1.1, 30) * ms) for ms in (100.0, 40.0, 25.0))
IMAGE = Agreement(output="picture", kind="image", psnr_db=137.2, limit=60.0)
WORK = Work(flops=20_000_000_000, weight_bytes=200_000_000, value_bytes=50_000_000, element_bytes=2)
PEAKS = Peaks(gops={"fp32": 200.0, "bf16": 205.0, "int8": 900.0}, gb_s=50.0)


@dataclass(frozen=True)
class Drawn:
    """A plot as a reader sees it: a value is read off the ticks beside it."""

    figure: ElementTree.Element
    log_x: bool = False
    log_y: bool = False

    @property
    def svg(self) -> ElementTree.Element:
        found = self.figure.find("svg")
        assert found is not None
        return found

    @property
    def words(self) -> str:
        return self.svg.attrib["aria-label"]

    def lines(self, kind: str) -> list[tuple[float, float, float, float]]:
        """x1, y1, x2, y2 of each."""
        found = [one for one in self.svg.iter("line") if one.attrib["class"].split()[0] == kind]
        return [tuple(float(one.attrib[name]) for name in ("x1", "y1", "x2", "y2")) for one in found]  # type: ignore[misc]  # four

    def ticks(self, axis: str) -> dict[str, float]:
        """Place by the text that follows its line."""
        pairs = itertools.pairwise(self.svg)
        followed = [(a, b) for a, b in pairs if a.attrib.get("class") == "rule" and b.tag == "text"]
        vertical = [(a, b) for a, b in followed if (a.attrib["x1"] == a.attrib["x2"]) is (axis == "x")]
        return {b.text or "": float(a.attrib[f"{axis}1"]) for a, b in vertical}

    def value(self, axis: str, place: float) -> float:
        """What lies at a place, by the first and the last tick."""
        log = self.log_x if axis == "x" else self.log_y
        places = {_number(text): at for text, at in self.ticks(axis).items() if text != "equal"}
        (low, first), (high, last) = min(places.items()), max(places.items())
        share = (place - first) / (last - first)
        return low * (high / low) ** share if log else low + share * (high - low)

    def points(self) -> dict[str, tuple[float, float]]:
        """x and y by the words of each mark."""
        found = {}
        for one in self.svg.iter("path"):
            x, y = map(float, re.findall(r"[\d.]+", one.attrib["transform"]))
            found[one.findtext("title") or ""] = (x, y)
        return found

    def point(self, start: str) -> tuple[float, float]:
        """The values at the mark whose words begin so."""
        ((x, y),) = (place for words, place in self.points().items() if words.startswith(start))
        return self.value("x", x), self.value("y", y)


def _number(text: str) -> float:
    factor = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1])
    return float(text[:-1]) * factor if factor else float(text)


def drawn(plot: str, *, log_x: bool = False, log_y: bool = False) -> Drawn:
    return Drawn(ElementTree.fromstring(str(plot)), log_x=log_x, log_y=log_y)


def measured(
    title: str, latencies_ms: tuple[float, ...], *, batch: int = 1, psnr_db: float | None = None, limit: float = 60
) -> Row:
    reference_ms = tuple(batch * np.asarray(EAGER_MS))
    return replace(
        row(title, latencies_ms, None if psnr_db is None else ratio(reference_ms, latencies_ms)),
        batch=batch,
        precision="int8" if limit == 35 else "fp32",
        agreements=() if psnr_db is None else (replace(IMAGE, psnr_db=psnr_db, limit=limit),),
    )


THREE = (
    measured("eager", EAGER_MS),
    measured("ours", OURS_MS, psnr_db=137.2),
    measured("ours, INT8", INT8_MS, psnr_db=38.5, limit=35),
)


def inference(*blocks: tuple[Row, ...], processor: Processor | None = None) -> Report:
    return replace(
        report(),
        blocks=tuple(Block(rows=rows, absent=(), contract=None) for rows in blocks),
        processor=processor or Processor(peaks=PEAKS, work=WORK),
    )


def fidelity_of(of: Report) -> str:
    return fidelity_plot(of.fidelity(of.blocks[0]), marks_of(one.title for one in of.rows))


def roofline_of(of: Report) -> str:
    return roofline_plot(of.roofline(of.blocks[0]), marks_of(one.title for one in of.rows))


def throughput_of(of: Report) -> str:
    return throughput_plot(of.throughput(), marks_of(one.title for one in of.rows))


def test_the_boxes_lie_at_the_quartiles_on_an_axis_from_zero() -> None:
    """101 steady values from 10 to 11 and the ninefold: the same shape, nine times as far from the axis."""
    plot = spread_plot(TWO, "latency")
    boxes = [
        (float(x), float(x) + float(width))
        for x, width in re.findall(r'class="box" x="(\S+)" y="\d+" width="(\S+)"', plot)
    ]
    ticks = {
        text: float(x) for x, text in re.findall(r'<text x="(\S+)" y="126" text-anchor="middle">(\S+)</text>', plot)
    }
    assert set(ticks) == {"0", "20", "40", "60", "80", "100"}
    ms = (ticks["100"] - ticks["0"]) / 100
    for (left, right), factor in zip(boxes, (1, 9), strict=True):
        assert left == pytest.approx(ticks["0"] + factor * 10.25 * ms, abs=0.1)
        assert right == pytest.approx(ticks["0"] + factor * 10.75 * ms, abs=0.1)


def test_throughput_lies_over_the_batch_size_with_the_middle_of_the_rounds() -> None:
    fourfold = tuple(3 * value for value in OURS_MS)
    of = inference(
        (measured("eager", EAGER_MS), measured("ours", OURS_MS)),
        (measured("eager", tuple(4 * value for value in EAGER_MS), batch=4), measured("ours", fourfold, batch=4)),
        (measured("ours", tuple(10 * value for value in OURS_MS), batch=16),),
    )
    plot = drawn(throughput_of(of), log_x=True)
    assert list(plot.ticks("x")) == ["1", "4", "16"]
    assert "0" in plot.ticks("y"), "rates begin at zero, so that twice the height is twice the rate"
    expected = {
        ("eager", 1): 1e3 / np.mean(EAGER_MS),
        ("eager", 4): 1e3 / np.mean(EAGER_MS),
        ("ours", 1): 1e3 / np.mean(OURS_MS),
        ("ours", 4): 4e3 / np.mean(fourfold),
        ("ours", 16): 16e3 / np.mean(OURS_MS) / 10,
    }
    places = {}
    for words, (x, y) in plot.points().items():
        title, batch = re.fullmatch(r"(\w+): \S+ images/s at batch (\d+)", words).groups()  # type: ignore[union-attr]  # else it fails
        assert plot.value("x", x) == pytest.approx(int(batch), rel=0.01)
        assert plot.value("y", y) == pytest.approx(expected[title, int(batch)], rel=0.01)
        places[title, int(batch)] = (x, y)
    assert places.keys() == expected.keys()
    lines = [one.attrib["points"].split() for one in plot.svg.iter("polyline")]
    for line, keys in zip(lines, ([("eager", 1), ("eager", 4)], [("ours", n) for n in (1, 4, 16)]), strict=True):
        assert [tuple(map(float, place.split(","))) for place in line] == [places[key] for key in keys]
    x, low, _, high = plot.lines("bar")[3]
    assert plot.value("x", x) == pytest.approx(4, rel=0.01)
    assert plot.value("y", low) == pytest.approx(4e3 / np.percentile(fourfold, 90), rel=0.01)
    assert plot.value("y", high) == pytest.approx(4e3 / np.percentile(fourfold, 10), rel=0.01)
    rates = ", ".join(f"{expected['ours', batch]:.1f} at {batch}" for batch in (1, 4, 16))
    assert f"ours {rates}" in plot.words
    legend = ["".join(one.itertext()).split()[-1] for one in plot.figure.iter("li")]
    assert legend == ["ours", "eager"], "as the lines end, from the top"


def test_throughput_of_one_batch_size_is_no_plot(tmp_path: Path) -> None:
    assert throughput_of(inference(THREE)) == ""
    assert throughput_of(inference((THREE[0],), (measured("ours", OURS_MS, batch=4),))) == "", "of two kinds"
    training = training_report(tmp_path)
    (block,) = training.blocks
    more = replace(block, rows=tuple(replace(one, batch=8) for one in block.rows))
    two = replace(training, blocks=(block, more))
    assert throughput_plot(training.throughput(), marks_of(one.title for one in training.rows)) == ""
    plot = drawn(throughput_plot(two.throughput(), marks_of(one.title for one in two.rows)), log_x=True)
    assert len(plot.points()) == 8


def test_batch_sizes_side_by_side_do_not_write_over_each_other() -> None:
    found = [Throughput(title="a", batch=batch, images_per_s=1.0) for batch in range(1, 65)]
    plot = drawn(throughput_plot(found, marks_of("a")), log_x=True)
    places = list(plot.ticks("x").values())
    assert len(plot.points()) == 64
    assert min(b - a for a, b in itertools.pairwise(places)) >= 24
    assert not plot.lines("bar"), "nothing is known of the rounds"


def test_a_row_lies_at_its_fidelity_and_its_ratio_and_equal_rows_at_the_edge() -> None:
    of = inference((*THREE, measured("same", OURS_MS, psnr_db=PSNR_OF_EQUAL_DB)))
    plot = drawn(fidelity_of(of))
    for one in THREE[1:]:
        assert one.ratio is not None
        assert plot.point(f"{one.title} ") == pytest.approx((one.psnr_db, one.ratio.median), rel=0.01)
    bars = {round(x, 1): (low, high) for x, low, _, high in plot.lines("bar")}
    for one in of.rows[1:]:
        assert one.ratio is not None
        (x,) = (place[0] for words, place in plot.points().items() if words.startswith(f"{one.title} "))
        assert tuple(plot.value("y", end) for end in bars[x]) == pytest.approx(one.ratio.interval, rel=0.01)
    for title in ("eager", "same"):
        (x,) = (place[0] for words, place in plot.points().items() if words.startswith(f"{title} "))
        assert x == plot.ticks("x")["equal"]
    limits = {plot.value("x", x): y for x, y, _, _ in plot.lines("limit")}
    assert sorted(limits) == pytest.approx([35, 60], rel=0.01)
    texts = [one.text for one in plot.svg.iter("text")]
    assert {"INT8 35", "FP32 60", "times as fast as eager"} <= set(texts)
    assert len(set(limits.values())) == 2, "their names stand in lines of their own"
    ((_, y, _, _),) = plot.lines("roof")
    assert plot.value("y", y) == pytest.approx(1, rel=0.01), "the reference's own speed"
    assert THREE[1].ratio is not None
    for words in ("eager 1.00 at equal", f"ours {THREE[1].ratio.median:.2f} (", "at 137", "at 38.5"):
        assert words in plot.words


def test_the_error_of_a_score_falls_to_the_right() -> None:
    score = Agreement(output="score", kind="score", relative_error=2e-6, limit=1e-3)
    rows = [
        replace(one, agreements=(replace(score, relative_error=e),))
        for one, e in zip(THREE[1:], (2e-6, 3e-2), strict=True)
    ]
    plot = drawn(fidelity_of(inference((THREE[0], *rows))), log_x=True)
    assert plot.point("ours ")[0] == pytest.approx(2e-6, rel=0.02)
    assert plot.point("ours, INT8")[0] == pytest.approx(3e-2, rel=0.02)
    (right,), (left,) = (
        [x for words, (x, _) in plot.points().items() if words.startswith(start)]
        for start in ("ours ", "ours, INT8")
    )
    assert left < right < plot.ticks("x")["equal"]
    assert "PSNR" not in plot.words


def test_of_several_outputs_the_furthest_counts() -> None:
    near, far = replace(IMAGE, psnr_db=100.0), replace(IMAGE, psnr_db=70.0)
    score = Agreement(output="score", kind="score", relative_error=0.5, limit=1e-3)
    small = replace(score, relative_error=0.1)
    assert furthest((near, score, far)) is far
    assert furthest((small, score)) is score


def test_without_a_ratio_or_a_fidelity_there_is_no_plot_of_both() -> None:
    assert fidelity_of(inference(THREE[:1])) == ""
    assert fidelity_of(inference((THREE[0], replace(THREE[1], agreements=())))) == ""
    busy = inference(THREE)
    busy = replace(busy, blocks=(replace(busy.blocks[0], others_percent=40.0),))
    assert fidelity_of(busy) == "", "a busy machine gives no ratio"


def test_a_row_that_is_wrong_or_not_comparable_says_so() -> None:
    wrong = measured("wrong", INT8_MS, psnr_db=20.0)
    words = drawn(fidelity_of(inference((THREE[0], wrong, replace(wrong, title="lost", lossy=True))))).words
    assert "INVALID" in words.partition("lost")[0]
    assert "INVALID" not in words.partition("lost")[2]
    assert "below 60 dB: not comparable" in words.partition("lost")[2]


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


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [((3, 70), 2, 100), ((1, 1), 1, 2), ((0.02, 0.02), 0.02, 0.05), ((7e-7, 9e8), 5e-7, 1e9)],
)
def test_a_logarithmic_axis_ends_at_ticks_around_its_values(
    values: tuple[float, ...], low: float, high: float
) -> None:
    axis = LogAxis.around(values, 0, 100)
    assert (axis.low, axis.high) == pytest.approx((low, high))
    assert (axis.place(axis.low), axis.place(axis.high)) == pytest.approx((0, 100))
    assert axis.place(math.sqrt(axis.low * axis.high)) == pytest.approx(50)
    for tick in axis.ticks:
        assert re.fullmatch(r"[125]\.0+e[+-]\d+", f"{tick:.6e}")
        assert axis.low * 0.99 < tick < axis.high * 1.01
    assert 2 <= len(axis.ticks) <= 16


def test_rows_can_be_told_apart_without_colours() -> None:
    marks = list(marks_of(map(str, range(24))).values())
    assert len({(mark.path, "hollow" in mark.style) for mark in marks[:12]}) == 12
    assert len({mark.character for mark in marks[:12]}) == 12
    assert len({(mark.path, mark.style) for mark in marks}) == 24


PLOTS: list[Callable[[Report], str]] = [throughput_of, fidelity_of, roofline_of]


@pytest.mark.parametrize("plot", PLOTS)
def test_every_mark_lies_inside_and_has_its_words_and_a_place_in_the_legend(plot: Callable[[Report], str]) -> None:
    many = tuple(
        measured(f"row {n}", tuple(value / n for value in EAGER_MS), psnr_db=20 + 9.0 * n) for n in range(1, 13)
    )
    of = inference((THREE[0], *many), tuple(replace(one, batch=4) for one in many))
    found = drawn(plot(of))
    assert len(found.points()) in (13, 25)
    for x, y in found.points().values():
        assert LEFT <= x <= RIGHT
        assert TOP <= y <= BOTTOM
    assert len(list(found.figure.iter("li"))) == 13
    for one in of.rows:
        assert f"{one.title} " in found.words


def test_the_page_has_each_plot_once_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_report(path, inference(THREE, tuple(replace(one, batch=4) for one in THREE)))
    elements = check_page(path.read_text())
    for title, count in (("Speed against fidelity", 2), ("Roofline", 2), ("Throughput over the batch size", 1)):
        assert elements.text.count(title) == count
    write_report(path, report(row("alone")))
    text = check_page(path.read_text()).text
    assert "Spread of the latency" in text
    for title in ("Speed against fidelity", "Roofline", "Throughput over", "All batch sizes"):
        assert title not in text


def test_hostile_titles_stay_text_in_every_plot() -> None:
    rows = tuple(replace(one, title=f"{HOSTILE} {one.title}") for one in THREE)
    of = inference(rows, tuple(replace(one, batch=4) for one in rows))
    for plot in PLOTS:
        assert f"{HOSTILE} eager" in drawn(plot(of)).words


def test_a_row_far_above_its_roof_stays_in_the_plot() -> None:
    found = Roofline(
        peaks_gflops={"FP32": 100.0}, gb_s=50.0, points=[Achieved(title="a", flops_per_byte=0.01, gflops=5000.0)]
    )
    plot = drawn(roofline_plot(found, marks_of(["a"])), log_x=True, log_y=True)
    assert plot.point("a ") == pytest.approx((0.01, 5000), rel=0.02)
    ((x, y),) = plot.points().values()
    assert LEFT <= x <= RIGHT
    assert TOP <= y <= BOTTOM
