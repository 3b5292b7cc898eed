"""The baseline without a net: every condition colour becomes the mean colour it had in training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

__all__ = ["LEVELS", "lookup_table_baseline"]

LEVELS = 32  # per channel: 32768 colours, each seen often enough to have a mean

Images = UInt8[Tensor, "_ _ _ _"]


def lookup_table_baseline(
    conditions: UInt8[Tensor, "n c h w"], targets: UInt8[Tensor, "n c_out h w"]
) -> Callable[[Images], Images]:
    """Learn from training pairs; the result turns conditions into images.

    Conditions are rounded down to 32 levels per channel. A colour never seen takes the mean of the nearest that was
    (squared distance; of equals the first).
    """
    channels, out = conditions.shape[1], targets.shape[1]
    count = torch.zeros(LEVELS**channels, dtype=torch.float64)
    total = torch.zeros(LEVELS**channels, out, dtype=torch.float64)
    for condition, target in zip(conditions, targets, strict=True):
        colors = _colors(condition)
        count += torch.bincount(colors, minlength=len(count))
        for channel, values in enumerate(target):
            total[:, channel] += torch.bincount(colors, weights=values.flatten().double(), minlength=len(count))
    seen = count.nonzero().squeeze(1)
    means = (total[seen] / count[seen, None]).round().to(torch.uint8)

    def paint(images: Images) -> Images:
        table = torch.zeros(len(count), out, dtype=torch.uint8)
        table[seen] = means
        wanted = torch.stack([torch.bincount(_colors(p), minlength=len(count)) for p in images]).sum(dim=0)
        unseen = (wanted * (count == 0)).nonzero().squeeze(1)
        for start in range(0, len(unseen), 1024):  # all distances at once would fill memory
            part = unseen[start : start + 1024]
            distance = (_levels(part, channels)[:, None] - _levels(seen, channels)).square().sum(dim=2)
            table[part] = means[distance.argmin(dim=1)]
        height, width = images.shape[-2:]
        return torch.stack([table[_colors(p)].T.reshape(out, height, width) for p in images])

    return paint


def _colors(image: UInt8[Tensor, "c h w"]) -> Int64[Tensor, " hw"]:
    """One number per pixel: its levels as digits in base 32."""
    number = torch.zeros(image[0].numel(), dtype=torch.int64)
    for channel in image:
        number = number * LEVELS + channel.flatten().long() * LEVELS // 256
    return number


def _levels(numbers: Int64[Tensor, " n"], channels: int) -> Int64[Tensor, "n c"]:
    digits = [numbers // LEVELS**place % LEVELS for place in reversed(range(channels))]
    return torch.stack(digits, dim=1)
