from __future__ import annotations

from pathlib import Path

import pytest
from cgan_bench.rounds import Plan
from cgan_bench.target import Target, target_of_bundle

from tests.helpers import REPOSITORY


@pytest.fixture(autouse=True)
def _workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker searches where its parent does, so fake backends of tests/ are found there."""
    monkeypatch.syspath_prepend(str(REPOSITORY))


@pytest.fixture(scope="session")
def target(bundle_path: Path, checkpoint: Path) -> Target:
    return target_of_bundle(bundle_path, checkpoint=checkpoint)


@pytest.fixture
def brief() -> Plan:
    return Plan(rounds=4, warm_up=1, gap_ms=0)
