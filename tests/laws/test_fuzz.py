"""A sample of the mutants; `python -m tests.fuzz KIND --count 10000` makes as many as wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import KINDS, targets_of
from tests.fuzz.base import fuzz

SAMPLE = 420  # a dozen of every picture format
SLOW_SAMPLE = {"bundles": 210}  # each is used in a process of its own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is Linux's to tell")
def test_every_mutant_is_refused_in_one_sentence_or_sound(kind: str, tmp_path: Path) -> None:
    sample = SLOW_SAMPLE.get(kind, SAMPLE)
    report = fuzz(kind, targets_of(kind)(tmp_path), sample)
    assert report.failures == []
    refused = sum(count for said, count in report.counts.items() if "refused" in said)
    assert sample / 4 < refused < sample
