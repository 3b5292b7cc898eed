"""The small form of what `python -m tests.soak` does for long; the others are in tests of their subjects."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.gateway.settings import Limits
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.supervision.supervisor import Supervisor

from tests.soak.overload import overload
from tests.soak.requests import requests
from tests.soak.slow import slow_beside_good
from tests.soak.slow_grpc import KINDS
from tests.supervision.clients import picture_of, settings_of_a_test

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


def test_slow_clients_are_ended_beside_a_good_one(
    bundle: Bundle, bundle_path: Path, server_environment: ServerEnvironment
) -> None:
    limits = Limits(read_seconds=1, idle_seconds=1)
    settings = settings_of_a_test().model_copy(update={"limits": limits})
    with Supervisor([bundle], server_environment, settings):
        report = slow_beside_good(
            settings.http_port, settings.grpc_port, picture_of(bundle_path), 2 * len(KINDS), pause_s=0.2
        )
    assert report.failures == []
    ends = {kind: report.figures[f"{kind}: {slow.ending}"] for kind, slow in KINDS.items()}
    assert ends == dict.fromkeys(KINDS, 2)
    assert report.figures["gRPC longest_s"] < 5
