"""The form in which tensors cross the edge of an engine: their types, and the axes of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cgan_runtime.contract import Axis, Tensor
from cgan_runtime.runners.base import is_image

__all__ = ["Edge", "ElementType"]

ElementType = Literal["FLOAT", "HALF", "INT64", "UINT8"]  # as TensorRT names them


@dataclass(frozen=True, kw_only=True)
class Edge:
    """Of an engine.

    Attributes:
        io: type of the float inputs and outputs.
        byte_images: images are uint8 [N, H, W, C] instead.
    """

    io: Literal["fp32", "fp16"] = "fp32"
    byte_images: bool = False

    def has_bytes(self, tensor: Tensor) -> bool:
        """Whether the tensor is an image that crosses as bytes."""
        return self.byte_images and is_image(tensor)

    def type_of(self, tensor: Tensor) -> ElementType:
        """The type of its elements."""
        if self.has_bytes(tensor):
            return "UINT8"
        if tensor.dtype != "float32":
            return "INT64"
        return "HALF" if self.io == "fp16" else "FLOAT"

    def axes_of(self, tensor: Tensor) -> tuple[Axis, ...]:
        """The axes of one sample."""
        if self.has_bytes(tensor):
            channels, height, width = tensor.shape
            return (height, width, channels)
        return tensor.shape
