"""Diversity: how much an image changes with the seed. Not a quality in itself: noise is diverse too."""

from __future__ import annotations

import math
from itertools import combinations

from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Figure, ImageSets, Measure

__all__ = ["DIVERSITY"]


def _diversity(compared: ImageSets) -> tuple[Figure, ...] | None:
    samples = compared.samples
    if samples is None or samples.shape[1] < 2:
        return None
    deviations = [_deviation(drawn) for drawn in samples]
    distances = [_distance(drawn) for drawn in samples]
    return (
        Figure(value=math.fsum(deviations) / len(deviations), each=tuple(deviations)),
        Figure(value=math.fsum(distances) / len(distances), each=tuple(distances)),
    )


def _deviation(drawn: UInt8[Tensor, "k c h w"]) -> float:
    # Over k - 1: the square does not then depend, on average, on how many seeds were drawn.
    return drawn.double().std(dim=0, correction=1).mean().item()


def _distance(drawn: UInt8[Tensor, "k c h w"]) -> float:
    pairs = [(one.double() - other.double()).abs().mean().item() for one, other in combinations(drawn, 2)]
    return math.fsum(pairs) / len(pairs)


_SOURCE = "per pixel, the standard deviation over seeds; and the mean L1 between the images of two seeds"

DIVERSITY = Measure(
    columns=tuple(
        Column(key=key, title=title, unit="grey levels", better="neither", decimals=2, source=_SOURCE)
        for key, title in (("seed_std", "seeds, std"), ("seed_l1", "seeds, L1"))
    ),
    function=_diversity,
)
