"""Dense networks of class-conditional GANs: Mirza & Osindero's generator, and PyTorch-GAN's discriminator.

Dropout is a mask that the caller hands in while it trains, drawn per image; without one there is no dropout.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cgan_trainer.nets.one_hot_labels import one_hot_labels

__all__ = ["EmbeddingDiscriminator", "TwoBranchMlp"]


class TwoBranchMlp(nn.Module):
    """z and y each through a layer of their own, then both through one layer to values in 0..1.

    z to 200, y to 1000, both to 1200 with ReLU; then a sigmoid. Source: Mirza & Osindero 2014, section 4.1.

    Args:
        latent: length of z.
        classes: length of y, one-hot.
        values: length of the result.
    """

    WIDTHS: Final = (200, 1000, 1200)
    MASK: Final = 2400
    DROPOUT: Final = 0.5

    def __init__(self, *, latent: int, classes: int, values: int) -> None:
        super().__init__()
        of_z, of_y, of_both = self.WIDTHS
        self.classes = classes
        self.from_z = nn.Linear(latent, of_z)
        self.from_y = nn.Linear(classes, of_y)
        self.both = nn.Linear(of_z + of_y, of_both)
        self.last = nn.Linear(of_both, values)

    def forward(
        self, label: Int64[Tensor, " b"], z: Float[Tensor, "b z"], mask: Float[Tensor, "b 2400"] | None = None
    ) -> Float[Tensor, "b v"]:
        """`mask` multiplies the three hidden layers, in the order of `WIDTHS`."""
        y = one_hot_labels(label, self.classes, z.dtype)
        h = torch.cat((F.relu(self.from_z(z)), F.relu(self.from_y(y))), dim=1)
        if mask is None:
            h = F.relu(self.both(h))
        else:
            below, above = torch.split(mask, [h.shape[1], self.WIDTHS[2]], dim=1)
            h = F.relu(self.both(h * below)) * above
        return torch.sigmoid(self.last(h))


class EmbeddingDiscriminator(nn.Module):
    """An image beside a learned vector of its class, through three layers of 512 with leaky ReLU, to one logit.

    Source: PyTorch-GAN's cgan.

    Args:
        values: numbers of an image.
        classes: how many there are; a class's vector is as long.
    """

    WIDTHS: Final = (512, 512, 512)
    MASK: Final = 1024
    DROPOUT: Final = 0.4

    def __init__(self, *, values: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, classes)
        first, second, third = self.WIDTHS
        self.first = nn.Linear(values + classes, first)
        self.second = nn.Linear(first, second)
        self.third = nn.Linear(second, third)
        self.last = nn.Linear(third, 1)

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        label: Int64[Tensor, " b"],
        mask: Float[Tensor, "b 1024"] | None = None,
    ) -> Float[Tensor, "b 1"]:
        """Logits: positive means real. `mask` multiplies the second and third layer, before their leaky ReLU."""
        h = F.leaky_relu(self.first(torch.cat((image.flatten(1), self.embedding(label)), dim=1)), 0.2)
        masks = (None, None) if mask is None else torch.split(mask, list(self.WIDTHS[1:]), dim=1)
        for layer, keep in zip((self.second, self.third), masks, strict=True):
            h = layer(h) if keep is None else layer(h) * keep
            h = F.leaky_relu(h, 0.2)
        logits: Tensor = self.last(h)
        return logits
