"""The colours of a label map: which colour stands for which class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

__all__ = ["MAX_CLASSES", "Palette"]

MAX_CLASSES = 256  # what a palette PNG can hold


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Class i is called ``names[i]`` and drawn in ``colors[i]``, RGB 0..255.

    Raises:
        ValueError: no class, more than 256, a colour that is none, or two classes of one colour.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.colors) <= MAX_CLASSES or len(self.names) != len(self.colors):
            raise ValueError(f"a palette has 1 to {MAX_CLASSES} colours and as many names")
        if any(len(color) != 3 or not all(0 <= value <= 255 for value in color) for color in self.colors):
            raise ValueError("a colour is three numbers from 0 to 255")
        if len(set(self.colors)) != len(self.colors):
            raise ValueError("two classes of a palette have the same colour")

    def __len__(self) -> int:
        return len(self.colors)

    def classes(self, pixels: UInt8[Tensor, "*n 3 h w"]) -> Int64[Tensor, "*n h w"]:
        """The class whose colour is nearest to each pixel (squared distance; of equals the first)."""
        nearest = torch.full(pixels.shape[:-3] + pixels.shape[-2:], 2**30, dtype=torch.int32)
        classes = torch.zeros_like(nearest, dtype=torch.int64)
        for index, color in enumerate(self.colors):  # one class at a time: k images at once would fill memory
            difference = pixels.to(torch.int32) - torch.tensor(color, dtype=torch.int32)[:, None, None]
            distance = difference.square().sum(dim=-3, dtype=torch.int32)
            closer = distance < nearest
            nearest = torch.where(closer, distance, nearest)
            classes[closer] = index
        return classes
