"""Accuracy: how many images a classifier, trained on real ones, reads as the class they were asked for."""

from __future__ import annotations

import math

from cgan_trainer.evaluation.base import Column, Figure, Measure
from cgan_trainer.evaluation.by_class import ByClass, rows_of

__all__ = ["ACCURACY"]


def _accuracy(judged: ByClass) -> tuple[Figure, ...] | None:
    if judged.reading is None:
        return None
    right = (judged.reading.found == judged.labels).double()
    worst = min(right[rows].mean().item() for rows in rows_of(judged.labels).values())
    each = tuple(right.tolist())
    return Figure(value=math.fsum(each) / len(each), each=each), Figure(value=worst)


_SOURCE = "share of images whose class, by a classifier trained on the real training images, is the one asked for"

ACCURACY = Measure(
    columns=(
        Column(
            key="accuracy",
            title="accuracy",
            unit="share of all images",
            better="higher",
            decimals=3,
            source=_SOURCE,
        ),
        Column(
            key="accuracy_worst",
            title="accuracy, worst class",
            unit="share of its images",
            better="higher",
            decimals=3,
            source=_SOURCE,
        ),
    ),
    function=_accuracy,
)
