"""The discriminators of pix2pix: one logit per patch of the image, averaged by the loss.

The patch is the receptive field of one logit: 1 (PixelGAN), 16, 34, 70 (the default), 142, 286 (ImageGAN at 256).

Source: Isola et al. 2017, sections 3.2.2 and 6.1.2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cgan_trainer.nets.norm import NormKind, norm_layer

__all__ = ["Discriminator", "patchgan", "pixelgan"]


class Discriminator(nn.Module):
    """Judges images, together with their conditions where it was built for both.

    Args:
        layers: from [b, c, h, w] to one logit per patch.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(
        self, image: Float[Tensor, "b c h w"], condition: Float[Tensor, "b c2 h w"] | None = None
    ) -> Float[Tensor, "b 1 h2 w2"]:
        """Logits: positive means real. `condition` None: the image is judged on its own."""
        seen = image if condition is None else torch.cat((condition, image), dim=1)
        logits: Tensor = self.layers(seen)
        return logits


def patchgan(*, c_in: int = 6, ndf: int = 64, n_layers: int = 3, norm: NormKind = "batch") -> Discriminator:
    """Overlapping patches; the defaults are the 70x70 one with 2,768,705 parameters.

    Args:
        c_in: channels of condition and image together.
        ndf: channels after the first convolution.
        n_layers: how many convolutions halve the image.
        norm: after every convolution but the first and the last.
    """
    layers: list[nn.Module] = [nn.Conv2d(c_in, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    width = ndf
    for layer in range(1, n_layers + 1):
        wider = ndf * min(2**layer, 8)
        stride = 2 if layer < n_layers else 1
        layers += _unit(nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=norm != "batch"), norm)
        width = wider
    layers.append(nn.Conv2d(width, 1, 4, stride=1, padding=1))
    return Discriminator(nn.Sequential(*layers))


def pixelgan(*, c_in: int = 6, ndf: int = 64, norm: NormKind = "batch") -> Discriminator:
    """Every pixel on its own, by 1x1 convolutions: it can judge colours only. 9,024 parameters by default."""
    return Discriminator(
        nn.Sequential(
            nn.Conv2d(c_in, ndf, 1),
            nn.LeakyReLU(0.2),
            *_unit(nn.Conv2d(ndf, 2 * ndf, 1, bias=norm != "batch"), norm),
            nn.Conv2d(2 * ndf, 1, 1, bias=norm != "batch"),
        )
    )


def _unit(conv: nn.Conv2d, norm: NormKind) -> list[nn.Module]:
    layer = norm_layer(norm, conv.out_channels)
    return [conv, *([] if layer is None else [layer]), nn.LeakyReLU(0.2)]
