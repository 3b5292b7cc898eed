"""What pycuda does not have: graphs, the context of a thread, and the code behind an error text; through ctypes."""

from __future__ import annotations

import ctypes
from typing import Final, final

from cgan_runtime.cuda.failures import SAID, driver_error

__all__ = ["LibCuda"]

RELAXED: Final = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: other threads may allocate meanwhile


@final
class LibCuda:
    """A few functions of libcuda.so.1; handles are ints.

    Raises:
        OSError: the library is not here.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def set_current(self, context: int) -> None:
        """Make a context current in the calling thread."""
        self._call("cuCtxSetCurrent", ctypes.c_void_p(context))

    def pop_current(self) -> None:
        """Take the newest context from the calling thread's stack."""
        self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def begin_capture(self, stream: int) -> None:
        """Record what is put on a stream from now on."""
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(RELAXED))

    def end_capture(self, stream: int) -> int:
        """What was recorded, ready to be launched."""
        recorded, launchable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(recorded))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(launchable), recorded, ctypes.c_ulonglong(0))
        finally:
            self._library.cuGraphDestroy(recorded)
        return launchable.value or 0

    def launch_graph(self, graph: int, stream: int) -> None:
        """Do what was recorded."""
        self._call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def destroy_graph(self, graph: int) -> None:
        """Give it back."""
        self._call("cuGraphExecDestroy", ctypes.c_void_p(graph))

    def code_of(self, text: str) -> int:
        """The code with a sentence of ours that CUDA describes by this text; -1 for others.

        pycuda's errors carry the text of cuGetErrorString and not the code.
        """
        return next((code for code in SAID if self._text(code) == text), -1)

    def _text(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
        return (text.value or b"an unknown error").decode("utf-8", "replace")

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise driver_error(name, code, self._text(code))
