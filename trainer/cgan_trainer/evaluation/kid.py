"""KID-EffLite0: do the pictures as a set look like the real ones, in the eyes of EfficientNet-Lite0?

The kernel distance of Binkowski et al. 2018 on other features than theirs (Inception is a download), so its figures
stand beside each other and beside the floor printed with them, never beside a published KID.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Compared, Figure, Measure
from cgan_trainer.seeding import derive_seed

__all__ = ["KID", "MIN_PICTURES", "kernel", "kid", "unbiased_mmd2"]

MIN_PICTURES = 4
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


def kid(found: Float[Tensor, "n d"], true: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Mean and standard deviation over 100 random splits of the rows into two halves.

    A picture and its target come from one condition and are not independent, which the estimator needs: so each
    split compares the pictures of one half with the targets of the other. With `found` equal to `true` the same
    splits give the floor, 0 on average.
    """
    count = len(found)
    half = min(count // 2, _MAX_HALF)
    k_xx, k_yy, k_xy = kernel(found, found), kernel(true, true), kernel(found, true)
    values = []
    for number in range(_SPLITS):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(derive_seed(0, "kid", number)))
        mine, other = order[:half], order[half : 2 * half]
        values.append(unbiased_mmd2(k_xx[mine][:, mine], k_yy[other][:, other], k_xy[mine][:, other]))
    drawn = torch.stack(values)
    return drawn.mean().item(), drawn.std(correction=1).item()


def _measure(compared: Compared) -> tuple[Figure, ...] | None:
    if compared.embed is None or len(compared.pictures) < MIN_PICTURES:
        return None
    mean, deviation = kid(compared.embed(compared.pictures), compared.embed(compared.targets))
    return (Figure(value=mean * 1000, spread=deviation * 1000),)


KID = Measure(
    columns=(Column(key="kid_efflite0", title="KID-EffLite0", unit="x 1000", better="lower", decimals=2),),
    source="Binkowski et al. 2018 (kernel and estimator) on EfficientNet-Lite0 features: not a published KID",
    function=_measure,
)
