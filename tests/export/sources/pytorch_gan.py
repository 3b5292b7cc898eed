"""PyTorch-GAN's key layouts, written from the key tables. Batch norms carry eps 0.8 where the source does."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from tests.export.sources.junyanz import GivenDropout


class Stage(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x)
        return result


class Pix2pix(nn.Module):
    def __init__(self, *, width: int = 4, c_in: int = 3, c_out: int = 3) -> None:
        super().__init__()
        widths = [width * n for n in (1, 2, 4, 8, 8, 8, 8, 8)]
        for level, (a, b) in enumerate(zip([c_in, *widths[:-1]], widths, strict=True), start=1):
            layers: list[nn.Module] = [nn.Conv2d(a, b, 4, 2, 1, bias=False)]
            layers += [nn.InstanceNorm2d(b)] if 1 < level < 8 else []
            layers += [nn.LeakyReLU(0.2)] + ([GivenDropout()] if level >= 4 else [])
            setattr(self, f"down{level}", Stage(*layers))
        before = widths[-1]
        for level in range(1, 8):
            after = widths[7 - level]
            layers = [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.InstanceNorm2d(after), nn.ReLU()]
            setattr(self, f"up{level}", Stage(*layers, *([GivenDropout()] if level <= 4 else [])))
            before = 2 * after
        self.final = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.ZeroPad2d((1, 0, 1, 0)),
            nn.Conv2d(2 * width, c_out, 4, padding=1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level in range(1, 9):
            x = self.get_submodule(f"down{level}")(x)
            kept.append(x)
        kept.pop()
        for level in range(1, 8):
            x = torch.cat((self.get_submodule(f"up{level}")(x), kept.pop()), 1)
        result: Tensor = self.final(x)
        return result


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        unit = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.block = nn.Sequential(*unit, nn.ReLU(), *other)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.block(x)
        return result


def cyclegan(*, channels: int = 3, width: int = 4, blocks: int = 3) -> nn.Module:
    layers: list[nn.Module] = [nn.ReflectionPad2d(channels), nn.Conv2d(channels, width, 7)]
    layers += [nn.InstanceNorm2d(width), nn.ReLU()]
    for n in (width, 2 * width):
        layers += [nn.Conv2d(n, 2 * n, 3, 2, 1), nn.InstanceNorm2d(2 * n), nn.ReLU()]
    layers += [Block(4 * width) for _ in range(blocks)]
    for n in (4 * width, 2 * width):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(n, n // 2, 3, 1, 1), nn.InstanceNorm2d(n // 2), nn.ReLU()]
    return Stage(*layers, nn.ReflectionPad2d(channels), nn.Conv2d(width, channels, 7), nn.Tanh())


class Cgan(nn.Module):
    def __init__(
        self, *, classes: int = 10, latent: int = 16, scale: int = 16, side: int = 16, eps: float = 0.8
    ) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(classes, classes)
        widths = [128 // scale, 256 // scale, 512 // scale, 1024 // scale]
        layers: list[nn.Module] = [nn.Linear(latent + classes, widths[0]), nn.LeakyReLU(0.2)]
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b, eps), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, nn.Linear(widths[-1], side * side), nn.Tanh())
        self.side = side

    def forward(self, label: Tensor, z: Tensor) -> Tensor:
        result: Tensor = self.model(torch.cat((self.label_emb(label), z), -1))
        return result.view(-1, 1, self.side, self.side)


class SrBlock(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1),
            nn.BatchNorm2d(width, eps),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.BatchNorm2d(width, eps),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv_block(x)
        return result


class Srgan(nn.Module):
    def __init__(self, *, width: int = 4, blocks: int = 2, eps: float = 0.8) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, width, 9, 1, 4), nn.PReLU())
        self.res_blocks = nn.Sequential(*(SrBlock(width, eps) for _ in range(blocks)))
        self.conv2 = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width, eps))
        ups: list[nn.Module] = []
        for _ in range(2):
            ups += [nn.Conv2d(width, 4 * width, 3, 1, 1), nn.BatchNorm2d(4 * width), nn.PixelShuffle(2), nn.PReLU()]
        self.upsampling = nn.Sequential(*ups)
        self.conv3 = nn.Sequential(nn.Conv2d(width, 3, 9, 1, 4), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        result: Tensor = self.conv3(self.upsampling(first + self.conv2(self.res_blocks(first))))
        return result
