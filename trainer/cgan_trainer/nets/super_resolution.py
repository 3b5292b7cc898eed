"""The SRGAN generator: residual blocks at low resolution, then two sub-pixel doublings.

Source: Ledig et al. 2017; PyTorch-GAN's choices: a batch norm before each pixel shuffle, tanh at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cgan_trainer.nets.norm import BatchNorm2d

__all__ = ["SuperResolution"]


class Residual(nn.Module):
    """``x + norm(conv(prelu(norm(conv(x)))))``."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1), BatchNorm2d(width, eps=eps)
        self.act = nn.PReLU()
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), BatchNorm2d(width, eps=eps)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Two convolutions added to their input; the shape stays."""
        inner = self.act(self.norm1(self.conv1(x)))
        result: Tensor = x + self.norm2(self.conv2(inner))
        return result


class Doubling(nn.Module):
    """Convolution to four times the channels, batch norm, pixel shuffle, PReLU: twice the size."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, 4 * width, 3, padding=1), BatchNorm2d(4 * width, eps=eps)
        self.act = nn.PReLU()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """h2 = 2 h, w2 = 2 w."""
        doubled: Tensor = self.act(F.pixel_shuffle(self.norm(self.conv(x)), 2))
        return doubled


class SuperResolution(nn.Module):
    """[b, c_in, h, w] to [b, c_out, 4h, 4w] in -1..1; running statistics.

    Args:
        c_in: channels in.
        c_out: channels out.
        width: channels inside.
        blocks: number of residual blocks.
        eps: of the batch norms in and after the blocks.
        up_eps: of the batch norms before the pixel shuffles.
    """

    def __init__(self, *, c_in: int, c_out: int, width: int, blocks: int, eps: float, up_eps: float) -> None:
        super().__init__()
        self.head, self.head_act = nn.Conv2d(c_in, width, 9, padding=4), nn.PReLU()
        self.blocks = nn.ModuleList(Residual(width, eps) for _ in range(blocks))
        self.mid, self.mid_norm = nn.Conv2d(width, width, 3, padding=1), BatchNorm2d(width, eps=eps)
        self.up = nn.ModuleList(Doubling(width, up_eps) for _ in range(2))
        self.tail = nn.Conv2d(width, c_out, 9, padding=4)

    def forward(self, x: Float[Tensor, "b c h w"], _masks: Sequence[Tensor] = ()) -> Float[Tensor, "b c_out h4 w4"]:
        """h4 = 4 h, w4 = 4 w. There is no noise: the second argument is what every net here takes."""
        first = self.head_act(self.head(x))
        inner = first
        for block in self.blocks:
            inner = block(inner)
        x = first + self.mid_norm(self.mid(inner))
        for up in self.up:
            x = up(x)
        return torch.tanh(self.tail(x))
