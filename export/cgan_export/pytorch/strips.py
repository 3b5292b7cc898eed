"""Convolutions in float64, a strip of the image at a time.

torch has no fast kernel for them: it unfolds the whole image first, in 26 GB for the last layer of a ResNet at
1024 x 1024. Strips give the same sums, each in the same order.
"""

from __future__ import annotations

import functools
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["convolve_in_strips"]

MOST_BYTES: Final = 1 << 30  # of what is unfolded at once


def convolve_in_strips(network: nn.Module, most_bytes: int = MOST_BYTES) -> None:
    """Let every Conv2d of a float64 network unfold at most so many bytes at once."""
    for module in network.modules():
        if type(module) is nn.Conv2d and not isinstance(module.padding, str):
            module.forward = functools.partial(_convolved, module, most_bytes)  # type: ignore[method-assign]  # of this copy


def _convolved(conv: nn.Conv2d, most_bytes: int, x: Tensor) -> Tensor:
    (tall, wide), (down, across), (apart, aside) = conv.kernel_size, conv.stride, conv.dilation
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    top, left = (int(side) for side in conv.padding)  # words were left out
    padded = F.pad(x, (left, left, top, top), mode=mode)
    seen = apart * (tall - 1) + 1
    rows = (padded.shape[2] - seen) // down + 1
    columns = (padded.shape[3] - aside * (wide - 1) - 1) // across + 1
    row_bytes = len(x) * x.shape[1] * tall * wide * columns * x.element_size()
    step = max(1, most_bytes // row_bytes)
    strips = [
        F.conv2d(
            padded[:, :, first * down : (min(first + step, rows) - 1) * down + seen],
            conv.weight,
            conv.bias,
            conv.stride,
            0,
            conv.dilation,
            conv.groups,
        )
        for first in range(0, rows, step)
    ]
    return torch.cat(strips, dim=2)
