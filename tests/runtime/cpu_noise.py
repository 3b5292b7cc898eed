"""The kernel of noise.cu compiled for the CPU, and a driver whose device is the memory of this process."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from cgan_runtime.contract import NoiseInput
from cgan_runtime.cuda.device_noise import PTX, DeviceNoise, Target
from cgan_runtime.cuda.driver import Bytes, Driver, DriverError

COMPILER = shutil.which("cc")
GUARD = 64  # bytes before and after every buffer that nothing may write


def compile_for_the_cpu(folder: Path, *flags: str) -> Path:
    """The kernel as a shared library; every warning is an error."""
    library = folder / "noise.so"
    assert COMPILER is not None, "a C compiler is needed"
    subprocess.run(
        [
            *(COMPILER, "-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Wshadow", "-Werror", *flags),
            *("-shared", "-fPIC", f"-I{PTX.parent}", "-x", "c", str(Path(__file__).with_name("noise_on_cpu.c"))),
            *("-o", str(library), "-lm"),
        ],
        check=True,
    )
    return library


@cache
def _noise_library() -> ctypes.CDLL:
    """One for all fakes of a test process."""
    with TemporaryDirectory() as folder:
        return ctypes.CDLL(str(compile_for_the_cpu(Path(folder))))


def run_noise(threads: int, table: bytes, rows: Bytes, items: int, tensors: int) -> None:
    """What all threads of a launch do; the addresses in the table are those of this process."""
    _noise_library().run_threads(
        *(ctypes.c_uint64(0), ctypes.c_uint64(threads), ctypes.c_char_p(table)),
        *(ctypes.c_void_p(rows.ctypes.data), ctypes.c_uint64(items), ctypes.c_uint32(tensors)),
    )


class CpuDriver:
    """What `DeviceNoise` asks of a driver. Addresses are those of this process; call `fails_at` fails."""

    def __init__(self, library: Path, *, fails_at: int = -1) -> None:
        self.code = ctypes.CDLL(str(library))
        self.alive: dict[int, Any] = {}
        self.launched: list[tuple[int, int]] = []
        self.calls = 0
        self.fails_at = fails_at
        self.recording: list[Callable[[], None]] | None = None

    def as_driver(self) -> Driver:
        """Itself: the methods that noise does not need are missing."""
        return cast("Driver", self)

    def load_module(self, image: bytes) -> int:
        self._called()
        assert image == PTX.read_bytes() + b"\0"
        return self._keep(object())

    def function(self, module: int, name: str) -> int:
        self._called()
        assert module in self.alive
        assert name == "cgan_noise"
        return 1

    def unload_module(self, module: int) -> None:
        del self.alive[module]

    def allocate(self, size: int) -> int:
        self._called()
        memory = np.full(size + 2 * GUARD, 0xA5, dtype=np.uint8)
        self.alive[memory.ctypes.data + GUARD] = memory
        return memory.ctypes.data + GUARD

    def free(self, address: int) -> None:
        del self.alive[address]

    def allocate_pinned(self, size: int) -> Bytes:
        self._called()
        memory = np.full(size, 0xA5, dtype=np.uint8)
        self._keep(memory)
        return memory

    def free_pinned(self, array: Bytes) -> None:
        assert self.alive.pop(id(array)) is array

    def copy_to_device(self, address: int, source: Bytes, stream: int) -> None:
        self._called()
        assert stream == 5
        assert source.nbytes <= self.alive[address].nbytes - 2 * GUARD
        self._do(lambda: cast("None", ctypes.memmove(address, source.ctypes.data, source.nbytes)))

    def launch(
        self, function: int, *, blocks: int, threads: int, arguments: Sequence[np.generic[Any]], stream: int
    ) -> None:
        self._called()
        assert (function, stream) == (1, 5)
        self.launched.append((blocks, threads))
        self._do(lambda: self.threads(0, blocks * threads, arguments))

    def threads(self, start: int, stop: int, arguments: Sequence[np.generic[Any]]) -> None:
        """Do what some threads of a grid do."""
        table, rows, items, tensors = arguments
        self.code.run_threads(
            *(ctypes.c_uint64(start), ctypes.c_uint64(stop), ctypes.c_char_p(table.tobytes())),
            *(ctypes.c_void_p(int(rows)), ctypes.c_uint64(int(items)), ctypes.c_uint32(int(tensors))),
        )

    def create_stream(self) -> int:
        return 5

    def begin_capture(self, stream: int) -> None:
        assert stream == 5
        self.recording = []

    def end_capture(self, stream: int) -> int:
        assert stream == 5
        graph, self.recording = self.recording, None
        return self._keep(graph)

    def launch_graph(self, graph: int, stream: int) -> None:
        assert stream == 5
        for call in self.alive[graph]:
            call()

    def written(self, address: int) -> Bytes:
        """The bytes of a buffer, after a look at what is around it."""
        memory: Bytes = self.alive[address]
        assert (memory[:GUARD] == 0xA5).all(), "written before the buffer"
        assert (memory[-GUARD:] == 0xA5).all(), "written beyond the buffer"
        return memory[GUARD:-GUARD]

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise DriverError("the device says no")

    def _keep(self, thing: object) -> int:
        self.alive[id(thing)] = thing
        return id(thing)

    def _do(self, call: Callable[[], None]) -> None:
        if self.recording is None:
            call()
        else:
            self.recording.append(call)


def noise_input(distribution: str, index: int = 0, **parameters: float) -> NoiseInput:
    """A noise input; the shape is that of the target."""
    return NoiseInput(name=f"z{index}", index=index, distribution=distribution, shape=(1,), parameters=parameters)


def drawn(
    driver: CpuDriver,
    inputs: Sequence[tuple[NoiseInput, tuple[int, ...], bool]],
    seeds: Sequence[int],
    draws: Sequence[int],
) -> list[np.ndarray]:
    """Each (input, shape, half) drawn for all rows, [rows, *shape] float32 or float16."""
    noise = DeviceNoise(driver.as_driver(), max_rows=len(seeds))
    targets = []
    for item, shape, half in inputs:
        address = driver.allocate(int(np.prod(shape)) * len(seeds) * (2 if half else 4))
        targets.append(Target(input=item, address=address, shape=shape, half=half))
    drawing = noise.prepare(targets, rows=len(seeds))
    noise.set_rows(seeds, draws)
    noise.enqueue(drawing, 5)
    noise.close()
    results = []
    for target in targets:
        values = driver.written(target.address).view(np.float16 if target.half else np.float32)
        results.append(values.reshape(len(seeds), *target.shape).copy())
        driver.free(target.address)
    assert not driver.alive
    return results
