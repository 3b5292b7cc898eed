"""Noise inputs of a core, drawn on the GPU: the bits of the host's noise, in the type that the core takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final, final

import numpy as np

from cgan_runtime.contract import NoiseInput
from cgan_runtime.cuda.device_noise import ON_DEVICE, DeviceNoise, Drawing, Target
from cgan_runtime.cuda.driver import Driver
from cgan_runtime.serving.dlpack import DeviceTensor

__all__ = ["DeviceInputs"]

MOST_DRAWINGS: Final = 64  # of the batches and sizes that came


@final
class DeviceInputs:
    """Buffers on one GPU that are filled from seeds, again and again. One thread at a time.

    Args:
        driver: the GPU; it is closed with this object, also when that cannot be made.
        inputs: of the contract.
        max_rows: the largest batch.
        half: float16 instead of float32.

    Attributes:
        names: of the inputs that are drawn here; the distribution of the others is not drawn on a device.

    Raises:
        DriverError: no memory, or a driver that cannot compile the kernel.
    """

    def __init__(self, driver: Driver, inputs: Sequence[NoiseInput], *, max_rows: int, half: bool) -> None:
        self._inputs = tuple(item for item in inputs if item.distribution in ON_DEVICE)
        self.names = frozenset(item.name for item in self._inputs)
        self._driver, self._half = driver, half
        self._dtype = np.dtype(np.float16 if half else np.float32)
        self._buffers: dict[str, tuple[int, int]] = {}  # name -> (address, bytes)
        self._drawings: dict[tuple[int, tuple[tuple[int, ...], ...]], Drawing] = {}
        with ExitStack() as stack:
            stack.callback(driver.close)
            driver.activate()
            stack.callback(self._free)
            self._noise = DeviceNoise(driver, max_rows=max_rows)
            stack.callback(self._noise.close)
            self._stream = driver.create_stream()
            stack.callback(driver.destroy_stream, self._stream)
            self._owned = stack.pop_all()

    def draw(
        self, seeds: Sequence[int], draws: Sequence[int], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, DeviceTensor]:
        """Every input [N, ...] that is drawn here, of the given shapes; valid until the next call.

        Raises:
            UsageError: a seed or draw out of range, or more rows than the largest batch.
            DriverError: a call of CUDA failed.
        """
        if not self._inputs:
            return {}
        self._driver.activate()
        samples = tuple(shapes[item.name][1:] for item in self._inputs)
        drawing = self._drawing(len(seeds), samples)
        self._noise.set_rows(seeds, draws)
        try:
            self._noise.enqueue(drawing, self._stream)
        finally:  # what was put on the stream reads the seeds: it is over before others are set
            self._driver.synchronise(self._stream)
        return {
            item.name: DeviceTensor(
                address=self._buffers[item.name][0],
                shape=(len(seeds), *(shape or (1,))),  # a scalar per row travels as [N, 1]
                dtype=self._dtype,
                device=self._driver.device.number,
            )
            for item, shape in zip(self._inputs, samples, strict=True)
        }

    def close(self) -> None:
        """Give back the memory and the GPU."""
        self._owned.close()

    def _drawing(self, rows: int, shapes: tuple[tuple[int, ...], ...]) -> Drawing:
        key = (rows, shapes)
        if key not in self._drawings:
            self._reserve(rows, shapes)
            targets = [
                Target(input=item, address=self._buffers[item.name][0], shape=shape, half=self._half)
                for item, shape in zip(self._inputs, shapes, strict=True)
            ]
            drawing = self._noise.prepare(targets, rows)
            if len(self._drawings) >= MOST_DRAWINGS:
                self._drawings.clear()
            self._drawings[key] = drawing
        return self._drawings[key]

    def _reserve(self, rows: int, shapes: tuple[tuple[int, ...], ...]) -> None:
        """Make the buffers large enough; they never become smaller."""
        for item, shape in zip(self._inputs, shapes, strict=True):
            size = rows * math.prod(shape) * self._dtype.itemsize
            if self._buffers.get(item.name, (0, 0))[1] >= size:
                continue
            self._drawings.clear()  # they fill buffers that are gone
            if (old := self._buffers.pop(item.name, None)) is not None:
                self._driver.free(old[0])
            self._buffers[item.name] = (self._driver.allocate(size), size)

    def _free(self) -> None:
        with ExitStack() as stack:  # every buffer, whatever fails
            for address, _ in self._buffers.values():
                stack.callback(self._driver.free, address)
            self._buffers.clear()
