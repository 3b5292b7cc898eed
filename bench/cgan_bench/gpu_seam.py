"""The CUDA seam of the runtime on a real GPU: memory, copies, graphs, errors, and the noise that is drawn there.

A part of ``python -m cgan_bench.gpu_check``. Every row is a law that the tests hold on a CPU with a stand-in for
the GPU; here the GPU answers. Each is tried with every library that can be used (`cgan_runtime.cuda.DRIVERS`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cgan_runtime.contract import NoiseInput
    from cgan_runtime.cuda.device_noise import Drawing
    from cgan_runtime.cuda.driver import Driver

__all__ = ["SeamResult", "check_seam"]

SIZE: Final = 1 << 20
TOO_MUCH: Final = 1 << 50  # bytes, more than any GPU has
SEEDS: Final = (7, 0, 2**64 - 1, 2**53 + 1)
MASKS: Final = ((512, 2, 2), (512, 4, 4), (512, 8, 8))  # of the U-Net-256
BATCHES: Final = (1, 8, 32)
RUNS: Final = 1000


class LawBrokenError(Exception):
    """What the GPU did is not what the law says."""


@dataclass(frozen=True, kw_only=True)
class SeamResult:
    """One law with one library; `problem` says how it was broken, `figure` what was measured."""

    library: str
    law: str
    figure: str = ""
    problem: str = ""

    @property
    def passed(self) -> bool:
        """It holds."""
        return not self.problem

    def __str__(self) -> str:
        verdict = f"FAILED: {self.problem}" if self.problem else "ok"
        return f"{self.library:<15}{self.law:<46}{self.figure:>22}  {verdict}"


def check_seam() -> Iterator[SeamResult]:
    """Every law with every library; a library that cannot be used is a row that says why."""
    from cgan_runtime.cuda.driver import DRIVERS, absence, open_driver

    for library in DRIVERS:
        if (reason := absence(library)) is not None:
            yield SeamResult(library=library, law="can be used", problem=reason)
            continue
        driver = open_driver(name=library)
        driver.activate()
        yield SeamResult(
            library=library, law="can be used", figure=f"{driver.device.target}, {driver.device.driver}"
        )
        try:
            for law, tried in LAWS.items():
                try:
                    yield SeamResult(library=library, law=law, figure=tried(driver))
                except Exception as error:  # noqa: BLE001 - one law that is broken must not hide the others
                    problem = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                    yield SeamResult(library=library, law=law, problem=problem)
        finally:
            driver.close()


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise LawBrokenError(otherwise)


def _copies(driver: Driver) -> str:
    """What is copied to the device and back is the same; elapsed time is that of the copies."""
    address, stream = driver.allocate(SIZE), driver.create_stream()
    there, back = driver.allocate_pinned(SIZE), driver.allocate_pinned(SIZE)
    events = (driver.create_event(), driver.create_event())
    there[:] = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    driver.record(events[0], stream)
    driver.copy_to_device(address, there, stream)
    driver.copy_to_host(back, address, stream)
    driver.record(events[1], stream)
    driver.synchronise(stream)
    _require(np.array_equal(there, back), "other bytes came back")
    elapsed_ms = driver.elapsed_ms(*events)
    _require(elapsed_ms > 0, "no time passed")
    for event in events:
        driver.destroy_event(event)
    for pinned in (there, back):
        driver.free_pinned(pinned)
    driver.destroy_stream(stream)
    driver.free(address)
    return f"{2 * SIZE / elapsed_ms / 1e6:.1f} GB/s for 1 MiB"


def _graphs(driver: Driver) -> str:
    """A graph does again what was recorded, with the bytes that lie in the pinned memory then."""
    address, stream = driver.allocate(256), driver.create_stream()
    there, back = driver.allocate_pinned(256), driver.allocate_pinned(256)
    driver.begin_capture(stream)
    driver.copy_to_device(address, there, stream)
    driver.copy_to_host(back, address, stream)
    graph = driver.end_capture(stream)
    for value in (1, 2, 3):
        there[:] = value
        driver.launch_graph(graph, stream)
        driver.synchronise(stream)
        _require((back == value).all(), f"a replay gave {set(back.tolist())}, not {value}")
    driver.destroy_graph(graph)
    for pinned in (there, back):
        driver.free_pinned(pinned)
    driver.destroy_stream(stream)
    driver.free(address)
    return ""


def _no_memory(driver: Driver) -> str:
    """More memory than there is: one sentence, and the next call works."""
    from cgan_runtime.cuda.driver import DriverError

    try:
        driver.allocate(TOO_MUCH)
    except DriverError as error:
        _require("\n" not in str(error), "more than one line")
        driver.free(driver.allocate(SIZE))
        return ""
    raise LawBrokenError("a petabyte was given")


def _input(distribution: str, index: int, shape: tuple[int, ...]) -> NoiseInput:
    from cgan_runtime.contract import NoiseInput

    parameters = {"p": 0.5} if distribution == "mask" else {}
    return NoiseInput(name=f"n_{index}", index=index, distribution=distribution, shape=shape, parameters=parameters)


def _drawn(driver: Driver, distribution: str, *, half: bool) -> tuple[npt.NDArray[np.floating], ...]:
    """(what the device draws, what NumPy draws) for tensor 1 of four rows, [4, 1021]."""
    from cgan_runtime.cuda.device_noise import DeviceNoise, Target
    from cgan_runtime.noise import noise

    shape, dtype = (1021,), np.dtype(np.float16 if half else np.float32)
    count = len(SEEDS) * math.prod(shape) * dtype.itemsize
    draws = (0, 1, 2, 2**32 - 1)
    address, stream, back = driver.allocate(count), driver.create_stream(), driver.allocate_pinned(count)
    device = DeviceNoise(driver, max_rows=len(SEEDS))
    item = _input(distribution, 1, shape)
    drawing = device.prepare([Target(input=item, address=address, shape=shape, half=half)], len(SEEDS))
    device.set_rows(SEEDS, draws)
    device.enqueue(drawing, stream)
    driver.copy_to_host(back, address, stream)
    driver.synchronise(stream)
    ours = back.view(dtype).reshape(len(SEEDS), *shape).copy()
    theirs = np.stack(
        [
            noise(distribution, shape, seed=seed, tensor=1, draw=draw, parameters=item.parameters)
            for seed, draw in zip(SEEDS, draws, strict=True)
        ]
    ).astype(dtype)
    device.close()
    driver.free_pinned(back)
    driver.destroy_stream(stream)
    driver.free(address)
    return ours, theirs


def _equal(distribution: str, *, half: bool = False) -> Callable[[Driver], str]:
    def tried(driver: Driver) -> str:
        ours, theirs = _drawn(driver, distribution, half=half)
        _require(ours.tobytes() == theirs.tobytes(), f"{int((ours != theirs).sum())} of {ours.size} values differ")
        return f"{ours.size} values"

    return tried


def _normals(driver: Driver) -> str:
    """Within one unit in the last place; how many are not equal is said."""
    ours, theirs = _drawn(driver, "normal", half=False)
    apart = np.abs(ours.view(np.int32).astype(np.int64) - theirs.view(np.int32))
    _require(apart.max() <= 1, f"{apart.max()} units in the last place")
    return f"{int((apart > 0).sum())} of {ours.size} differ"


def _time(driver: Driver, batch: int) -> str:
    """Median GPU time of the masks of a U-Net-256 as a graph, by events around each of many runs."""
    from cgan_runtime.cuda.device_noise import DeviceNoise, Target

    stream = driver.create_stream()
    addresses = [driver.allocate(2 * batch * math.prod(shape)) for shape in MASKS]
    device = DeviceNoise(driver, max_rows=batch)
    targets = [
        Target(input=_input("mask", index, shape), address=address, shape=shape, half=True)
        for index, (shape, address) in enumerate(zip(MASKS, addresses, strict=True))
    ]
    drawing: Drawing = device.prepare(targets, batch)
    device.set_rows(range(batch), [0] * batch)
    device.enqueue(drawing, stream)  # once without recording: the first launch loads the code
    driver.synchronise(stream)
    driver.begin_capture(stream)
    for _ in range(10):
        device.enqueue(drawing, stream)
    graph = driver.end_capture(stream)
    events = (driver.create_event(), driver.create_event())
    times_us = []
    for _ in range(RUNS // 10):
        driver.record(events[0], stream)
        driver.launch_graph(graph, stream)
        driver.record(events[1], stream)
        driver.synchronise(stream)
        times_us.append(driver.elapsed_ms(*events) * 1e3 / 10)
    driver.destroy_graph(graph)
    for event in events:
        driver.destroy_event(event)
    device.close()
    for address in addresses:
        driver.free(address)
    driver.destroy_stream(stream)
    return f"{np.median(times_us):.2f} us a draw"


LAWS: Final[dict[str, Callable[[Driver], str]]] = {
    "bytes come back as they went": _copies,
    "a graph replays with new data": _graphs,
    "no memory is one sentence": _no_memory,
    "masks equal NumPy's": _equal("mask"),
    "masks in FP16 equal NumPy's": _equal("mask", half=True),
    "uniforms equal NumPy's": _equal("uniform11"),
    "normals within one unit of NumPy's": _normals,
    **{f"masks of a U-Net-256, batch {batch}": functools.partial(_time, batch=batch) for batch in BATCHES},
}
