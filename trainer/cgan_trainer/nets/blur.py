"""Halving and doubling with a blur, so that a shift of the image is a shift of the result.

Source: Zhang 2019, "Making convolutional networks shift-invariant again", as CUT (Park et al. 2020) uses it: after
a convolution of stride 1 a binomial filter and every second pixel; before one, zeros between the pixels and then a
filter. The filters are buffers, so that a file can bring its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["BlurDown", "BlurUp", "binomial"]


def binomial(size: int, channels: int) -> Float[Tensor, "c 1 k k"]:
    """The filter of `size` x `size` whose rows and columns are binomial coefficients; its sum is 1."""
    row = torch.ones(1)
    for _ in range(size - 1):
        row = F.pad(row, (0, 1)) + F.pad(row, (1, 0))
    square = torch.outer(row, row)
    return (square / square.sum()).repeat(channels, 1, 1, 1)


class BlurDown(nn.Module):
    """[b, c, h, w] to [b, c, h/2, w/2], h and w even: mirrored at the border, filtered, every second pixel."""

    filt: Tensor

    def __init__(self, channels: int, size: int = 3) -> None:
        super().__init__()
        before = (size - 1) // 2
        self.pads = (before, size - 1 - before) * 2
        self.register_buffer("filt", binomial(size, channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Half the height and width."""
        return F.conv2d(F.pad(x, self.pads, mode="reflect"), self.filt, stride=2, groups=len(self.filt))


class BlurUp(nn.Module):
    """[b, c, h, w] to [b, c, 2h, 2w]: the border repeated, zeros between the pixels, filtered; the sum is 4."""

    filt: Tensor

    def __init__(self, channels: int, size: int = 4) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("filt", 4 * binomial(size, channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Twice the height and width."""
        cut = 1 + (self.size - 1) // 2
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        x = F.conv_transpose2d(x, self.filt, stride=2, padding=cut, groups=len(self.filt))[:, :, 1:, 1:]
        return x if self.size % 2 else x[:, :, :-1, :-1]
