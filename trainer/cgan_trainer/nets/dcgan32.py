"""The class-conditional DCGAN for 32x32 images: both networks take the class through a branch of their own.

All convolutions are 4x4 with a bias; d is 128. Layers and parameter counts are those of znxlwm's MNIST cDCGAN.

    generator       z, y -> ConvT to 2d each, 4x4 -> both -> 2d, 8x8 -> d, 16x16 -> tanh, 32x32
    discriminator   x, y planes -> Conv to d/2 each, 16x16 -> both -> 2d, 8x8 -> 4d, 4x4 -> one logit
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cgan_trainer.nets.norm import BatchNorm2d
from cgan_trainer.nets.one_hot_labels import one_hot_labels

__all__ = ["SIDE", "Dcgan32Discriminator", "Dcgan32Generator"]

SIDE: Final = 32


class Dcgan32Generator(nn.Module):
    """z and a class to an image in -1..1; running statistics in `eval()`.

    Args:
        latent: length of z.
        classes: how many there are.
        c_out: channels of the image.
        width: d.
    """

    def __init__(self, *, latent: int, classes: int, c_out: int, width: int = 128) -> None:
        super().__init__()
        self.classes = classes
        self.from_z = _Up(latent, 2 * width, stride=1, padding=0)
        self.from_class = _Up(classes, 2 * width, stride=1, padding=0)
        self.up = nn.Sequential(_Up(4 * width, 2 * width), _Up(2 * width, width))
        self.last = nn.ConvTranspose2d(width, c_out, 4, stride=2, padding=1)

    def forward(self, label: Int64[Tensor, " b"], z: Float[Tensor, "b z"]) -> Float[Tensor, "b c 32 32"]:
        """One image per row."""
        y = one_hot_labels(label, self.classes, z.dtype)
        h = torch.cat((self.from_z(z[:, :, None, None]), self.from_class(y[:, :, None, None])), dim=1)
        return torch.tanh(self.last(self.up(h)))


class Dcgan32Discriminator(nn.Module):
    """An image and its class, as one plane of ones among planes of zeros, to one logit.

    Args:
        c_in: channels of the image.
        classes: how many there are.
        width: d.
    """

    def __init__(self, *, c_in: int, classes: int, width: int = 128) -> None:
        super().__init__()
        self.classes = classes
        self.from_image = nn.Conv2d(c_in, width // 2, 4, stride=2, padding=1)
        self.from_class = nn.Conv2d(classes, width // 2, 4, stride=2, padding=1)
        self.down = nn.Sequential(_down(width // 2 * 2, 2 * width), _down(2 * width, 4 * width))
        self.last = nn.Conv2d(4 * width, 1, 4)

    def forward(self, image: Float[Tensor, "b c 32 32"], label: Int64[Tensor, " b"]) -> Float[Tensor, "b 1 1 1"]:
        """Logits: positive means real."""
        y = one_hot_labels(label, self.classes, image.dtype)
        planes = y[:, :, None, None].expand(-1, -1, SIDE, SIDE)
        h = torch.cat(
            (F.leaky_relu(self.from_image(image), 0.2), F.leaky_relu(self.from_class(planes), 0.2)), dim=1
        )
        logits: Tensor = self.last(self.down(h))
        return logits


class _Up(nn.Module):
    """Transposed convolution, batch norm, ReLU; by default twice the size."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 2, padding: int = 1) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(c_in, c_out, 4, stride=stride, padding=padding)
        self.norm = BatchNorm2d(c_out)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.relu(self.norm(self.conv(x)))


def _down(c_in: int, c_out: int) -> nn.Sequential:
    """A convolution that halves height and width, batch norm and leaky ReLU."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1), BatchNorm2d(c_out), nn.LeakyReLU(0.2))
