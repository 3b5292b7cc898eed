"""Speed against fidelity: rows lie where the ticks say, limits and rows that are wrong are named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cgan_bench.fidelity import Agreement, furthest
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB

from tests.bench.plotted import (
    IMAGE,
    INT8_MS,
    OURS_MS,
    THREE,
    drawn,
    fidelity_of,
    inference,
    measured,
)


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
