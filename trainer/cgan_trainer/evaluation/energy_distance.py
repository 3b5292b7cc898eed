"""The energy distance of two sets of images: 0 only where both come from one distribution.

    2 E|x - y| - E|x - x'| - E|y - y'|

with |.| the root mean square difference over the pixels. It falls as images come nearer to the real ones, and
rises where they are all alike: a generator that always draws the mean image of a class does not get 0.

Source: Szekely & Rizzo, Energy statistics: a class of statistics based on distances, 2013, equation 1.1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["energy_distance"]


def energy_distance(x: Float[Tensor, "m c h w"], y: Float[Tensor, "n c h w"]) -> float:
    """The distance, without bias: two sets of one distribution give 0 on average, and at times less.

    Args:
        x: images, at least one. Of a single image the spread is taken as 0.
        y: images of the same size, at least one.

    Returns:
        In units of the images' values: at most twice the width of their range.
    """
    a, b = x.flatten(1).double(), y.flatten(1).double()
    return (2 * _distances(a, b).mean() - _spread(a) - _spread(b)).item()


def _spread(a: Float[Tensor, "m p"]) -> Float[Tensor, ""]:
    """The mean distance of two different images of a set."""
    count = len(a)
    return _distances(a, a).sum() / (count * max(count - 1, 1))


def _distances(a: Float[Tensor, "m p"], b: Float[Tensor, "n p"]) -> Float[Tensor, "m n"]:
    # Differences, not |a|^2 + |b|^2 - 2 a b: an image has distance 0 from itself.
    distances: Tensor = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") / a.shape[1] ** 0.5
    return distances
