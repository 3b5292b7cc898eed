"""The U-Net generator of pix2pix: halve the image level by level, double it back, join equal sizes.

Without the joins it is the encoder-decoder the paper compares with.

Source: Isola et al. 2017, section 6.1.1 and the PyTorch port's channel and bias choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cgan_trainer.nets.dropout import DropoutSite
from cgan_trainer.nets.norm import NormKind, norm_layer
from cgan_trainer.nets.resize_conv import ResizeConv

__all__ = ["Down", "UNet", "Up", "Upsampling", "unet_widths"]

Upsampling = Literal["transposed", "resize"]


def unet_widths(depth: int, ngf: int) -> tuple[int, ...]:
    """Channels after each of `depth` halvings: ngf * (1, 2, 4, 8, 8, ...)."""
    return tuple(ngf * min(2**level, 8) for level in range(depth))


class Down(nn.Module):
    """LeakyReLU, convolution, norm: h x w becomes h/2 x w/2. The first one has no activation."""

    def __init__(self, c_in: int, c_out: int, *, activated: bool, bias: bool, norm: nn.Module | None) -> None:
        super().__init__()
        self.activated = activated
        self.conv = nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=bias)
        self.norm = norm

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """h2 = h / 2, w2 = w / 2."""
        halved: Tensor = self.conv(F.leaky_relu(x, 0.2) if self.activated else x)
        return halved if self.norm is None else self.norm(halved)


class Up(nn.Module):
    """ReLU, doubling convolution, norm, dropout: h x w becomes 2h x 2w. The last one ends without a norm."""

    def __init__(
        self, c_in: int, c_out: int, *, upsample: Upsampling, bias: bool, norm: nn.Module | None, dropout: bool
    ) -> None:
        super().__init__()
        self.conv: nn.ConvTranspose2d | ResizeConv = (
            ResizeConv(c_in, c_out, bias=bias)
            if upsample == "resize"
            else nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=bias)
        )
        self.norm = norm
        self.dropout = DropoutSite(0.5) if dropout else None

    def forward(
        self, x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b c2 h2 w2"] | None = None
    ) -> Float[Tensor, "b c2 h2 w2"]:
        """h2 = 2 h, w2 = 2 w. `mask` None draws one where the layer has dropout."""
        doubled: Tensor = self.conv(F.relu(x))
        if self.norm is not None:
            doubled = self.norm(doubled)
        return doubled if self.dropout is None else self.dropout(doubled, mask)


class UNet(nn.Module):
    """[b, c_in, h, w] to [b, c_out, h, w] in -1..1, h and w multiples of 2^depth.

    Args:
        widths: channels after each halving, see `unet_widths`; their number is the depth.
        c_in: channels in.
        c_out: channels out.
        dropout_sites: decoder layers followed by dropout, 0 being the innermost.
        norm: after every layer but the first, the last and the innermost halving.
        eps: of the norm.
        bias: convolutions with a bias. The default is the PyTorch port's with batch norm: none but the last
            one's, even where no norm follows; 54.414 M parameters at depth 8.
        bottleneck_norm: a norm after the innermost halving too (TensorFlow port).
        skips: join equal sizes. False is the paper's encoder-decoder: all must pass the innermost layer.
        upsample: how a level is doubled: the paper's transposed convolution, or nearest neighbour and a 3x3
            convolution.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        c_in: int,
        c_out: int,
        dropout_sites: Sequence[int],
        norm: NormKind = "batch",
        eps: float = 1e-5,
        bias: bool = False,
        bottleneck_norm: bool = False,
        skips: bool = True,
        upsample: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        last = len(widths) - 1
        self.skips = skips
        self.down = nn.ModuleList(
            Down(
                c_in if k == 0 else widths[k - 1],
                width,
                activated=k > 0,
                bias=bias,
                norm=norm_layer(norm if 0 < k < last + bottleneck_norm else "none", width, eps),
            )
            for k, width in enumerate(widths)
        )
        # Innermost first. Every layer but the first takes the skip too, where there are any: twice the channels.
        outer = [*widths[last - 1 :: -1], c_out]
        self.up = nn.ModuleList(
            Up(
                widths[last - k] * (2 if skips and k > 0 else 1),
                width,
                upsample=upsample,
                bias=bias or k == last,
                norm=norm_layer(norm if k < last else "none", width, eps),
                dropout=k in dropout_sites,
            )
            for k, width in enumerate(outer)
        )

    def forward(self, x: Float[Tensor, "b c h w"], masks: Sequence[Tensor] = ()) -> Float[Tensor, "b c_out h w"]:
        """`masks` empty draws every mask; otherwise one mask per dropout site, innermost first."""
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        remaining = iter(masks)
        for up in self.up:
            x = up(x, next(remaining, None) if up.dropout is not None else None)
            if self.skips and skips:
                x = torch.cat((skips.pop(), x), dim=1)
        return torch.tanh(x)
