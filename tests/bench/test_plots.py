"""The plots of a page: every mark lies where the ticks of the axes say, and nothing is drawn of nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cgan_bench.page import write_report
from cgan_bench.plots import spread_plot
from cgan_bench.plots.frame import BOTTOM, LEFT, RIGHT, TOP, marks_of
from cgan_bench.plots.log_axis import LogAxis
from cgan_bench.report import Report

from tests.bench.plotted import (
    EAGER_MS,
    THREE,
    drawn,
    fidelity_of,
    inference,
    measured,
    roofline_of,
    throughput_of,
)
from tests.bench.test_report import TWO, report, row
from tests.pages import HOSTILE, check_page


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
