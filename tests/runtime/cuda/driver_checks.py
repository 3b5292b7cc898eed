"""What every CUDA driver of ours must do; run as a program over fake_libcuda.c, or over a real GPU.

    python -m tests.runtime.cuda.driver_checks cuda-bindings [FAKE]

FAKE is the compiled fake: it is loaded under the name libcuda.so.1, which is then what every library here finds. A
process of its own is needed, because nothing can unload it again. Without FAKE the GPU of the machine is used, and
the checks that need a failing call are left out.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from cgan_runtime.cuda.driver import Driver, DriverError, absence, find_device, open_driver

NAME = sys.argv[1]
sys.setdlopenflags(os.RTLD_LAZY)  # pycuda is linked against more functions than the fake has
FAKE = ctypes.CDLL(sys.argv[2], mode=ctypes.RTLD_GLOBAL) if len(sys.argv) > 2 else None


@contextmanager
def driver() -> Iterator[Driver]:
    opened = open_driver(0, NAME)
    try:
        yield opened
    finally:
        opened.close()
        opened.close()
    if FAKE is not None:
        assert FAKE.fake_alive() == 0, "something was not given back"


def copies_there_and_back(cuda: Driver) -> None:
    stream, address = cuda.create_stream(), cuda.allocate(1000)
    assert address % 256 == 0
    there, back = cuda.allocate_pinned(1000), cuda.allocate_pinned(1000)
    there[:] = np.arange(1000) % 251
    back[:] = 0
    cuda.copy_to_device(address, there, stream)
    cuda.copy_to_host(back[:500], address + 300, stream)
    cuda.synchronise(stream)
    assert (back[:500] == there[300:800]).all()
    assert not back[500:].any()
    cuda.free_pinned(there)
    cuda.free(address)
    cuda.free_pinned(back)
    cuda.destroy_stream(stream)


def nothing_can_be_allocated_too(cuda: Driver) -> None:
    address, array = cuda.allocate(0), cuda.allocate_pinned(0)
    assert array.shape == (0,)
    cuda.free(address)
    cuda.free_pinned(array)


def a_graph_does_it_again_with_new_data(cuda: Driver) -> None:
    stream, address = cuda.create_stream(), cuda.allocate(16)
    there, back = cuda.allocate_pinned(16), cuda.allocate_pinned(16)
    back[:] = 0
    cuda.begin_capture(stream)
    cuda.copy_to_device(address, there, stream)
    cuda.copy_to_host(back, address, stream)
    graph = cuda.end_capture(stream)
    assert not back.any()  # recorded, not done
    for value in (3, 5):
        there[:] = value
        cuda.launch_graph(graph, stream)
        cuda.synchronise(stream)
        assert (back == value).all()
    cuda.destroy_graph(graph)
    cuda.destroy_stream(stream)
    cuda.free(address)
    cuda.free_pinned(there)
    cuda.free_pinned(back)


def events_measure_time(cuda: Driver) -> None:
    stream, first, second = cuda.create_stream(), cuda.create_event(), cuda.create_event()
    cuda.record(first, stream)
    cuda.record(second, stream)
    cuda.synchronise(stream)
    assert cuda.elapsed_ms(first, second) >= 0
    cuda.destroy_event(first)
    cuda.destroy_event(second)
    cuda.destroy_stream(stream)


def another_thread_takes_part(cuda: Driver) -> None:
    """It ends while the driver is open: pycuda would end the process where a context is left on its stack."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            cuda.activate()
            copies_there_and_back(cuda)
            a_graph_does_it_again_with_new_data(cuda)
        except BaseException as error:  # noqa: BLE001 # reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    if failures:
        raise failures[0]


def another_thread_may_close() -> None:
    opened = open_driver(0, NAME)
    depths: list[int] = []

    def close() -> None:
        opened.close()
        depths.append(FAKE.fake_depth() if FAKE is not None else 0)

    closing = threading.Thread(target=close)
    closing.start()
    closing.join()
    assert depths == [0], "the context is still current in the thread that closed it"
    assert FAKE is None or FAKE.fake_alive() == 0


def kernels_run(cuda: Driver) -> None:
    """Of the fake: add(float *to, float by, uint32_t count)."""
    stream, address, back = cuda.create_stream(), cuda.allocate(40), cuda.allocate_pinned(40)
    back[:] = 0
    module = cuda.load_module(b"kernels")
    function = cuda.function(module, "add")
    cuda.copy_to_device(address, back, stream)
    arguments = (np.uint64(address), np.float32(2.5), np.uint32(7))
    cuda.launch(function, blocks=1, threads=32, arguments=arguments, stream=stream)
    cuda.copy_to_host(back, address, stream)
    cuda.synchronise(stream)
    assert list(back.view(np.float32)) == [2.5] * 7 + [0] * 3
    cuda.unload_module(module)
    cuda.free(address)
    cuda.free_pinned(back)
    cuda.destroy_stream(stream)


def refused(words: str, call: Callable[[], object], failing: str = "", code: int = 0) -> None:
    """The call must raise DriverError with these words, while a function of the fake fails."""
    assert FAKE is not None
    FAKE.fake_fail(failing.encode(), code)
    try:
        call()
    except DriverError as error:
        assert words in str(error), error
        assert str(error).endswith("."), error
        assert "\n" not in str(error)
    else:
        raise AssertionError(f"{failing} failed and nothing was said")
    finally:
        FAKE.fake_fail(b"", 0)


def failures_are_sentences(cuda: Driver) -> None:
    asked = "the GPU has no memory left: 5.0 MiB were asked for, 3.0 MiB are free; use a smaller batch"
    refused(asked, lambda: cuda.allocate(5 << 20), "cuMemAlloc_v2", 2)
    refused("no page-locked memory is left: 2.0 KiB", lambda: cuda.allocate_pinned(2048), "cuMemHostAlloc", 2)
    refused("no memory left; use a smaller batch or fewer contexts", cuda.create_stream, "cuStreamCreate", 2)
    stream = cuda.create_stream()
    lost = "the GPU used an illegal address; the CUDA context is unusable, start the process again"
    refused(lost, lambda: cuda.synchronise(stream), "cuStreamSynchronize", 700)
    refused(
        "a kernel failed on the GPU; the CUDA context", lambda: cuda.synchronise(stream), "cuStreamSynchronize", 719
    )
    cuda.begin_capture(stream)
    refused(
        "cuStreamEndCapture failed: operation failed due",
        lambda: cuda.end_capture(stream),
        "cuStreamEndCapture",
        901,
    )
    cuda.synchronise(stream)  # nothing is recorded any more
    cuda.begin_capture(stream)
    words = "cuGraphInstantiate"
    refused(words, lambda: cuda.end_capture(stream), "cuGraphInstantiateWithFlags", 1)
    cuda.synchronise(stream)
    refused("does not know this version of PTX", lambda: cuda.load_module(b"something else"))
    module = cuda.load_module(b"kernels")
    refused("cuModuleGetFunction failed: named symbol not found", lambda: cuda.function(module, "sub"))
    cuda.unload_module(module)
    cuda.destroy_stream(stream)


def no_gpu_is_a_sentence() -> None:
    assert FAKE is not None
    refused("GPU 3 was asked for, only number 0 is here", lambda: find_device(3, NAME))
    refused(
        "restart the machine, or install a newer NVIDIA driver",
        lambda: open_driver(0, NAME),
        "cuDevicePrimaryCtxRetain",
        803,
    )
    refused("invalid device context", lambda: open_driver(0, NAME), "cuCtxSetCurrent", 201)
    assert FAKE.fake_alive() == 0
    for failing, devices in (("cuInit", 1), ("", 0)):
        FAKE.fake_fail(failing.encode(), 100)
        FAKE.fake_devices(devices)
        assert "no NVIDIA GPU is visible here" in (absence(NAME) or "")
        FAKE.fake_devices(1)
    FAKE.fake_fail(b"", 0)
    assert absence(NAME) is None


def main() -> None:
    assert absence(NAME) is None, absence(NAME)
    device = find_device(0, NAME)
    print(device)  # noqa: T201 - a program
    if FAKE is not None:
        assert (device.name, device.target, device.memory_bytes) == ("A GPU of the tests", "sm86", 8 << 30)
        assert device.driver == "13.0"
    checks = [copies_there_and_back, nothing_can_be_allocated_too, a_graph_does_it_again_with_new_data]
    checks += [events_measure_time, another_thread_takes_part]
    checks += [] if FAKE is None else [kernels_run, failures_are_sentences]
    for check in checks:
        with driver() as cuda:
            check(cuda)
    another_thread_may_close()
    if FAKE is not None:
        no_gpu_is_a_sentence()
    print(f"{NAME}: {len(checks)} checks passed")  # noqa: T201 - a program


if __name__ == "__main__":
    main()
