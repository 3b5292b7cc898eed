"""Throughput over the batch size: lines lie where the ticks say."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cgan_bench.plot_data import Throughput
from cgan_bench.plots import throughput_plot
from cgan_bench.plots.frame import marks_of

from tests.bench.plotted import (
    EAGER_MS,
    OURS_MS,
    THREE,
    drawn,
    inference,
    measured,
    throughput_of,
)
from tests.bench.test_report import training_report


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
