"""Charts: known values at known places, and nothing lost on the way."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cgan_runtime.pages import readable, readable_time, short
from cgan_trainer.watching.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Chart,
    Series,
    draw,
    smooth,
    thin,
)
from hypothesis import given
from hypothesis import strategies as st

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


def lines(chart: str, kind: str = "line") -> list[list[tuple[float, float]]]:
    found = re.findall(rf'<polyline class="{kind} s\d" points="([^"]*)"', chart)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())] for text in found]


def test_known_points_lie_at_known_places() -> None:
    """0 to 10 has ticks at 0, 2, ..., 10: it fills the frame to its edges."""
    chart = draw(Chart(title="t", series=(Series(name="a", points=((100.0, 0.0), (150.0, 5.0), (200.0, 10.0))),)))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    assert lines(chart) == [[(LEFT, bottom), ((LEFT + right) / 2, (TOP + bottom) / 2), (right, TOP)]]
    assert [float(y) for y in re.findall(r'<line class="rule"[^>]*y1="([\d.]*)"', chart)] == pytest.approx(
        np.linspace(bottom, TOP, 6), abs=0.06
    )


def test_a_unit_has_room_above_the_axis_and_one_value_has_no_curve() -> None:
    points = ((0.0, 0.0), (1.0, 10.0))
    (line,) = lines(draw(Chart(title="t", series=(Series(name="a", points=points),), unit="ms <b>")))
    assert line[1][1] == TOP + 16
    assert ">ms &lt;b&gt;</text>" in draw(
        Chart(title="t", series=(Series(name="a", points=points),), unit="ms <b>")
    )
    alone = draw(Chart(title="t", series=(Series(name="a", points=points[1:]),)))
    assert "<svg" not in alone
    assert "a <b>10</b>" in alone


def test_series_share_the_axes_and_have_a_legend_with_their_newest_value() -> None:
    low = Series(name="D_real", points=((0.0, 1.0), (10.0, 2.0)))
    high = Series(name="G <b>", points=((0.0, 9.0), (10.0, 10.0)))
    chart = draw(Chart(title="t", series=(low, high)))
    first, second = lines(chart)
    assert max(y for _, y in second) < min(y for _, y in first)
    assert "D_real <b>2</b>" in chart
    assert "G &lt;b&gt; <b>10</b>" in chart


@given(st.lists(FINITE, min_size=1, max_size=30), st.booleans(), st.booleans())
def test_every_value_lies_on_the_axis_and_every_tick_too(values: list[float], loose: bool, from_zero: bool) -> None:
    axis = Axis.around(values, 200.0, 10.0, loose=loose, from_zero=from_zero)
    assert all(9.9 <= axis.place(value) <= 200.1 for value in (*values, *axis.ticks))
    assert len(axis.ticks) <= 13
    assert not from_zero or axis.low <= 0 <= axis.high


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-12, 1e12])
def test_a_single_value_has_a_place(value: float) -> None:
    assert Axis.around([value], 0.0, 100.0, loose=True).place(value) == pytest.approx(50, abs=45)


def test_smoothing_is_the_mean_of_the_last_values() -> None:
    values = list(np.random.default_rng(0).normal(size=50))
    expected = [np.mean(values[max(0, end - 7) : end]) for end in range(1, 51)]
    assert smooth(values, 7) == pytest.approx(expected)
    assert smooth(values[:20], 7) == smooth(values, 7)[:20]


def test_long_runs_are_drawn_smoothed_before_raw_and_schedules_as_they_are() -> None:
    points = tuple((float(x), float(x % 2)) for x in range(100))
    noisy = draw(Chart(title="t", series=(Series(name="a", points=points),)))
    exact = draw(Chart(title="t", series=(Series(name="a", points=points),), noisy=False))
    assert np.std(lines(noisy)[0][10:], axis=0)[1] < 0.3 * np.std(lines(noisy, "raw")[0], axis=0)[1]
    assert lines(exact) == lines(noisy, "raw")


@given(st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_thinning_keeps_extremes_ends_and_order(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=count).tolist()
    points = tuple((float(x), y) for x, y in enumerate(values))
    kept = thin(points, 100)
    assert len(kept) <= 100
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert list(kept) == sorted(kept)
    assert {min(y for _, y in kept), max(y for _, y in kept)} == {min(values), max(values)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (readable(0.159602), "0.1596"),
        (readable(49000), "49,000"),
        (readable(float("nan")), "nan"),
        (short(1500), "1.5k"),
        (short(0.0002), "0.0002"),
        (short(-2e6), "-2M"),
        (readable_time(45.4), "45 s"),
        (readable_time(239.3), "3 min 59 s"),
        (readable_time(2508), "42 min"),
        (readable_time(3960), "1 h 6 min"),
        (readable_time(200_000), "2 d 7 h"),
        (readable_time(-1), "0 s"),
    ],
)
def test_figures_are_written_as_people_do(words: str, expected: str) -> None:
    assert words == expected
