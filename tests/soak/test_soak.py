"""The small form of what `python -m tests.soak` does for long; the others are in tests of their subjects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.overload import overload
from tests.soak.requests import requests

pytestmark = [pytest.mark.usefixtures("server_environment"), pytest.mark.slow]


def ignore(_: str) -> None:
    """Nobody reads it."""


def test_every_answer_is_that_of_the_version_that_it_names(tmp_path: Path) -> None:
    report = requests(tmp_path, 400, 2, ignore)
    assert report.failures == []
    assert (report.figures["published"], report.figures["wrong"]) == (2, 0)
    assert report.figures["requests"] >= 400
    assert set(report.figures["growth_kib_per_10000"]) == {
        *("supervisor", "tritonserver", "gateway"),
        *("model core", "model tensors", "model png"),
    }


def test_more_than_can_be_answered_is_refused_and_nothing_is_lost(bundle_path: Path) -> None:
    report = overload(bundle_path, 1, ignore, "--max-waiting", "8")
    for part in ("before", "capacity", "overload", "after"):
        figures = report.figures[part]
        assert figures["per_second"] > 0, part
        assert (figures["wrong"], figures["failed"]) == (0, 0), part
