"""Memory of a lane: one piece on the device and one of pinned memory for all inputs, the same for all outputs.

Both are allocated once, for the largest shapes. The tensors of a batch lie in them one behind the other, so all of
them are copied at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any, final

import numpy as np
import numpy.typing as npt

from cgan_runtime.cuda.driver import Bytes, Driver
from cgan_runtime.runners.tensorrt.profiles import Shape, Shapes

__all__ = ["Layout", "Memory", "Place", "PlanTensor", "layout_of"]

ALIGNMENT = 256  # of the addresses that TensorRT takes


@dataclass(frozen=True, kw_only=True)
class PlanTensor:
    """An input or output of an engine.

    `dtype` is the engine's type, `outside` what the runner takes and gives: the contract's, or bytes where the
    engine has those of an image.
    """

    name: str
    dtype: np.dtype[Any]
    outside: np.dtype[Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor lies, in bytes from the beginning."""

    tensor: PlanTensor
    shape: Shape
    offset: int

    @property
    def bytes(self) -> int:
        """Its size."""
        return prod(self.shape) * self.tensor.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The tensors of one side for one set of shapes; `bytes` covers all of them."""

    places: tuple[Place, ...]
    bytes: int


def layout_of(tensors: Sequence[PlanTensor], shapes: Shapes) -> Layout:
    """The places of the tensors, each at a multiple of ALIGNMENT."""
    places: list[Place] = []
    end = 0
    for tensor in tensors:
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        places.append(Place(tensor=tensor, shape=shapes[tensor.name], offset=offset))
        end = offset + places[-1].bytes
    return Layout(places=tuple(places), bytes=end)


@final
class Memory:
    """The two pieces of one side, `size` bytes each; given back by `stack`.

    Attributes:
        address: on the device.
        host: pinned, uint8 [size].
    """

    def __init__(self, driver: Driver, size: int, stack: ExitStack) -> None:
        self.address = driver.allocate(size)
        stack.callback(driver.free, self.address)
        self.host: Bytes = driver.allocate_pinned(size)
        stack.callback(driver.free_pinned, self.host)

    def view(self, place: Place) -> npt.NDArray[Any]:
        """A tensor in the pinned memory, in the engine's type."""
        return self.host[place.offset : place.offset + place.bytes].view(place.tensor.dtype).reshape(place.shape)
