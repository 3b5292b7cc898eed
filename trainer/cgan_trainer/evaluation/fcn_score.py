"""The FCN-score: can a net that knows the real photographs read the intended labels off the generated ones?

One confusion matrix over all pixels of all images (Long et al. 2015, section 5). Photographs are read by a
segmenter (`segmenter.py`); label maps, of the other direction, by the nearest colour of the palette.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Figure, ImageSets, Measure

__all__ = ["FCN_SCORE", "confusion_matrix", "scores"]


def confusion_matrix(
    true: Int64[Tensor, "*n"], found: Int64[Tensor, "*n"], count: int
) -> Int64[Tensor, "{count} {count}"]:
    """Entry (i, j): how many pixels of class i were taken for class j."""
    return torch.bincount((true * count + found).flatten(), minlength=count * count).reshape(count, count)


def scores(matrix: Int64[Tensor, "k k"]) -> tuple[float, float, float]:
    """Per-pixel accuracy, per-class accuracy, class IoU, each 0..1.

    A class that no pixel truly has is left out of the accuracies; one that is neither there nor found, out of the
    IoU: what Long et al. and Cityscapes (Cordts et al. 2016) do.
    """
    counts = matrix.double()
    right, true, found = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
    accuracies = right / true  # 0/0 where a class is absent: not a number, and left out of the mean
    ious = right / (true + found - right)
    return (right.sum() / counts.sum()).item(), accuracies.nanmean().item(), ious.nanmean().item()


def _measure(compared: ImageSets) -> tuple[Figure, ...] | None:
    labels = compared.labels
    if labels is None:
        return None
    matrix = confusion_matrix(labels.true, labels.classify(compared.images), labels.count)
    return tuple(Figure(value=value) for value in scores(matrix))


_SOURCE = "Isola et al. 2017, section 4.2; scores of Long et al. 2015, from one confusion matrix"

FCN_SCORE = Measure(
    columns=tuple(
        Column(key=f"fcn_{key}", title=f"FCN {title}", unit=unit, better="higher", decimals=3, source=_SOURCE)
        for key, title, unit in (
            ("pixel", "pixel", "per-pixel accuracy"),
            ("class", "class", "per-class accuracy"),
            ("iou", "IoU", "class IoU"),
        )
    ),
    function=_measure,
)
