"""PyTorch-GAN's U-Net: dropout in the encoder too, activations after the norms, nearest doubling at the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cgan_trainer.nets.dropout import DropoutSite
from cgan_trainer.nets.norm import InstanceNorm

__all__ = ["DropoutUNet"]

DOWNS = 8
DOWN_SITES = (3, 4, 5, 6, 7)
UP_SITES = (0, 1, 2, 3)


class Layer(nn.Module):
    """Convolution without bias, instance norm, (leaky) ReLU, dropout."""

    def __init__(
        self, conv: nn.Conv2d | nn.ConvTranspose2d, *, normalised: bool, slope: float, eps: float, dropout: bool
    ) -> None:
        super().__init__()
        self.conv, self.slope = conv, slope
        self.norm = InstanceNorm(eps) if normalised else None
        self.dropout = DropoutSite(0.5) if dropout else None

    def forward(self, x: Float[Tensor, "b c h w"], mask: Tensor | None = None) -> Float[Tensor, "b c2 h2 w2"]:
        """Half or twice the size, as the convolution says."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        x = F.leaky_relu(x, self.slope) if self.slope else F.relu(x)
        return x if self.dropout is None else self.dropout(x, mask)


class DropoutUNet(nn.Module):
    """[b, c_in, h, w] to [b, c_out, h, w] in -1..1, h and w multiples of 256.

    Args:
        widths: channels after each of the 8 halvings.
        c_in: channels in.
        c_out: channels out.
        dropout: 9 sites, 5 on the way down and 4 on the way up; skips carry what is left.
        eps: of the instance norms.
    """

    def __init__(
        self, *, widths: Sequence[int], c_in: int, c_out: int, dropout: bool = True, eps: float = 1e-5
    ) -> None:
        super().__init__()
        last = DOWNS - 1
        self.down = nn.ModuleList(
            Layer(
                nn.Conv2d(c_in if k == 0 else widths[k - 1], width, 4, stride=2, padding=1, bias=False),
                normalised=0 < k < last,
                slope=0.2,
                eps=eps,
                dropout=dropout and k in DOWN_SITES,
            )
            for k, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            Layer(
                nn.ConvTranspose2d(
                    widths[last - k] * (1 if k == 0 else 2),
                    widths[last - k - 1],
                    4,
                    stride=2,
                    padding=1,
                    bias=False,
                ),
                normalised=True,
                slope=0.0,
                eps=eps,
                dropout=dropout and k in UP_SITES,
            )
            for k in range(last)
        )
        self.last = nn.Conv2d(2 * widths[0], c_out, 4, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"], masks: Sequence[Tensor] = ()) -> Float[Tensor, "b c_out h w"]:
        """`masks` empty draws every mask; otherwise one per dropout site, the way down first."""
        remaining = iter(masks)
        skips: list[Tensor] = []
        for layer in self.down:
            x = layer(x, next(remaining, None) if layer.dropout is not None else None)
            skips.append(x)
        x = skips.pop()
        for layer in self.up:
            x = layer(x, next(remaining, None) if layer.dropout is not None else None)
            x = torch.cat((x, skips.pop()), dim=1)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return torch.tanh(self.last(F.pad(x, (1, 0, 1, 0))))
