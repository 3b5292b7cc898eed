"""Memory of a GPU as a tensor that other libraries read where it is, by DLPack.

The structures are those of dlpack.h, version 0 (https://dmlc.github.io/dlpack/latest/c_api.html), which every
consumer takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

__all__ = ["DeviceTensor"]

CUDA: Final = 2  # kDLCUDA
FLOAT: Final = 2  # kDLFloat


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("number", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


# What consumers still read, by address. Each calls the deleter when it is done: Triton's backend calls it always,
# so there must be one. What no consumer takes stays here, some hundred bytes.
_lent: Final[dict[int, object]] = {}


def _give_back(address: int) -> None:
    _lent.pop(address, None)


_DELETER: Final = _Deleter(_give_back)
_capsule: Callable[[int, bytes, None], Any] = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))
_NAME: Final = b"dltensor"  # kept here: a capsule does not copy its name


@dataclass(frozen=True, kw_only=True)
class DeviceTensor:
    """Floats in C order on a GPU; whoever made them keeps the memory until the consumer is done.

    Attributes:
        address: on the device.
        shape: batch first.
        dtype: float32 or float16.
        device: number of the GPU.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device."""
        return CUDA, self.device

    def __dlpack__(self, *, stream: int | None = None, **_: object) -> Any:
        """A capsule. What fills the memory is done, on whatever `stream` it is read."""
        del stream
        shape = (ctypes.c_int64 * len(self.shape))(*self.shape)
        kind, number = self.__dlpack_device__()
        tensor = _Tensor(
            data=self.address,
            device=_Device(kind=kind, number=number),
            ndim=len(self.shape),
            dtype=_DataType(code=FLOAT, bits=8 * self.dtype.itemsize, lanes=1),
            shape=shape,
            strides=None,
            byte_offset=0,
        )
        managed = _Managed(tensor=tensor, context=None, deleter=_DELETER)
        address = ctypes.addressof(managed)
        _lent[address] = (managed, shape)
        return _capsule(address, _NAME, None)
