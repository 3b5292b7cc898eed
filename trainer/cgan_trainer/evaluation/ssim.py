"""SSIM: how alike the local means, contrasts and patterns are (Wang et al. 2004)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float64, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Compared, Figure, Measure

__all__ = ["SSIM", "ssim"]

_SIDE, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(image: UInt8[Tensor, "c h w"], target: UInt8[Tensor, "c h w"]) -> float:
    """Mean over channels and over every position where the whole window fits; 1 for equal images.

    Source: Wang, Bovik, Sheikh, Simoncelli 2004, equation 13, with the window and constants of its section III-C
    (11 x 11 Gaussian of sigma 1.5, K1 0.01, K2 0.03, range 255).
    """
    x, y = image.double()[:, None], target.double()[:, None]
    mean_x, mean_y = _blurred(x), _blurred(y)
    # In float64 the differences of large squares below lose nothing that matters.
    variance_x = _blurred(x * x) - mean_x**2
    variance_y = _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    likeness = ((2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)) / (
        (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    )
    return likeness.mean().item()


def _blurred(values: Float64[Tensor, "c 1 h w"]) -> Float64[Tensor, "c 1 _ _"]:
    offsets = torch.arange(_SIDE, dtype=torch.float64) - _SIDE // 2
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    return F.conv2d(F.conv2d(values, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))


def _measure(compared: Compared) -> tuple[Figure, ...]:
    each = tuple(ssim(x, y) for x, y in zip(compared.images, compared.targets, strict=True))
    return (Figure(value=math.fsum(each) / len(each), each=each),)


_SOURCE = "Wang et al. 2004: Gaussian window 11x11, sigma 1.5, K1 0.01, K2 0.03, range 255, mean over R, G and B"

SSIM = Measure(
    columns=(Column(key="ssim", title="SSIM", unit="-1..1", better="higher", decimals=3, source=_SOURCE),),
    function=_measure,
)
