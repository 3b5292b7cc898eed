"""The driver API through pycuda, and through ctypes for what pycuda does not have.

pycuda keeps a stack of contexts for each thread and aborts the process when a thread ends with one on it. A
context is therefore on that stack only during a call (`_current`). TensorRT and the graph calls need a context that
is current for CUDA; `activate` sets it, and pycuda does not know of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import numpy as np

from cgan_runtime.cuda.driver import Bytes, Device, DriverError
from cgan_runtime.cuda.failures import NO_MEMORY, OLD, driver_error, no_host_memory, no_memory, no_such_device
from cgan_runtime.cuda.libcuda import LibCuda
from cgan_runtime.errors import CganError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["PycudaDriver", "check", "find_device", "open_driver"]

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


def check() -> None:
    """Initialise the library.

    Raises:
        CganError: it is not installed.
        DriverError: there is no driver or no GPU.
    """
    _count(_import(), LibCuda())


def find_device(number: int) -> Device:
    """A GPU, without a context on it.

    Raises:
        DriverError: there is no such GPU.
        CganError: the library cannot be used here.
    """
    cuda = _import()
    library = LibCuda()
    count = _count(cuda, library)
    if not 0 <= number < count:
        raise no_such_device(number, count)
    with _translated(cuda, library):
        found = cuda.Device(number)
        major, minor = found.compute_capability()
        version = int(cuda.get_driver_version())
        return Device(
            number=number,
            name=str(found.name()),
            target=f"sm{major}{minor}",
            memory_bytes=int(found.total_memory()),
            driver=f"{version // 1000}.{version % 1000 // 10}",
        )


def open_driver(device: int) -> PycudaDriver:
    """The driver of one GPU.

    Raises:
        DriverError: there is no such GPU, or its context cannot be had.
        CganError: the library cannot be used here.
    """
    return PycudaDriver(_import(), find_device(device))


@final
class PycudaDriver:
    """`Driver` by pycuda.driver. Its objects are kept here by their handle, so that nothing is freed by chance."""

    def __init__(self, cuda: ModuleType, device: Device) -> None:
        self._cuda: Any = cuda
        self._library = LibCuda()
        self._device = device
        self._memory: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._events: dict[int, Any] = {}
        self._modules: dict[int, Any] = {}
        self._functions: dict[int, Any] = {}
        self._handles = 0
        with _translated(cuda, self._library):
            self._context: Any = cuda.Device(device.number).retain_primary_context()
        try:
            self.activate()
        except DriverError:
            self.close()
            raise

    @property
    def device(self) -> Device:
        """The GPU."""
        return self._device

    def activate(self) -> None:
        """Make the context current in the calling thread."""
        self._library.set_current(self._context.handle)

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device, aligned to 256."""
        with self._current() as cuda:
            try:
                memory = cuda.mem_alloc(max(size, 1))
            except cuda.MemoryError as error:
                raise no_memory(size, self._free_bytes()) from error
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """Give them back."""
        with self._current():
            self._memory.pop(address).free()

    def allocate_pinned(self, size: int) -> Bytes:
        """Page-locked memory of the host, uint8 [size]."""
        with self._current() as cuda:
            try:
                array: Bytes = cuda.pagelocked_empty(max(size, 1), np.uint8)
            except cuda.MemoryError as error:
                raise no_host_memory(size) from error
        self._memory[array.ctypes.data] = array.base
        return array[:size]

    def free_pinned(self, array: Bytes) -> None:
        """Give it back; no view of it may be used any more."""
        with self._current():
            self._memory.pop(array.ctypes.data).free()

    def copy_to_device(self, address: int, source: Bytes, stream: int) -> None:
        """All bytes of pinned memory to an address."""
        with self._current() as cuda:
            cuda.memcpy_htod_async(address, source, self._streams[stream])

    def copy_to_host(self, target: Bytes, address: int, stream: int) -> None:
        """As many bytes as the pinned memory has from an address."""
        with self._current() as cuda:
            cuda.memcpy_dtoh_async(target, address, self._streams[stream])

    def create_stream(self) -> int:
        """A stream that does not wait for the default one."""
        with self._current() as cuda:
            stream = cuda.Stream(NON_BLOCKING)
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        """Give it back."""
        with self._current():
            del self._streams[stream]  # pycuda destroys it with its object

    def synchronise(self, stream: int) -> None:
        """Wait until everything on the stream is done; an error of what ran there is raised here."""
        with self._current():
            self._streams[stream].synchronize()

    def create_event(self) -> int:
        """An event that measures time."""
        with self._current() as cuda:
            return self._keep(self._events, cuda.Event())

    def destroy_event(self, event: int) -> None:
        """Give it back."""
        with self._current():
            del self._events[event]  # as a stream

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream comes to it."""
        with self._current():
            self._events[event].record(self._streams[stream])

    def elapsed_ms(self, first: int, second: int) -> float:
        """Milliseconds between two events that have happened."""
        with self._current():
            return float(self._events[first].time_till(self._events[second]))

    def begin_capture(self, stream: int) -> None:
        """Record what is put on the stream instead of doing it (relaxed mode)."""
        self._library.begin_capture(stream)

    def end_capture(self, stream: int) -> int:
        """What was recorded, as a graph that can be launched. After an error nothing is recorded any more."""
        return self._library.end_capture(stream)

    def launch_graph(self, graph: int, stream: int) -> None:
        """Do all of it."""
        self._library.launch_graph(graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give it back."""
        self._library.destroy_graph(graph)

    def load_module(self, image: bytes) -> int:
        """Kernels: a cubin, or PTX."""
        with self._current() as cuda:
            return self._keep(self._modules, cuda.module_from_buffer(image + b"\0"))  # PTX ends with a null byte

    def unload_module(self, module: int) -> None:
        """Give it back."""
        with self._current():
            owned = [key for key, (owner, _) in self._functions.items() if owner == module]
            for key in owned:
                del self._functions[key]  # a function keeps its module loaded
            del self._modules[module]

    def function(self, module: int, name: str) -> int:
        """A kernel of a module, by its C name."""
        with self._current():
            return self._keep(self._functions, (module, self._modules[module].get_function(name)))

    def launch(
        self, function: int, *, blocks: int, threads: int, arguments: Sequence[np.generic[Any]], stream: int
    ) -> None:
        """Run a kernel on a one-dimensional grid; each argument is passed as the bytes of its NumPy scalar."""
        with self._current():
            _, kernel = self._functions[function]
            kernel(*arguments, grid=(blocks, 1), block=(threads, 1, 1), stream=self._streams[stream])

    def close(self) -> None:
        """Release the context."""
        context, self._context = self._context, None
        if context is None:
            return
        with _translated(self._cuda, self._library):
            context.push()
            context.detach()  # releases it only while it is current, and leaves it on CUDA's own stack
            self._library.pop_current()

    def _keep(self, kept: dict[int, Any], value: Any) -> int:
        self._handles += 1
        kept[self._handles] = value
        return self._handles

    def _free_bytes(self) -> int | None:
        try:
            return int(self._cuda.mem_get_info()[0])
        except self._cuda.Error:  # there was no memory for the answer either
            return None

    @contextmanager
    def _current(self) -> Iterator[Any]:
        """The module pycuda.driver, with the context on pycuda's stack of this thread."""
        with _translated(self._cuda, self._library):
            self._context.push()
            try:
                yield self._cuda
            finally:
                self._context.pop()


@contextmanager
def _translated(cuda: Any, library: LibCuda) -> Iterator[None]:
    try:
        yield
    except cuda.Error as error:  # "cuMemAlloc failed: out of memory"
        call, _, text = str(error).partition(" failed: ")
        known = text.partition(" - ")[0]  # what the compiler of PTX said follows
        code = NO_MEMORY if isinstance(error, cuda.MemoryError) else library.code_of(known)
        raise driver_error(call, code, text or "an unknown error") from error


def _import() -> ModuleType:
    try:
        import pycuda.driver as bound
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            # PyPI has its source only, which rarely builds by itself.
            raise CganError(
                "pycuda is not installed; run: pip install cuda-bindings, which does the same, or build pycuda: "
                "make gpu-wheels"
            ) from error
        if "libcuda.so.1" in str(error):
            raise DriverError(
                "no NVIDIA driver (libcuda.so.1) is here; a machine with an NVIDIA GPU and its driver is needed."
            ) from error
        raise DriverError(f"pycuda cannot be loaded ({error}); rebuild it for the CUDA here, or {OLD}") from error
    return bound  # type: ignore[no-any-return] # the package ships no types


def _count(cuda: Any, library: LibCuda) -> int:
    """How many GPUs are visible; the library is initialised then."""
    with _translated(cuda, library):
        cuda.init()
        count = int(cuda.Device.count())
    if not count:
        raise no_such_device(0, 0)
    return count
