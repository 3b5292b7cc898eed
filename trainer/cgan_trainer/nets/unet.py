"""The U-Net generator of pix2pix: halve the picture down to 1x1, double it back, join equal sizes.

Source: Isola et al. 2017, section 6.1.1 and the PyTorch port's channel and bias choices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cgan_trainer.nets.dropout import DropoutSite
from cgan_trainer.nets.norm import SampleNorm

__all__ = ["Down", "UNet", "Up", "unet_widths"]


def unet_widths(size: int, ngf: int) -> tuple[int, ...]:
    """Channels after each of the log2(size) halvings: ngf * (1, 2, 4, 8, 8, ...), down to 1x1."""
    depth = size.bit_length() - 1
    return tuple(ngf * min(2**level, 8) for level in range(depth))


class Down(nn.Module):
    """LeakyReLU, convolution, norm: h x w becomes h/2 x w/2. The first one has no activation."""

    def __init__(self, c_in: int, c_out: int, *, activated: bool, normalised: bool) -> None:
        super().__init__()
        self.activated = activated
        # Without a bias even where no norm follows (first and last), as in the PyTorch port: the 54.414 M
        # parameters everybody quotes, and its weights fit.
        self.conv = nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False)
        self.norm = SampleNorm(c_out) if normalised else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """h2 = h / 2, w2 = w / 2."""
        halved: Tensor = self.conv(F.leaky_relu(x, 0.2) if self.activated else x)
        return halved if self.norm is None else self.norm(halved)


class Up(nn.Module):
    """ReLU, transposed convolution, norm, dropout: h x w becomes 2h x 2w. The last one ends without a norm."""

    def __init__(self, c_in: int, c_out: int, *, normalised: bool, dropout: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=not normalised)
        self.norm = SampleNorm(c_out) if normalised else None
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
    """[b, c_in, size, size] to [b, c_out, size, size] in -1..1.

    Args:
        size: side of the picture, a power of two; the depth is log2(size).
        c_in: channels in.
        c_out: channels out.
        ngf: channels after the first convolution.
        dropout_sites: decoder layers followed by dropout, 0 being the innermost (2x2).
    """

    def __init__(self, *, size: int, c_in: int, c_out: int, ngf: int, dropout_sites: Sequence[int]) -> None:
        super().__init__()
        widths = unet_widths(size, ngf)
        last = len(widths) - 1
        self.down = nn.ModuleList(
            Down(c_in if k == 0 else widths[k - 1], width, activated=k > 0, normalised=0 < k < last)
            for k, width in enumerate(widths)
        )
        # Innermost first. Every layer but the first takes the skip too, hence twice the channels.
        self.up = nn.ModuleList(
            Up(
                widths[last - k] * (1 if k == 0 else 2),
                c_out if k == last else widths[last - k - 1],
                normalised=k < last,
                dropout=k in dropout_sites,
            )
            for k in range(len(widths))
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
            if skips:
                x = torch.cat((skips.pop(), x), dim=1)
        return torch.tanh(x)
