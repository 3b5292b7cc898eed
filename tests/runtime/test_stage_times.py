"""What the front models spend their time on: each moment belongs to one stage, and Triton is told rarely."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest


class Counted:
    """A metric of Triton, which ends with its family."""

    def __init__(self, family: Family) -> None:
        self.steps: list[float] = []
        self.family = weakref.ref(family)

    def increment(self, value: float) -> None:
        assert self.family() is not None
        self.steps.append(value)


class Family:
    """Metrics of one name, by their stage."""

    COUNTER = 0
    made: dict[str, Counted]

    def __init__(self, *, name: str, description: str, kind: int) -> None:
        assert (name, kind) == ("cgan_stage_seconds_total", self.COUNTER)
        assert description
        Family.made = {}

    def Metric(self, *, labels: dict[str, str]) -> Counted:  # noqa: N802 - as Triton has it
        assert labels["model"] == "net_png"
        return self.made.setdefault(labels["stage"], Counted(self))


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    backend = ModuleType("triton_python_backend_utils")
    backend.__dict__.update(MetricFamily=Family, TritonModelException=RuntimeError)
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    yield import_module("cgan_runtime.serving.stage_times")
    sys.modules.pop("cgan_runtime.serving.stage_times", None)


def test_a_stage_inside_another_is_not_counted_twice_and_failures_count_too(module: Any) -> None:
    clock = Clock()
    times = module.StageTimes("net_png", clock)

    def request() -> None:
        with times.stage("noise"):
            clock.now += 0.25
            with times.stage("core"):
                clock.now += 2
            clock.now += 0.5

    request()
    with pytest.raises(ZeroDivisionError), times.stage("read"):
        clock.now += 0.125
        raise ZeroDivisionError
    times.report()
    request()
    times.report()
    told = {stage: counted.steps for stage, counted in Family.made.items()}
    assert told == {"read": [0.125, 0], "noise": [0.75, 0.75], "core": [2, 2], "answer": [0, 0]}


def test_triton_is_told_at_most_once_a_second_and_loses_nothing(module: Any) -> None:
    clock = Clock()
    times = module.StageTimes("net_png", clock)
    for _ in range(40):
        with times.stage("answer"):
            clock.now += 0.125
        times.report()
    assert Family.made["answer"].steps == [1.0] * 5
