"""Colours: histogram intersection in CIE Lab over the whole test set (Isola et al. 2017, section 4.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Figure, ImageSets, Measure, as_rgb

__all__ = ["BINS", "LAB_INTERSECTION", "lab_from_srgb"]

# Two units of Lab a bin, about what an eye begins to tell apart; the paper does not give its number of bins. All of
# sRGB lies inside, and grey (a = b = 0) in the middle of a bin: on an edge, rounding errors would part equal greys.
BINS = {"L": (0.0, 100.0, 50), "a": (-111.0, 111.0, 111), "b": (-111.0, 111.0, 111)}

# sRGB primaries to CIE XYZ, and its white point D65, 2 degrees (IEC 61966-2-1).
_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)


def lab_from_srgb(pixels: UInt8[Tensor, "*n 3 h w"]) -> Float64[Tensor, "*n 3 h w"]:
    """L 0..100, a and b about -108..98. Source: IEC 61966-2-1 (sRGB), CIE 15 (Lab)."""
    values = pixels.double() / 255
    linear = torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,...jhw->...ihw", torch.tensor(_XYZ, dtype=torch.float64), linear)
    ratio = xyz / torch.tensor(_WHITE, dtype=torch.float64)[:, None, None]
    # The cube root, and below (6/29)^3 the straight line that continues it.
    root = torch.where(ratio > (6 / 29) ** 3, ratio.clamp(min=0) ** (1 / 3), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root.unbind(dim=-3)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-3)


def _histograms(images: UInt8[Tensor, "n c h w"]) -> list[Float64[Tensor, " bins"]]:
    """One per channel over all pixels of all images, each summing to 1."""
    sums = [torch.zeros(bins, dtype=torch.float64) for _, _, bins in BINS.values()]
    for image in as_rgb(images):  # one by one: Lab takes 24 times the memory of bytes
        for values, total, (low, high, bins) in zip(lab_from_srgb(image), sums, BINS.values(), strict=True):
            places = ((values - low) * (bins / (high - low))).floor().long().clamp(0, bins - 1)
            total.add_(torch.bincount(places.flatten(), minlength=bins))
    return [total / total.sum() for total in sums]


def _intersection(compared: ImageSets) -> tuple[Figure, ...]:
    pairs = zip(_histograms(compared.images), _histograms(compared.targets), strict=True)
    return tuple(Figure(value=torch.minimum(mine, true).sum().item()) for mine, true in pairs)


_SOURCE = "Isola et al. 2017, section 4.2: sum of min(h, h') of the normalised histograms of all pixels"

LAB_INTERSECTION = Measure(
    columns=tuple(
        Column(
            key=f"lab_{channel.lower()}",
            title=f"Lab {channel}",
            unit=f"shared share, {bins} bins",
            better="higher",
            decimals=3,
            source=_SOURCE,
        )
        for channel, (_, _, bins) in BINS.items()
    ),
    function=_intersection,
)
