"""A GPU that is none, and the inputs of a contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.onnxruntime.fake_gpu import FakeGpu


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return FakeGpu().install(monkeypatch)
