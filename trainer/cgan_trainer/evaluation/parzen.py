"""Parzen log-likelihood: how probable real images are under Gaussians set on the generated ones.

What Mirza & Osindero 2014 and Goodfellow et al. 2014 report, after Breuleux et al. 2011. It says little of image
quality (Theis et al. 2016): it is here because the paper's table has nothing else.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Figure, Measure
from cgan_trainer.evaluation.by_class import ByClass

__all__ = ["PARZEN", "SIGMAS", "log_likelihoods"]

SIGMAS = tuple(10 ** (step / 9 - 1) for step in range(10))  # ten widths from 0.1 to 1, in equal ratios
_ROWS = 256  # at a time: all distances at once would fill memory


def log_likelihoods(
    points: Float64[Tensor, "n d"], centres: Float64[Tensor, "k d"], sigma: float
) -> Float64[Tensor, " n"]:
    """In nats: log of the mean over the centres c of N(x; c, sigma^2 I), for each point x.

    Source: Goodfellow et al. 2014, section 5; Breuleux et al. 2011, section 2.
    """
    return _likelihoods(_squares(points, centres), centres.shape[1], sigma)


def _squares(points: Float64[Tensor, "n d"], centres: Float64[Tensor, "k d"]) -> Float64[Tensor, "n k"]:
    """Squared distances between every point and every centre."""
    parts = []
    for start in range(0, len(points), _ROWS):
        part = points[start : start + _ROWS]
        inner = part @ centres.T
        parts.append((part.square().sum(dim=1)[:, None] + centres.square().sum(dim=1) - 2 * inner).clamp(min=0))
    return torch.cat(parts)


def _likelihoods(squares: Float64[Tensor, "n k"], dimensions: int, sigma: float) -> Float64[Tensor, " n"]:
    count = squares.shape[1]
    constant = math.log(count) + dimensions / 2 * math.log(2 * math.pi * sigma**2)
    return torch.logsumexp(squares / (-2 * sigma**2), dim=1) - constant


def _measure(judged: ByClass) -> tuple[Figure, ...] | None:
    density = judged.density
    if density is None:
        return None
    centres = _unit(density.centres)
    validation = _squares(_unit(density.validation), centres)
    means = [_likelihoods(validation, centres.shape[1], sigma).mean().item() for sigma in SIGMAS]
    sigma = SIGMAS[max(range(len(SIGMAS)), key=means.__getitem__)]
    found = log_likelihoods(_unit(density.test), centres, sigma)
    error = found.std(correction=1).item() / math.sqrt(len(found))
    return Figure(value=found.mean().item(), spread=error), Figure(value=sigma)


def _unit(images: UInt8[Tensor, "n c h w"]) -> Float64[Tensor, "n d"]:
    return images.flatten(1).double() / 255


_SOURCE = (
    "Breuleux et al. 2011; Goodfellow et al. 2014: Gaussians on generated images of pixels 0..1, their width the "
    "best of ten from 0.1 to 1 on a part of the real images, the mean log-likelihood of the others, with its "
    "standard error"
)

PARZEN = Measure(
    columns=(
        Column(
            key="parzen",
            title="Parzen",
            unit="nats, ± standard error",
            better="higher",
            decimals=1,
            source=_SOURCE,
        ),
        Column(
            key="parzen_sigma",
            title="Parzen sigma",
            unit="of pixels 0..1",
            better="neither",
            decimals=3,
            source=_SOURCE,
        ),
    ),
    function=_measure,
)
