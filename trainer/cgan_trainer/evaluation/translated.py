"""What measures of unpaired translation are given: images translated into a domain, and translated back."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import ImageSets
from cgan_trainer.palette import Palette

__all__ = ["Translated", "grey_levels"]


@dataclass(frozen=True, kw_only=True)
class Translated(ImageSets):
    """Images of one domain translated into another, whose real images are `targets`.

    Attributes:
        inputs: what was translated.
        cycled: the images translated back; None where there is no generator for the way back.
        kept: the targets, which are of the wanted domain already, translated as if they were not; None for what
            is not a generator.
        palette: the classes of the inputs where these are label maps.
    """

    inputs: UInt8[Tensor, "n c3 h3 w3"]
    cycled: UInt8[Tensor, "n c3 h3 w3"] | None = None
    kept: UInt8[Tensor, "m c2 h2 w2"] | None = None
    palette: Palette | None = None


def grey_levels(images: UInt8[Tensor, "n c h w"], others: UInt8[Tensor, "n c h w"]) -> Float64[Tensor, " n"]:
    """Mean |x - y| of each pair of images."""
    return (images.double() - others.double()).abs().flatten(1).mean(dim=1)
