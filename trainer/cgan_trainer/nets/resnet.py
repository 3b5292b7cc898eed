"""The ResNet generator of CycleGAN: two halvings, residual blocks, two doublings.

Source: Johnson et al. 2016, Zhu et al. 2017. Three ways up: a transposed convolution (junyanz), nearest-neighbour
doubling and a convolution (PyTorch-GAN), a blurred doubling and a convolution (CUT, which also halves with a blur).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cgan_trainer.nets.blur import BlurDown, BlurUp
from cgan_trainer.nets.dropout import DropoutSite
from cgan_trainer.nets.norm import NormKind, norm_layer
from cgan_trainer.nets.resize_conv import ResizeConv

__all__ = ["Padding", "ResNet", "Unit", "Way"]

Padding = Literal["reflect", "zero"]
Way = Literal["transposed", "nearest", "blurred"]


class Unit(nn.Module):
    """Padding or a blurred doubling, convolution, norm. `edge` pixels are mirrored (or zero) on every side."""

    def __init__(
        self,
        conv: nn.Conv2d | nn.ConvTranspose2d,
        norm: nn.Module | None,
        *,
        edge: int = 0,
        way: Padding = "reflect",
        blur_up: int = 0,
    ) -> None:
        super().__init__()
        self.conv, self.norm, self.edge, self.way = conv, norm, edge, way
        self.blur = BlurUp(conv.in_channels, blur_up) if blur_up else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Sizes as the convolution makes them."""
        if self.blur is not None:
            x = self.blur(x)
        if self.edge:
            x = F.pad(x, (self.edge,) * 4, mode="reflect" if self.way == "reflect" else "constant")
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


class Block(nn.Module):
    """``x + unit(dropout(relu(unit(x))))``."""

    def __init__(self, width: int, *, bias: bool, norm: NormKind, eps: float, dropout: bool, way: Padding) -> None:
        super().__init__()
        self.first, self.second = (
            Unit(nn.Conv2d(width, width, 3, bias=bias), norm_layer(norm, width, eps), edge=1, way=way)
            for _ in range(2)
        )
        self.dropout = DropoutSite(0.5) if dropout else None

    def forward(self, x: Float[Tensor, "b c h w"], mask: Tensor | None = None) -> Float[Tensor, "b c h w"]:
        """Same shape out; `mask` None draws one where the block has dropout."""
        inner = F.relu(self.first(x))
        if self.dropout is not None:
            inner = self.dropout(inner, mask)
        result: Tensor = x + self.second(inner)
        return result


class ResNet(nn.Module):
    """[b, c_in, h, w] to [b, c_out, h, w] in -1..1, h and w multiples of 2^halvings.

    Args:
        c_in: channels in.
        c_out: channels out.
        ngf: channels after the first convolution; every halving doubles them.
        blocks: number of residual blocks.
        halvings: how often the image is halved.
        norm: after every convolution but the last.
        eps: of the norm.
        bias: convolutions with a bias; the last has one always.
        dropout: inside every block.
        up: how the image is doubled.
        edge: pixels mirrored around the image before the first and the last convolution (7x7): 3 keeps the
            size, fewer shrink it.
        block_padding: around the convolutions of the blocks.
        blur_down: side of the filter that halves the image, after a convolution of stride 1; 0: the convolution
            has stride 2.
        blur_up: side of the filter that doubles it, where `up` is "blurred".
    """

    def __init__(
        self,
        *,
        c_in: int,
        c_out: int,
        ngf: int,
        blocks: int,
        halvings: int = 2,
        norm: NormKind = "instance",
        eps: float = 1e-5,
        bias: bool = True,
        dropout: bool = False,
        up: Way = "transposed",
        edge: int = 3,
        block_padding: Padding = "reflect",
        blur_down: int = 0,
        blur_up: int = 4,
    ) -> None:
        super().__init__()
        widths = [ngf * 2**k for k in range(halvings + 1)]
        self.head = Unit(nn.Conv2d(c_in, ngf, 7, bias=bias), norm_layer(norm, ngf, eps), edge=edge)
        self.down = nn.ModuleList(
            Unit(nn.Conv2d(a, b, 3, stride=1 if blur_down else 2, padding=1, bias=bias), norm_layer(norm, b, eps))
            for a, b in itertools.pairwise(widths)
        )
        self.blurs = nn.ModuleList(BlurDown(b, blur_down) for b in widths[1:]) if blur_down else None
        self.blocks = nn.ModuleList(
            Block(widths[-1], bias=bias, norm=norm, eps=eps, dropout=dropout, way=block_padding)
            for _ in range(blocks)
        )
        self.up = nn.ModuleList(
            Unit(
                _doubling(up, b, a, bias=bias),
                norm_layer(norm, a, eps),
                blur_up=blur_up if up == "blurred" else 0,
            )
            for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.tail = Unit(nn.Conv2d(ngf, c_out, 7), None, edge=edge)

    def forward(self, x: Float[Tensor, "b c h w"], masks: Sequence[Tensor] = ()) -> Float[Tensor, "b c_out _ _"]:
        """`masks` empty draws every mask; otherwise one mask per block with dropout, in their order."""
        x = F.relu(self.head(x))
        for level, down in enumerate(self.down):
            x = F.relu(down(x))
            if self.blurs is not None:
                x = self.blurs[level](x)
        remaining = iter(masks)
        for block in self.blocks:
            x = block(x, next(remaining, None) if block.dropout is not None else None)
        for up in self.up:
            x = F.relu(up(x))
        return torch.tanh(self.tail(x))


def _doubling(way: Way, c_in: int, c_out: int, *, bias: bool) -> nn.Conv2d | nn.ConvTranspose2d:
    if way == "nearest":
        return ResizeConv(c_in, c_out, bias=bias)
    if way == "blurred":
        return nn.Conv2d(c_in, c_out, 3, padding=1, bias=bias)
    return nn.ConvTranspose2d(c_in, c_out, 3, stride=2, padding=1, output_padding=1, bias=bias)
