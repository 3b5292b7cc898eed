"""torch.cuda on the CPU: streams do their work at once, a graph is the operators that were called, done again.

Time is the number of operators and kernels. A graph writes into the tensors of its recording, as on a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_export.pytorch import network
from torch.utils._python_dispatch import TorchDispatchMode

from tests.runtime.cpu_noise import CpuDriver

Step = Callable[[], None]


class FakeCuda(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's, unannotated
    """Everything that happens while it is entered; `copied` are the targets of copies, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's, unannotated
        self.clock = 0
        self.recording: list[Step] | None = None
        self.replays = 0
        self.copied: list[int] = []
        self.streams: list[FakeStream] = [FakeStream()]
        self.used: list[FakeStream] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        self.clock += 1
        if func is torch.ops.aten.copy_.default:
            self.copied.append(args[0].data_ptr())
        if self.recording is not None:
            results = result if isinstance(result, tuple) else (result,)

            def again() -> None:
                self.clock += 1
                answer = func(*args, **given)
                for old, new in zip(results, answer if isinstance(answer, tuple) else (answer,), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)
                if func is torch.ops.aten.copy_.default:
                    self.copied.append(args[0].data_ptr())

            self.recording.append(again)
        return result

    def kernel(self, work: Step) -> None:
        """Work of a driver: done, and recorded where a graph is."""

        def timed() -> None:
            self.clock += 1
            work()

        timed()
        if self.recording is not None:
            self.recording.append(timed)


class FakeStream:
    cuda_stream = 5  # what CpuDriver takes

    def wait_stream(self, other: FakeStream) -> None:
        del other

    def synchronize(self) -> None:
        return


class FakeGraph:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.steps: list[Step] = []

    def replay(self) -> None:
        self.cuda.replays += 1
        assert self.cuda.recording is None, "a graph in a graph"
        with torch.utils._python_dispatch._disable_current_modes():
            for step in self.steps:
                step()


class NoiseDriver(CpuDriver):
    """The driver whose memory is that of this process, where PyTorch's tensors are too."""

    def __init__(self, library: Path, cuda: FakeCuda) -> None:
        super().__init__(library)
        self.cuda = cuda
        self.is_closed = False

    def activate(self) -> None:
        return

    def close(self) -> None:
        assert not self.alive
        self.is_closed = True

    def _do(self, call: Callable[[], None]) -> None:
        self.cuda.kernel(call)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """torch.cuda replaced, for tensors of the CPU."""
    fake = FakeCuda()

    def stream(**_: object) -> FakeStream:
        return FakeStream()

    @contextlib.contextmanager
    def on(given: FakeStream) -> Iterator[None]:
        fake.used.append(given)
        fake.streams.append(given)
        yield
        fake.streams.pop()

    @contextlib.contextmanager
    def record(graph: FakeGraph, *, pool: object = None, stream: object = None) -> Iterator[None]:
        del pool, stream
        fake.recording = graph.steps
        try:
            yield
        finally:
            fake.recording = None

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            self.at = -1

        def record(self) -> None:
            self.at = fake.clock

        def elapsed_time(self, later: Event) -> float:
            return float(later.at - self.at)

    for name, value in {
        "Stream": stream,
        "stream": on,
        "graph": record,
        "Event": Event,
        "CUDAGraph": lambda: FakeGraph(fake),
        "current_stream": lambda: fake.streams[-1],
        "graph_pool_handle": object,
        "get_device_name": lambda *_: "a GPU of the tests",
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(network, "_has_graphs", lambda _: True)
    with fake:
        yield fake
