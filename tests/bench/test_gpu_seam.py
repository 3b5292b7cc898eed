"""The laws of gpu-check's CUDA seam hold on a driver that does what CUDA does, and a broken one is told.

Those of the noise need a GPU: tests/runtime/test_device_noise.py holds the same on the CPU, by another way.
"""

from __future__ import annotations

import pytest
from cgan_bench.gpu_seam import LAWS, LawBrokenError, SeamResult, check_seam
from cgan_runtime.cuda import driver as seam
from cgan_runtime.cuda.driver import Driver, DriverError

from tests.runtime.tensorrt.fake_cuda import FakeDriver

COPIES, GRAPHS, MEMORY = list(LAWS)[:3]


class Full(FakeDriver):
    """As large as its GPU, which has no petabyte; opened in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.activate()

    def allocate(self, size: int) -> int:
        if size > self.device.memory_bytes:
            raise DriverError("the GPU has no memory for it.")
        return super().allocate(size)


class Wrong(Full):
    """A graph does nothing."""

    def launch_graph(self, graph: int, stream: int) -> None:
        del graph, stream


@pytest.mark.parametrize("law", [COPIES, GRAPHS, MEMORY])
def test_a_law_holds_and_nothing_is_left(law: str) -> None:
    driver = Full()
    LAWS[law](driver)
    assert driver.alive() == {"contexts": 1}


def test_a_broken_law_is_told() -> None:
    with pytest.raises(LawBrokenError, match="a replay gave"):
        LAWS[GRAPHS](Wrong())
    with pytest.raises(LawBrokenError, match="a petabyte was given"):
        LAWS[MEMORY](Endless())


class Endless(Full):
    """Gives any amount."""

    def allocate(self, size: int) -> int:
        return super().allocate(min(size, 256))


def test_a_library_that_cannot_be_used_and_a_law_that_is_broken_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(device: int = 0, name: str | None = None) -> Driver:
        del device, name
        return Wrong()

    monkeypatch.setattr(seam, "absence", lambda name: "pycuda is not installed." if name == "pycuda" else None)
    monkeypatch.setattr(seam, "open_driver", opened)
    rows = list(check_seam())
    assert rows[0] == SeamResult(library="pycuda", law="can be used", problem="pycuda is not installed.")
    assert not rows[0].passed
    assert rows[1].passed
    broken = {row.law: row for row in rows[2:]}
    assert broken.keys() == LAWS.keys()
    assert broken[MEMORY].passed
    assert "FAILED: LawBrokenError: a replay gave" in str(broken[GRAPHS])
