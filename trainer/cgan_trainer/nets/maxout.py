"""Maxout: a dense layer whose units are each the largest of several linear functions; and a discriminator of it.

Source: Goodfellow et al. 2013; Mirza & Osindero 2014, section 4.1.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cgan_trainer.nets.one_hot_labels import one_hot_labels

__all__ = ["Maxout", "MaxoutDiscriminator"]


class Maxout(nn.Module):
    """``max over j of (W_j x + b_j)``, one maximum per unit.

    Args:
        inputs: length of x.
        units: length of the result.
        pieces: linear functions per unit.
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.shape = (units, pieces)
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b u"]:
        """One value per unit; its gradient goes to the largest piece."""
        largest: Tensor = self.linear(x).unflatten(1, self.shape).max(dim=2).values
        return largest


class MaxoutDiscriminator(nn.Module):
    """An image to 240 units of 5 pieces, its class to 50 of 5, both to 240 of 4, then one logit.

    Args:
        values: numbers of an image.
        classes: how many there are; a class is a one-hot vector.
    """

    WIDTHS: Final = (240, 50, 240)
    MASK: Final = 530
    DROPOUT: Final = 0.5

    def __init__(self, *, values: int, classes: int) -> None:
        super().__init__()
        of_image, of_class, of_both = self.WIDTHS
        self.classes = classes
        self.from_image = Maxout(values, of_image, 5)
        self.from_class = Maxout(classes, of_class, 5)
        self.both = Maxout(of_image + of_class, of_both, 4)
        self.last = nn.Linear(of_both, 1)

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        label: Int64[Tensor, " b"],
        mask: Float[Tensor, "b 530"] | None = None,
    ) -> Float[Tensor, "b 1"]:
        """Logits: positive means real. `mask` multiplies the three maxout layers, in the order of `WIDTHS`."""
        y = one_hot_labels(label, self.classes, image.dtype)
        h = torch.cat((self.from_image(image.flatten(1)), self.from_class(y)), dim=1)
        if mask is None:
            h = self.both(h)
        else:
            below, above = torch.split(mask, [h.shape[1], self.WIDTHS[2]], dim=1)
            h = self.both(h * below) * above
        logits: Tensor = self.last(h)
        return logits
