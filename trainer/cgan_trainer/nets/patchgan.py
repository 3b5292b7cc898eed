"""The PatchGAN discriminator: one logit per overlapping patch, averaged by the loss.

Source: Isola et al. 2017, section 6.1.2. `n_layers` sets the patch: 1 -> 16, 2 -> 34, 3 -> 70, 4 -> 142 pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["PatchGAN", "patchgan"]


class PatchGAN(nn.Module):
    """Judges a picture together with its condition.

    Args:
        c_in: channels of condition and picture together.
        ndf: channels after the first convolution.
        n_layers: how many convolutions halve the picture; two more follow at stride 1.
    """

    def __init__(self, *, c_in: int, ndf: int, n_layers: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(c_in, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width = ndf
        for layer in range(1, n_layers + 1):
            wider = ndf * min(2**layer, 8)
            stride = 2 if layer < n_layers else 1
            layers += [
                nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(wider),
                nn.LeakyReLU(0.2),
            ]
            width = wider
        layers.append(nn.Conv2d(width, 1, 4, stride=1, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(
        self, condition: Float[Tensor, "b c h w"], picture: Float[Tensor, "b c2 h w"]
    ) -> Float[Tensor, "b 1 h2 w2"]:
        """Logits: positive means real."""
        logits: Tensor = self.layers(torch.cat((condition, picture), dim=1))
        return logits


def patchgan(*, c_in: int = 6, ndf: int = 64, n_layers: int = 3) -> PatchGAN:
    """The discriminator of pix2pix; the defaults are the 70x70 one with 2,768,705 parameters."""
    return PatchGAN(c_in=c_in, ndf=ndf, n_layers=n_layers)
