"""KID-EffLite0: do the images as a set look like the real ones, in the eyes of EfficientNet-Lite0?

The kernel distance of Binkowski et al. 2018 on other features than theirs (Inception is a download), so its figures
stand beside each other and beside the floor printed with them, never beside a published KID.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Figure, ImageSets, Measure
from cgan_trainer.nets.efficientnet_lite import INSTALL
from cgan_trainer.seeding import derive_seed

__all__ = ["KID", "MIN_IMAGES", "kernel", "kid", "kid_note", "unbiased_mmd2"]

MIN_IMAGES = 4
_SPLITS, _MAX_HALF = 100, 1000  # the number and size of subsets in the paper


def kernel(x: Float[Tensor, "m d"], y: Float[Tensor, "n d"]) -> Float64[Tensor, "m n"]:
    """(x.y / d + 1)^3. Source: Binkowski et al. 2018, equation 3."""
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def unbiased_mmd2(
    k_xx: Float64[Tensor, "m m"], k_yy: Float64[Tensor, "n n"], k_xy: Float64[Tensor, "m n"]
) -> Float64[Tensor, ""]:
    """Squared maximum mean discrepancy without bias; may be negative. Source: Gretton et al. 2012, equation 3."""
    m, n = k_xy.shape
    within_x = (k_xx.sum() - k_xx.trace()) / (m * (m - 1))
    within_y = (k_yy.sum() - k_yy.trace()) / (n * (n - 1))
    return within_x + within_y - 2 * k_xy.mean()


def kid(found: Float[Tensor, "n d"], true: Float[Tensor, "m d"]) -> tuple[float, float]:
    """Mean and standard deviation over 100 random draws of a half of each set.

    Sets of equal size are split alike, and the images of one half compared with the real ones of the other: an
    image and its target come from one condition and are not independent, which the estimator needs. With `found`
    equal to `true` the same splits give the floor, 0 on average.
    """
    half = min(len(found) // 2, len(true) // 2, _MAX_HALF)
    k_xx, k_yy, k_xy = kernel(found, found), kernel(true, true), kernel(found, true)
    values = []
    for number in range(_SPLITS):
        mine, other = _order(len(found), number)[:half], _order(len(true), number)[half : 2 * half]
        values.append(unbiased_mmd2(k_xx[mine][:, mine], k_yy[other][:, other], k_xy[mine][:, other]))
    drawn = torch.stack(values)
    return drawn.mean().item(), drawn.std(correction=1).item()


def kid_note(count: int, *, installed: bool) -> str:
    """What a reader must know of the figure, or why it is absent.

    Args:
        count: images judged.
        installed: whether the weights of the feature net are.
    """
    if not installed:
        return f"KID-EffLite0: not measured, for its weights are not installed: {INSTALL}."
    if count < MIN_IMAGES:
        return f"KID-EffLite0: not measured, for it needs {MIN_IMAGES} images or more."
    return (
        "KID-EffLite0: not comparable with a published KID; `truth` is the distance between two halves of "
        "the real images, the floor."
    )


def _order(count: int, number: int) -> Int64[Tensor, " n"]:
    """Row numbers in random order, the same for sets of equal size: no image then meets its own target."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(derive_seed(0, "kid", number)))


def _measure(compared: ImageSets) -> tuple[Figure, ...] | None:
    if compared.embed is None or min(len(compared.images), len(compared.targets)) < MIN_IMAGES:
        return None
    mean, deviation = kid(compared.embed(compared.images), compared.embed(compared.targets))
    return (Figure(value=mean * 1000, spread=deviation * 1000),)


_SOURCE = "Binkowski et al. 2018 (kernel and estimator) on EfficientNet-Lite0 features: not a published KID"

KID = Measure(
    columns=(
        Column(
            key="kid_efflite0",
            title="KID-EffLite0",
            unit="x 1000",
            better="lower",
            decimals=2,
            source=_SOURCE,
        ),
    ),
    function=_measure,
)
