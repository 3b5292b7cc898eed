"""What measures of images with classes are given: the images, what a classifier says of them, and real ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

__all__ = ["ByClass", "Density", "Reading", "rows_of"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a classifier says of some images.

    Attributes:
        found: the likeliest class of each.
        features: what its last layer sees.
    """

    found: Int64[Tensor, " n"]
    features: Float[Tensor, "n d"]


@dataclass(frozen=True, kw_only=True)
class Density:
    """The three sets of a Parzen window, 0..255.

    Attributes:
        centres: images of what is judged.
        validation: real images on which the width is chosen.
        test: other real images, whose likelihood is reported.
    """

    centres: UInt8[Tensor, "k c h w"]
    validation: UInt8[Tensor, "v c h w"]
    test: UInt8[Tensor, "t c h w"]


@dataclass(frozen=True, kw_only=True)
class ByClass:
    """Images of known classes.

    Attributes:
        images: what is judged, 0..255.
        labels: the class that each was asked for, or is.
        reading: of the images; None where there is no classifier.
        real_labels: classes of the real images to compare with.
        real: a reading of them.
        density: None where there are too few images for it.
        per_class: at most so many images of a class are compared, so that every row of the table has as many.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    reading: Reading | None
    real_labels: Int64[Tensor, " m"]
    real: Reading | None
    density: Density | None
    per_class: int


def rows_of(labels: Int64[Tensor, " n"]) -> dict[int, Int64[Tensor, " _"]]:
    """The rows of each class that is there."""
    return {int(label): (labels == label).nonzero().squeeze(1) for label in torch.unique(labels)}
