"""What runners ask of CUDA: memory, copies, streams, events, graphs and kernels, in plain integers.

pycuda and NVIDIA's own bindings implement it (`DRIVERS`, one file each); tests implement it on the CPU. Every
handle is an int: a device address, a stream, an event, a graph that can be launched, a module, a function. Nothing
is freed by garbage collection: whoever asks for something gives it back, in any order, before `close`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from cgan_runtime.errors import CganError

__all__ = ["DRIVERS", "Bytes", "Device", "Driver", "DriverError", "absence", "find_device", "open_driver"]

Bytes = npt.NDArray[np.uint8]


class DriverError(CganError):
    """A call of CUDA failed: no memory, an illegal address, no device. The message says which, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU.

    Attributes:
        number: as CUDA counts the visible ones.
        name: "NVIDIA H100 80GB HBM3".
        target: its compute capability: "sm90".
        memory_bytes: in all.
        driver: newest CUDA version that the installed driver knows: "13.0".
    """

    number: int
    name: str
    target: str
    memory_bytes: int
    driver: str


class Driver(Protocol):
    """One device, on its primary context, which TensorRT, PyTorch and ONNX Runtime share.

    Every method may raise DriverError. Several threads may use it at once, each after it has called `activate`, and
    each on streams of its own. Copies and launches on a stream are asynchronous; the host memory of a copy is
    pinned and stays until the stream is synchronised. A call that gives something back has done so even where it
    raises: CUDA reports errors of earlier work there.
    """

    @property
    def device(self) -> Device:
        """The GPU."""

    def activate(self) -> None:
        """Make the context current in the calling thread."""

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device, aligned to 256."""

    def free(self, address: int) -> None:
        """Give them back."""

    def allocate_pinned(self, size: int) -> Bytes:
        """Page-locked memory of the host, uint8 [size]."""

    def free_pinned(self, array: Bytes) -> None:
        """Give it back; no view of it may be used any more."""

    def copy_to_device(self, address: int, source: Bytes, stream: int) -> None:
        """All bytes of pinned memory to an address."""

    def copy_to_host(self, target: Bytes, address: int, stream: int) -> None:
        """As many bytes as the pinned memory has from an address."""

    def create_stream(self) -> int:
        """A stream that does not wait for the default one."""

    def destroy_stream(self, stream: int) -> None:
        """Give it back."""

    def synchronise(self, stream: int) -> None:
        """Wait until everything on the stream is done; an error of what ran there is raised here."""

    def create_event(self) -> int:
        """An event that measures time."""

    def destroy_event(self, event: int) -> None:
        """Give it back."""

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream comes to it."""

    def elapsed_ms(self, first: int, second: int) -> float:
        """Milliseconds between two events that have happened."""

    def begin_capture(self, stream: int) -> None:
        """Record what is put on the stream instead of doing it (relaxed mode)."""

    def end_capture(self, stream: int) -> int:
        """What was recorded, as a graph that can be launched. After an error nothing is recorded any more."""

    def launch_graph(self, graph: int, stream: int) -> None:
        """Do all of it."""

    def destroy_graph(self, graph: int) -> None:
        """Give it back."""

    def load_module(self, image: bytes) -> int:
        """Kernels: a cubin, or PTX."""

    def unload_module(self, module: int) -> None:
        """Give it back."""

    def function(self, module: int, name: str) -> int:
        """A kernel of a module, by its C name."""

    def launch(
        self, function: int, *, blocks: int, threads: int, arguments: Sequence[np.generic[Any]], stream: int
    ) -> None:
        """Run a kernel on a one-dimensional grid; each argument is passed as the bytes of its NumPy scalar."""

    def close(self) -> None:
        """Release the context."""


class _Module(Protocol):
    def check(self) -> None:
        """Raises CganError where the library is not installed, DriverError where there is no driver or no GPU."""

    def find_device(self, number: int) -> Device:
        """A GPU, without a context on it."""

    def open_driver(self, device: int) -> Driver:
        """The driver of one GPU."""


# By the name of the library; the first that can be used is taken.
DRIVERS: Final = {
    "pycuda": "cgan_runtime.cuda.pycuda_driver",
    "cuda-bindings": "cgan_runtime.cuda.bindings_driver",
}


def absence(name: str | None = None) -> str | None:
    """Why no library (or not the named one) can be used here, and what to install; None where one can."""
    problems = [_problem(key) for key in ([name] if name else DRIVERS)]
    if None in problems:
        return None
    # A library that is there tells more than one that is not.
    return str(next((problem for problem in problems if isinstance(problem, DriverError)), problems[-1]))


def find_device(number: int = 0, name: str | None = None) -> Device:
    """A GPU as CUDA counts the visible ones, without a context on it.

    Raises:
        CganError: no library can be used here.
        DriverError: there is no such GPU.
    """
    return _usable(name).find_device(number)


def open_driver(device: int = 0, name: str | None = None) -> Driver:
    """The driver of a GPU, by the named library or the first that can be used.

    Raises:
        CganError: no library can be used here.
        DriverError: there is no such GPU.
    """
    return _usable(name).open_driver(device)


def _usable(name: str | None) -> _Module:
    for key in [name] if name else DRIVERS:
        if _problem(key) is None:
            return _module(key)
    raise CganError(absence(name) or "")


def _problem(name: str) -> CganError | None:
    try:
        _module(name).check()
    except CganError as error:
        return error
    return None


def _module(name: str) -> _Module:
    return cast("_Module", import_module(DRIVERS[name]))
