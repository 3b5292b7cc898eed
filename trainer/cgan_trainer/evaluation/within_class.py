"""Diversity within a class: do its images differ, as real ones do? The row of the truth says by how much."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Figure, Measure
from cgan_trainer.evaluation.by_class import ByClass, rows_of
from cgan_trainer.seeding import spread_rows

__all__ = ["CLASS_DIVERSITY", "feature_distance", "pixel_deviation"]

_MOST = 1000  # images of a class: the pairs grow with their square


def pixel_deviation(images: UInt8[Tensor, "n c h w"]) -> float:
    """Per pixel the standard deviation over the images (n - 1), mean over pixels and channels, in grey levels."""
    return images.double().std(dim=0, correction=1).mean().item()


def feature_distance(features: Float[Tensor, "n d"]) -> float:
    """Mean Euclidean distance between two different rows."""
    return torch.pdist(features.double()).mean().item()


def _measure(judged: ByClass) -> tuple[Figure, ...] | None:
    classes = [rows[spread_rows(len(rows), _MOST)] for rows in rows_of(judged.labels).values() if len(rows) > 1]
    if not classes or judged.reading is None:
        return None
    deviations = [pixel_deviation(judged.images[rows]) for rows in classes]
    distances = [feature_distance(judged.reading.features[rows]) for rows in classes]
    return tuple(Figure(value=math.fsum(values) / len(values)) for values in (deviations, distances))


_SOURCE = (
    "mean over classes of: per pixel the standard deviation over the images; the distance between two images in "
    "the features of the classifier"
)

CLASS_DIVERSITY = Measure(
    columns=(
        Column(
            key="class_std",
            title="within class, std",
            unit="grey levels",
            better="neither",
            decimals=2,
            source=_SOURCE,
        ),
        Column(
            key="class_distance",
            title="within class, features",
            unit="feature units",
            better="neither",
            decimals=2,
            source=_SOURCE,
        ),
    ),
    function=_measure,
)
