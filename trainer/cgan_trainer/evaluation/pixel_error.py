"""L1 and PSNR: how far pixels are from the one image that is called right."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Compared, Figure, Measure

__all__ = ["PIXEL_ERROR"]

_PEAK = 255.0


def _pixel_error(compared: Compared) -> tuple[Figure, ...]:
    pairs = list(zip(compared.images, compared.targets, strict=True))
    differences = [image.double() - target.double() for image, target in pairs]  # one by one: memory
    levels = [difference.abs().mean().item() for difference in differences]
    squares = torch.tensor([difference.square().mean().item() for difference in differences], dtype=torch.float64)
    l1 = math.fsum(levels) / len(levels)
    return (
        Figure(value=l1, each=tuple(levels)),
        Figure(value=l1 * 2 / _PEAK),
        Figure(value=_psnr(squares.mean()), each=tuple(_psnr(square) for square in squares)),
    )


def _psnr(mean_square: Tensor) -> float:
    if mean_square == 0:
        return math.inf
    return (20 * math.log10(_PEAK)) - 10 * math.log10(mean_square.item())


_SOURCE = "mean |x - y|; 10 log10(255^2 / mean (x - y)^2), the mean taken over all pixels of all images"

PIXEL_ERROR = Measure(
    columns=(
        Column(key="l1", title="L1", unit="grey levels, 0..255", better="lower", decimals=2, source=_SOURCE),
        Column(
            key="l1_unit",
            title="L1, as trained",
            unit="of the range -1..1",
            better="lower",
            decimals=4,
            source=_SOURCE,
        ),
        # Of the error over all images: the mean of each image's PSNR would be infinite as soon as one empty image
        # is met exactly.
        Column(key="psnr", title="PSNR", unit="dB, peak 255", better="higher", decimals=2, source=_SOURCE),
    ),
    function=_pixel_error,
)
