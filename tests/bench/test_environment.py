"""What is said of the machine that measured."""

from __future__ import annotations

import os

import pytest
from cgan_bench.environment import environment


def test_the_load_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.234, 5.0, 9.0))
    assert environment()["load_average"] == 1.23
