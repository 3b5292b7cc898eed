"""pytorch-CycleGAN-and-pix2pix's key layouts, written from the key tables: nested and flat sequences.

Dropout is `GivenDropout`: torch's own when `mask` is None, else the mask given. Batch norm stays in `train()`
and momentum 0, as a test script runs it on a batch of one without changing the file.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn


class GivenDropout(nn.Module):
    mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True) if self.mask is None else x * self.mask


class Join(nn.Module):
    """One block of the U-Net: its own input beside what its sequence makes of it."""

    def __init__(self, *layers: nn.Module, outermost: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.outermost = outermost

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x)
        return result if self.outermost else torch.cat([x, result], 1)


def norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels, momentum=0.0)
    if kind == "affine":
        return nn.InstanceNorm2d(channels, affine=True)
    if kind == "tracked":  # files of 2018: statistics that training never used
        return nn.InstanceNorm2d(channels, track_running_stats=True, momentum=0.0)
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.Identity()


def unet(
    depth: int, *, ngf: int = 4, c_in: int = 3, c_out: int = 3, kind: str = "batch", dropout: bool = True
) -> nn.Module:
    bias = kind in ("instance", "tracked", "affine")
    down = functools.partial(nn.Conv2d, kernel_size=4, stride=2, padding=1, bias=bias)
    up = functools.partial(nn.ConvTranspose2d, kernel_size=4, stride=2, padding=1, bias=bias)
    wide = ngf * 8
    block = Join(nn.LeakyReLU(0.2, True), down(wide, wide), nn.ReLU(True), up(wide, wide), norm(kind, wide))
    outer = [wide] * (depth - 5) + [ngf * 4, ngf * 2, ngf]
    inner = wide
    for level, width in enumerate(outer):
        layers = [
            nn.LeakyReLU(0.2, True),
            down(width, inner),
            norm(kind, inner),
            block,
            nn.ReLU(True),
            up(inner * 2, width),
            norm(kind, width),
        ]
        if dropout and level < depth - 5:
            layers.append(GivenDropout())
        block, inner = Join(*layers), width
    last = nn.ConvTranspose2d(2 * ngf, c_out, 4, 2, 1)
    top = Join(down(c_in, ngf), block, nn.ReLU(True), last, nn.Tanh(), outermost=True)
    return Named(top)


class Named(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x)
        return result


class Residual(nn.Module):
    def __init__(self, width: int, kind: str, *, dropout: bool, zero: bool) -> None:
        super().__init__()
        pad = [] if zero else [nn.ReflectionPad2d(1)]
        conv = functools.partial(
            nn.Conv2d, width, width, 3, padding=int(zero), bias=kind in ("instance", "tracked", "affine")
        )
        drop = [GivenDropout()] if dropout else []
        self.conv_block = nn.Sequential(
            *pad, conv(), norm(kind, width), nn.ReLU(True), *drop, *pad, conv(), norm(kind, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv_block(x)
        return result


class Blur(nn.Module):
    """The filter of CUT under its key: of the result every second pixel, or zeros between the pixels first."""

    filt: Tensor

    def __init__(self, width: int, row: tuple[float, ...], *, up: bool) -> None:
        super().__init__()
        square = torch.tensor(row)[:, None] * torch.tensor(row)
        self.register_buffer("filt", (square / square.sum() * (4 if up else 1)).repeat(width, 1, 1, 1))
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        if not self.up:
            result: Tensor = nn.functional.conv2d(nn.ReflectionPad2d(1)(x), self.filt, groups=len(self.filt))
            return result[:, :, ::2, ::2]
        wide = nn.ReplicationPad2d(1)(x)
        spread = torch.zeros(*wide.shape[:2], 2 * rows + 4, 2 * columns + 4)
        spread[:, :, ::2, ::2] = wide
        turned = self.filt.flip(2, 3)  # a transposed convolution
        filtered = nn.functional.conv2d(spread, turned, padding=len(turned[0, 0]) - 1, groups=len(turned))
        return filtered[:, :, 3 : 3 + 2 * rows, 3 : 3 + 2 * columns]


def resnet(
    blocks: int,
    *,
    ngf: int = 4,
    c_in: int = 3,
    c_out: int = 3,
    kind: str = "instance",
    dropout: bool = False,
    zero: bool = False,
    halvings: int = 2,
    blurs: tuple[bool, bool] = (False, False),
    up_row: tuple[float, ...] = (1, 3, 3, 1),
) -> nn.Module:
    bias = kind in ("instance", "tracked", "affine")
    layers: list[nn.Module] = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(c_in, ngf, 7, bias=bias),
        norm(kind, ngf),
        nn.ReLU(True),
    ]
    width = ngf
    for _ in range(halvings):
        stride = 1 if blurs[0] else 2
        layers += [nn.Conv2d(width, 2 * width, 3, stride, 1, bias=bias), norm(kind, 2 * width), nn.ReLU(True)]
        width *= 2
        layers += [Blur(width, (1, 2, 1), up=False)] if blurs[0] else []
    layers += [Residual(width, kind, dropout=dropout, zero=zero) for _ in range(blocks)]
    for _ in range(halvings):
        up: nn.Module = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1, bias=bias)
        if blurs[1]:
            up = nn.Conv2d(width, width // 2, 3, padding=1, bias=bias)
            layers.append(Blur(width, up_row, up=True))
        layers += [up, norm(kind, width // 2), nn.ReLU(True)]
        width //= 2
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, c_out, 7), nn.Tanh()]
    return Named(nn.Sequential(*layers))


def discriminator() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(6, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 8, 4, 2, 1, bias=False)]
    layers += [nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 1, 1)]
    return Named(nn.Sequential(*layers))
