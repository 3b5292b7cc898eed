"""Nearest-neighbour doubling followed by a 3x3 convolution, computed as one transposed convolution.

Doubling repeats each pixel, so that the nine taps of a pixel fall on only four different ones: the same function is
a transposed convolution of 4x4, stride 2, whose kernel is the 3x3 kernel summed over 2x2 windows. It takes 4/9 of
the multiplications and never makes the doubled image.

Source: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts": a free transposed convolution starts with
four different filters for the four pixels of a cell, which draws a checkerboard; these four share their weights.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ResizeConv"]


class ResizeConv(nn.Conv2d):
    """[b, c_in, h, w] to [b, c_out, 2h, 2w]. The weight is that of the 3x3 convolution, [c_out, c_in, 3, 3]."""

    def __init__(self, c_in: int, c_out: int, *, bias: bool) -> None:
        super().__init__(c_in, c_out, 3, padding=1, bias=bias)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:  # noqa: A002 - torch's name
        """h2 = 2 h, w2 = 2 w."""
        # With k the kernel and w the 3 weights of a row, a pixel at an even place is w0 left + (w1 + w2) here, one
        # at an odd place (w0 + w1) here + w2 right: k = (w2, w1 + w2, w0 + w1, w0). The same holds for columns.
        turned = self.weight.flip(2, 3).transpose(0, 1)
        columns = F.pad(turned, (0, 1)) + F.pad(turned, (1, 0))
        kernel = F.pad(columns, (0, 0, 0, 1)) + F.pad(columns, (0, 0, 1, 0))
        return F.conv_transpose2d(input, kernel, self.bias, stride=2, padding=1)
