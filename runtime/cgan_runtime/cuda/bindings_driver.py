"""The driver API through NVIDIA's own Python bindings (the package cuda-bindings)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from cgan_runtime.cuda.driver import Bytes, Device, DriverError
from cgan_runtime.cuda.failures import NO_MEMORY, OLD, driver_error, no_host_memory, no_memory, no_such_device
from cgan_runtime.errors import CganError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["BindingsDriver", "check", "find_device", "open_driver"]


def check() -> None:
    """Initialise the library.

    Raises:
        CganError: it is not installed.
        DriverError: there is no driver or no GPU.
    """
    _count(_import())


def find_device(number: int) -> Device:
    """A GPU, without a context on it.

    Raises:
        DriverError: there is no such GPU.
        CganError: the library cannot be used here.
    """
    cuda = _import()
    count = _count(cuda)
    if not 0 <= number < count:
        raise no_such_device(number, count)
    handle = _call(cuda, "cuDeviceGet", number)
    attribute = cuda.CUdevice_attribute
    major = _call(cuda, "cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, handle)
    minor = _call(cuda, "cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, handle)
    version = int(_call(cuda, "cuDriverGetVersion"))
    return Device(
        number=number,
        name=bytes(_call(cuda, "cuDeviceGetName", 256, handle)).split(b"\0")[0].decode("utf-8", "replace"),
        target=f"sm{major}{minor}",
        memory_bytes=int(_call(cuda, "cuDeviceTotalMem", handle)),
        driver=f"{version // 1000}.{version % 1000 // 10}",
    )


def open_driver(device: int) -> BindingsDriver:
    """The driver of one GPU.

    Raises:
        DriverError: there is no such GPU, or its context cannot be had.
        CganError: the library cannot be used here.
    """
    return BindingsDriver(_import(), find_device(device))


@final
class BindingsDriver:
    """`Driver` by cuda.bindings.driver; handles are the library's own, as ints."""

    def __init__(self, cuda: ModuleType, device: Device) -> None:
        self._cuda: Any = cuda
        self._device = device
        self._handle = self._call("cuDeviceGet", device.number)
        self._context = self._call("cuDevicePrimaryCtxRetain", self._handle)
        self._open = True
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
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device, aligned to 256."""
        error, address = self._cuda.cuMemAlloc(max(size, 1))
        if int(error) == NO_MEMORY:
            failed, free, _ = self._cuda.cuMemGetInfo()
            raise no_memory(size, None if failed else int(free))
        _require(self._cuda, "cuMemAlloc", error)
        return int(address)

    def free(self, address: int) -> None:
        """Give them back."""
        self._call("cuMemFree", address)

    def allocate_pinned(self, size: int) -> Bytes:
        """Page-locked memory of the host, uint8 [size]."""
        error, address = self._cuda.cuMemHostAlloc(max(size, 1), 0)
        if int(error) == NO_MEMORY:
            raise no_host_memory(size)
        _require(self._cuda, "cuMemHostAlloc", error)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))

    def free_pinned(self, array: Bytes) -> None:
        """Give it back; no view of it may be used any more."""
        self._call("cuMemFreeHost", array.ctypes.data)

    def copy_to_device(self, address: int, source: Bytes, stream: int) -> None:
        """All bytes of pinned memory to an address."""
        self._call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, stream)

    def copy_to_host(self, target: Bytes, address: int, stream: int) -> None:
        """As many bytes as the pinned memory has from an address."""
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, stream)

    def create_stream(self) -> int:
        """A stream that does not wait for the default one."""
        return int(self._call("cuStreamCreate", self._cuda.CUstream_flags.CU_STREAM_NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        """Give it back."""
        self._call("cuStreamDestroy", stream)

    def synchronise(self, stream: int) -> None:
        """Wait until everything on the stream is done; an error of what ran there is raised here."""
        self._call("cuStreamSynchronize", stream)

    def create_event(self) -> int:
        """An event that measures time."""
        return int(self._call("cuEventCreate", 0))

    def destroy_event(self, event: int) -> None:
        """Give it back."""
        self._call("cuEventDestroy", event)

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream comes to it."""
        self._call("cuEventRecord", event, stream)

    def elapsed_ms(self, first: int, second: int) -> float:
        """Milliseconds between two events that have happened."""
        return float(self._call("cuEventElapsedTime", first, second))

    def begin_capture(self, stream: int) -> None:
        """Record what is put on the stream instead of doing it (relaxed mode)."""
        self._call("cuStreamBeginCapture", stream, self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)

    def end_capture(self, stream: int) -> int:
        """What was recorded, as a graph that can be launched. After an error nothing is recorded any more."""
        recorded = self._call("cuStreamEndCapture", stream)
        try:
            launchable = self._call("cuGraphInstantiate", recorded, 0)
        finally:
            self._cuda.cuGraphDestroy(recorded)
        return int(launchable)

    def launch_graph(self, graph: int, stream: int) -> None:
        """Do all of it."""
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give it back."""
        self._call("cuGraphExecDestroy", graph)

    def load_module(self, image: bytes) -> int:
        """Kernels: a cubin, or PTX."""
        return int(self._call("cuModuleLoadData", image + b"\0"))  # PTX ends with a null byte

    def unload_module(self, module: int) -> None:
        """Give it back."""
        self._call("cuModuleUnload", module)

    def function(self, module: int, name: str) -> int:
        """A kernel of a module, by its C name."""
        return int(self._call("cuModuleGetFunction", module, name.encode()))

    def launch(
        self, function: int, *, blocks: int, threads: int, arguments: Sequence[np.generic[Any]], stream: int
    ) -> None:
        """Run a kernel on a one-dimensional grid; each argument is passed as the bytes of its NumPy scalar."""
        values = [np.array([argument]) for argument in arguments]
        pointers = np.array([value.ctypes.data for value in values], dtype=np.uintp)
        grid = (blocks, 1, 1, threads, 1, 1, 0)
        self._call("cuLaunchKernel", function, *grid, stream, pointers.ctypes.data if values else 0, 0)

    def close(self) -> None:
        """Release the context."""
        if self._open:
            self._open = False
            self._call("cuDevicePrimaryCtxRelease", self._handle)

    def _call(self, name: str, *arguments: Any) -> Any:
        return _call(self._cuda, name, *arguments)


def _import() -> ModuleType:
    try:
        import cuda.bindings.driver as bound
    except ImportError as error:
        raise CganError("cuda-bindings is not installed; run: pip install cuda-bindings") from error
    return bound  # type: ignore[no-any-return] # the package ships no types


def _count(cuda: ModuleType) -> int:
    """How many GPUs are visible; the library is initialised then."""
    _call(cuda, "cuInit", 0)
    count = int(_call(cuda, "cuDeviceGetCount"))
    if not count:
        raise no_such_device(0, 0)
    return count


def _call(cuda: Any, name: str, *arguments: Any) -> Any:
    """The result of a function of the driver API, None where it has none."""
    try:
        error, *results = getattr(cuda, name)(*arguments)
    except RuntimeError as failure:  # libcuda.so.1 is missing, or is older than the function
        if "not found" in str(failure) and "Function" in str(failure):
            raise DriverError(f"the NVIDIA driver has no {name}; {OLD}") from failure
        raise DriverError(
            "no NVIDIA driver (libcuda.so.1) is here; a machine with an NVIDIA GPU and its driver is needed."
        ) from failure
    _require(cuda, name, error)
    return results[0] if results else None


def _require(cuda: Any, name: str, error: Any) -> None:
    if error:
        _, text = cuda.cuGetErrorString(error)
        raise driver_error(name, int(error), (text or b"an unknown error").decode())
