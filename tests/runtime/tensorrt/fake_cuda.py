"""CUDA on the CPU, strict: what a GPU would leave undefined is an error or a wrong number here.

Work on a stream is done when the stream is synchronised, not before; until then the pinned memory that a copy will
fill holds NaN. A graph replays what was recorded, with the addresses of the recording. Memory that was given back
cannot be read. Every call that can fail is counted (`Faults`), so that a test can let each of them fail in turn.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cgan_runtime.cuda.device_noise import TABLE_ENTRY
from cgan_runtime.cuda.driver import Bytes, Device, DriverError

from tests.runtime.cpu_noise import run_noise

GARBAGE = 0xFF  # NaN as float32 and float16
PAGE = 1 << 20  # addresses of two allocations are at least so far apart: what runs over an end hits nothing

# What is done when the stream comes to it, and what is done as soon as it is put there.
Step = tuple[Callable[[], None], Callable[[], object]]


@dataclass
class Faults:
    """Which call fails: number `fail_at`, counted from 0, and every one named `fail_named`; none by default."""

    fail_at: int | None = None
    fail_named: str = ""
    spare: int = 0  # so many of those named do not fail first
    calls: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hits(self, name: str) -> bool:
        """Whether this call is the one that fails."""
        with self._lock:
            self.calls.append(name)
            if name == self.fail_named:
                self.spare -= 1
                return self.spare < 0
            return len(self.calls) - 1 == self.fail_at


class FakeDriver:
    """`Driver` on the CPU."""

    def __init__(self, faults: Faults | None = None, target: str = "sm86") -> None:
        self.faults = faults or Faults()
        self.device = Device(
            number=0, name="a GPU of the tests", target=target, memory_bytes=1 << 30, driver="13.0"
        )
        self.is_closed = False
        self.most_streams_at_work = 0
        self.bytes_to_device = 0  # copied so far
        # By name; called with blocks, threads and arguments.
        self.kernels: dict[str, Callable[..., None]] = {"cgan_noise": self._draw_noise}
        self._modules: dict[int, dict[str, Callable[..., None]]] = {}
        self._functions: dict[int, Callable[..., None]] = {}
        self._blocks: dict[int, Bytes] = {}
        self._pinned: dict[int, Bytes] = {}
        self._streams: dict[int, list[Callable[[], None]]] = {}
        self._recordings: dict[int, list[Step]] = {}
        self._graphs: dict[int, list[Step]] = {}
        self._events: dict[int, int] = {}
        self._clock = 0
        self._threads: set[int] = set()
        self._next = PAGE
        self._lock = threading.RLock()

    def alive(self) -> dict[str, int]:
        """How much of each kind was not given back; empty where nothing is left."""
        counts = {
            "device memory": len(self._blocks),
            "pinned memory": len(self._pinned),
            "streams": len(self._streams),
            "graphs": len(self._graphs),
            "events": len(self._events),
            "modules": len(self._modules),
            "contexts": 0 if self.is_closed else 1,
        }
        return {kind: count for kind, count in counts.items() if count}

    def at(self, address: int, size: int) -> Bytes:
        """The bytes of device memory at an address.

        Raises:
            DriverError: they are not all in one allocation that is alive.
        """
        for start, block in self._blocks.items():
            if start <= address and address + size <= start + len(block):
                return block[address - start : address - start + size]
        raise DriverError(f"the GPU used an illegal address ({size} bytes at {address}).")

    def activate(self) -> None:
        self._may_fail("activate")
        self._threads.add(threading.get_ident())

    def allocate(self, size: int) -> int:
        self._call("allocate")
        with self._lock:
            address = self._next
            self._next += -(-(size + 1) // PAGE) * PAGE + PAGE
            self._blocks[address] = np.full(size, GARBAGE, dtype=np.uint8)
        return address

    def free(self, address: int) -> None:
        self._gives_back("free", lambda: self._blocks.pop(address).fill(GARBAGE))

    def allocate_pinned(self, size: int) -> Bytes:
        self._call("allocate_pinned")
        array = np.full(size, GARBAGE, dtype=np.uint8)
        self._pinned[array.ctypes.data] = array
        return array

    def free_pinned(self, array: Bytes) -> None:
        self._gives_back("free_pinned", lambda: self._pinned.pop(array.ctypes.data).fill(GARBAGE))

    def copy_to_device(self, address: int, source: Bytes, stream: int) -> None:
        self._call("copy_to_device")
        self._require_pinned(source)

        def copy() -> None:
            np.copyto(self.at(address, source.nbytes), source)
            self.bytes_to_device += source.nbytes

        self.put(stream, copy)

    def copy_to_host(self, target: Bytes, address: int, stream: int) -> None:
        self._call("copy_to_host")
        self._require_pinned(target)

        def copy() -> None:
            np.copyto(target, self.at(address, target.nbytes))

        # What is read before the stream was synchronised is no number.
        self.put(stream, copy, at_once=lambda: target.fill(GARBAGE))

    def create_stream(self) -> int:
        self._call("create_stream")
        return self._new(self._streams, [])

    def destroy_stream(self, stream: int) -> None:
        def destroy() -> None:
            assert not self._streams[stream], "a stream with work on it was destroyed"
            del self._streams[stream]

        self._gives_back("destroy_stream", destroy)

    def synchronise(self, stream: int) -> None:
        self._call("synchronise")
        assert stream not in self._recordings, "CUDA does not synchronise a stream that is recorded"
        work, self._streams[stream] = self._streams[stream], []
        for step in work:
            step()

    def create_event(self) -> int:
        self._call("create_event")
        return self._new(self._events, -1)

    def destroy_event(self, event: int) -> None:
        self._gives_back("destroy_event", lambda: self._events.pop(event))

    def record(self, event: int, stream: int) -> None:
        self._call("record")

        def happen() -> None:
            self._clock += 1
            self._events[event] = self._clock

        self.put(stream, happen)

    def elapsed_ms(self, first: int, second: int) -> float:
        self._call("elapsed_ms")
        assert min(self._events[first], self._events[second]) > 0, "the events have not happened"
        return float(self._events[second] - self._events[first])

    def begin_capture(self, stream: int) -> None:
        self._call("begin_capture")
        assert not self._streams[stream], "work was left on the stream"
        self._recordings[stream] = []

    def end_capture(self, stream: int) -> int:
        recorded = self._recordings.pop(stream)
        self._call("end_capture")
        return self._new(self._graphs, recorded)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._call("launch_graph")
        for step, at_once in self._graphs[graph]:
            self.put(stream, step, at_once)

    def destroy_graph(self, graph: int) -> None:
        self._gives_back("destroy_graph", lambda: self._graphs.pop(graph))

    def load_module(self, image: bytes) -> int:
        """PTX; the kernels that it has are those of `kernels`."""
        self._call("load_module")
        assert image.endswith(b"\0"), "the driver looks for the zero at the end of the text"
        names = re.findall(rb"\.entry (\w+)", image)
        return self._new(self._modules, {name.decode(): self.kernels[name.decode()] for name in names})

    def unload_module(self, module: int) -> None:
        self._gives_back("unload_module", lambda: self._modules.pop(module))

    def function(self, module: int, name: str) -> int:
        self._call("function")
        return self._new(self._functions, self._modules[module][name])

    def launch(
        self, function: int, *, blocks: int, threads: int, arguments: Sequence[np.generic[Any]], stream: int
    ) -> None:
        self._call("launch")
        kernel = self._functions[function]
        self.put(stream, lambda: kernel(blocks, threads, *arguments))

    def close(self) -> None:
        def release() -> None:
            self.is_closed = True

        self._gives_back("close", release)

    def put(self, stream: int, step: Callable[[], None], at_once: Callable[[], object] = lambda: None) -> None:
        """Work for a stream, or for its recording; `at_once` is done now where it is work."""
        if stream in self._recordings:
            self._recordings[stream].append((step, at_once))
        else:
            at_once()
            self._streams[stream].append(step)
            busy = sum(1 for work in self._streams.values() if work)
            self.most_streams_at_work = max(self.most_streams_at_work, busy)

    def is_recorded(self, stream: int) -> bool:
        """Whether what is put on the stream is recorded."""
        return stream in self._recordings

    def _new(self, table: dict[int, Any], value: Any) -> int:
        with self._lock:
            self._next += PAGE
            table[self._next] = value
            return self._next

    def _call(self, name: str) -> None:
        assert threading.get_ident() in self._threads, f"{name} in a thread that did not activate the context"
        assert not self.is_closed, f"{name} after close"
        self._may_fail(name)

    def _may_fail(self, name: str) -> None:
        if self.faults.hits(name):
            raise DriverError(f"{name} failed.")

    def _gives_back(self, name: str, give_back: Callable[[], object]) -> None:
        """As CUDA: what is given back is gone, even where an error is reported."""
        assert not self.is_closed, f"{name} after close"
        give_back()
        self._may_fail(name)

    def _draw_noise(self, blocks: int, threads: int, *arguments: np.generic[Any]) -> None:
        """The kernel of noise.cu, compiled for the CPU, on the memory that stands for the device's."""
        table, rows, items, count = arguments
        tensors = np.frombuffer(table.tobytes(), dtype=TABLE_ENTRY).copy()
        ends = [*(int(first) for first in tensors["first"][1 : int(count)]), int(items)]
        batch = 0
        for tensor, end in zip(tensors, ends, strict=False):
            batch = (end - int(tensor["first"])) // -(-int(tensor["elements"]) // 8)
            size = batch * int(tensor["elements"]) * (2 if tensor["half"] else 4)
            tensor["address"] = self.at(int(tensor["address"]), size).ctypes.data
        run_noise(blocks * threads, tensors.tobytes(), self.at(int(rows), 16 * batch), int(items), int(count))

    def _require_pinned(self, array: Bytes) -> None:
        begin, end = array.ctypes.data, array.ctypes.data + array.nbytes
        assert any(start <= begin and end <= start + len(p) for start, p in self._pinned.items()), "not pinned"
