"""Noise drawn on the GPU, straight into the buffers of a generator, by the rules of docs/seeded-noise.md.

`noise.cu` is the kernel. What is loaded is `noise.ptx`, made from it by ``python -m cgan_runtime.cuda.noise_ptx``:
code for compute capability 7.5, which the driver of the machine compiles for its GPU. To run it needs no compiler.

    noise = DeviceNoise(driver, max_rows=16)
    drawing = noise.prepare([Target(input=mask, address=address, shape=(512, 4, 4))], rows=2)
    noise.set_rows(seeds=[7, 8], draws=[0, 0])
    noise.enqueue(drawing, stream)

A CUDA graph may capture `enqueue`: the seeds are copied from pinned memory when the graph runs, so each run draws
the noise of the rows that were set before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from cgan_runtime.contract import NoiseInput
from cgan_runtime.cuda.driver import Driver
from cgan_runtime.errors import UsageError
from cgan_runtime.noise import MAX_SEED

__all__ = ["ON_DEVICE", "PTX", "TABLE_ENTRY", "DeviceNoise", "Drawing", "Target"]

PTX: Final = Path(__file__).with_name("noise.ptx")
# What the kernel draws. An element of the other distributions depends on its whole row: `noise.py` draws them.
ON_DEVICE: Final = {"mask": 0, "uniform01": 1, "uniform11": 2, "normal": 3}
BLOCK: Final = 8  # elements that one thread draws
THREADS: Final = 128
MAX_TENSORS: Final = 64  # of one launch; all three as in noise.cu
_MAX_U32: Final = 2**32 - 1

TABLE_ENTRY: Final = np.dtype(
    [
        *((name, "<u8") for name in ("address", "elements", "first")),
        *((name, "<u4") for name in ("index", "distribution", "half", "threshold", "kept", "unused")),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a noise input goes.

    Attributes:
        input: what is drawn.
        address: of a buffer on the device for [rows, *shape] in C order, aligned to its elements.
        shape: per sample, every axis a number.
        half: float16 elements instead of float32: the float32 value rounded once more.
    """

    input: NoiseInput
    address: int
    shape: tuple[int, ...]
    half: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Launches that fill the targets for a number of rows: (blocks, arguments) of each."""

    rows: int
    launches: tuple[tuple[int, tuple[np.generic[Any], ...]], ...]


@final
class DeviceNoise:
    """The kernel on one device, and the seeds and draws of the rows of one call.

    Calls come from one thread at a time, and one `enqueue` is in flight at a time: a second stream takes a second
    object.

    Args:
        driver: of the device; stays open for longer than this object.
        max_rows: the largest batch.

    Raises:
        DriverError: no memory, or a driver that cannot compile the kernel.
    """

    def __init__(self, driver: Driver, *, max_rows: int) -> None:
        self._driver = driver
        self._max_rows = max_rows
        with ExitStack() as undo:
            # PTX is text for the driver, which looks for the zero at its end.
            module = driver.load_module(PTX.read_bytes() + b"\0")
            undo.callback(driver.unload_module, module)
            self._function = driver.function(module, "cgan_noise")
            self._rows = driver.allocate(16 * max_rows)
            undo.callback(driver.free, self._rows)
            self._pinned = driver.allocate_pinned(16 * max_rows)
            undo.callback(self._free_pinned)
            self._pinned[:] = 0
            self._undo = undo.pop_all()

    def prepare(self, targets: Sequence[Target], rows: int) -> Drawing:
        """What `enqueue` does for these buffers and this number of rows.

        Raises:
            UsageError: a distribution that is not in `ON_DEVICE`, or more rows than `max_rows`.
        """
        if not 1 <= rows <= self._max_rows:
            raise UsageError(f"{rows} rows, but noise on the device was made for 1 to {self._max_rows}.")
        for target in targets:
            if target.input.distribution not in ON_DEVICE:
                raise UsageError(
                    f"noise input {target.input.name} is {target.input.distribution}, which is not drawn on the "
                    f"device; only {', '.join(ON_DEVICE)} are: draw it on the host."
                )
        starts = range(0, len(targets), MAX_TENSORS)
        return Drawing(
            rows=rows, launches=tuple(self._launch(targets[at : at + MAX_TENSORS], rows) for at in starts)
        )

    def set_rows(self, seeds: Sequence[int], draws: Sequence[int]) -> None:
        """The seed and the draw of each row from the next `enqueue` or run of a graph on.

        What was put on a stream before must be done: it reads the same memory. Rows that are not given keep the
        seeds they had.

        Raises:
            UsageError: seeds and draws of different length, more than `max_rows`, or a value out of range.
        """
        if len(seeds) != len(draws):
            raise UsageError(f"{len(seeds)} seeds but {len(draws)} draws.")
        if len(seeds) > self._max_rows:
            raise UsageError(f"{len(seeds)} rows, but noise on the device was made for 1 to {self._max_rows}.")
        for name, values, top in (("seed", seeds, MAX_SEED), ("draw", draws, _MAX_U32)):
            for value in values:
                if not 0 <= value <= top:
                    raise UsageError(f"{name} must be 0 to {top}, got {value}.")
        rows: npt.NDArray[np.uint64] = self._pinned.view(np.uint64).reshape(-1, 2)
        # With the type: without it numpy makes float64 of a list with a seed from 2**63 upwards.
        rows[: len(seeds), 0] = np.array(seeds, dtype=np.uint64)
        rows[: len(draws), 1] = np.array(draws, dtype=np.uint64)

    def enqueue(self, drawing: Drawing, stream: int) -> None:
        """Copy the rows and fill the targets, on a stream, which may be recording a graph.

        Raises:
            DriverError: a call of CUDA failed.
        """
        self._driver.copy_to_device(self._rows, self._pinned[: 16 * drawing.rows], stream)
        for blocks, arguments in drawing.launches:
            self._driver.launch(self._function, blocks=blocks, threads=THREADS, arguments=arguments, stream=stream)

    def close(self) -> None:
        """Free the memory and the module; what was enqueued must be done."""
        self._undo.close()

    def _free_pinned(self) -> None:
        pinned, self._pinned = self._pinned, np.empty(0, dtype=np.uint8)
        self._driver.free_pinned(pinned)

    def _launch(self, targets: Sequence[Target], rows: int) -> tuple[int, tuple[np.generic[Any], ...]]:
        table = np.zeros(MAX_TENSORS, dtype=TABLE_ENTRY)
        items = 0
        for entry, target in zip(table, targets, strict=False):
            elements = math.prod(target.shape)
            threshold, kept = _mask_words(target) if target.input.distribution == "mask" else (0, 0)
            entry["address"], entry["elements"], entry["first"] = target.address, elements, items
            entry["index"], entry["distribution"] = target.input.index, ON_DEVICE[target.input.distribution]
            entry["half"], entry["threshold"], entry["kept"] = target.half, threshold, kept
            items += rows * -(-elements // BLOCK)
        arguments = (np.void(table.tobytes()), np.uint64(self._rows), np.uint64(items), np.uint32(len(targets)))
        return -(-items // THREADS), arguments


def _mask_words(target: Target) -> tuple[int, int]:
    """The first word that keeps its element, and the bits of the value that it gets."""
    p = target.input.parameters["p"]
    kept = np.array(1.0 / (1.0 - p)).astype(np.float32)
    if not target.half:
        return math.floor(p * 2**32), int(kept.view(np.uint32))
    with np.errstate(over="ignore"):  # p next to 1: infinity, as a cast of the float32 mask gives
        return math.floor(p * 2**32), int(kept.astype(np.float16).view(np.uint16))
