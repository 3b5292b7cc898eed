"""FD-classifier: how far generated images lie from real ones, in the eyes of a classifier trained here.

The Frechet distance of Heusel et al. 2017 (FID) on other features than theirs: those of a small net trained on the
user's own images. Its scale is that of the net: it stands beside the floor printed with it, never beside an FID.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from cgan_trainer.evaluation.base import Column, Figure, Measure
from cgan_trainer.evaluation.by_class import ByClass, rows_of
from cgan_trainer.seeding import derive_seed

__all__ = ["FRECHET", "frechet_of_features", "frechet_of_gaussians"]

_SPLITS = 10


def frechet_of_gaussians(
    mean_x: Float64[Tensor, " d"],
    cov_x: Float64[Tensor, "d d"],
    mean_y: Float64[Tensor, " d"],
    cov_y: Float64[Tensor, "d d"],
) -> float:
    """|m - n|^2 + Tr(S + T - 2 (S T)^1/2). Source: Dowson & Landau 1982; Heusel et al. 2017, section 3.

    The trace of (S T)^1/2 is that of (R T R)^1/2 with R = S^1/2, which is symmetric: its eigenvalues are real, and
    no matrix square root of S T is needed.
    """
    root = _root(cov_x)
    mixed = torch.linalg.eigvalsh(root @ cov_y @ root).clamp(min=0).sqrt().sum()
    distance = (mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2 * mixed
    return float(distance)


def frechet_of_features(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The Frechet distance between two sets of features, each described by its mean and covariance (over n - 1).

    Each set needs at least two rows.
    """
    x, y = x.double(), y.double()
    return frechet_of_gaussians(x.mean(dim=0), _covariance(x), y.mean(dim=0), _covariance(y))


def _covariance(x: Float64[Tensor, "n d"]) -> Float64[Tensor, "d d"]:
    centred = x - x.mean(dim=0)
    return centred.T @ centred / (len(x) - 1)


def _root(matrix: Float64[Tensor, "d d"]) -> Float64[Tensor, "d d"]:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T  # rounding makes some a little negative
    return root


def _measure(judged: ByClass) -> tuple[Figure, ...] | None:
    """Mean and deviation over ten random draws of a half of each set, equally many images of each class.

    The distance of two samples of one distribution is above 0, the more so the fewer they are: figure and floor
    are therefore taken over equally many images (`ByClass.per_class`). A set compared with itself is split into two
    halves.
    """
    if judged.reading is None or judged.real is None:
        return None
    mine, true = rows_of(judged.labels), rows_of(judged.real_labels)
    shared = sorted(mine.keys() & true.keys())
    fewest = min((min(len(mine[label]), len(true[label])) for label in shared), default=0)
    half = min(fewest, judged.per_class) // 2
    if half * len(shared) < 2:
        return None
    values = []
    for number in range(_SPLITS):
        first = torch.cat([_order(mine[label], label, number)[:half] for label in shared])
        second = torch.cat([_order(true[label], label, number)[half : 2 * half] for label in shared])
        values.append(frechet_of_features(judged.reading.features[first], judged.real.features[second]))
    drawn = torch.tensor(values, dtype=torch.float64)
    return (Figure(value=drawn.mean().item(), spread=drawn.std(correction=1).item()),)


def _order(rows: Int64[Tensor, " n"], label: int, number: int) -> Int64[Tensor, " n"]:
    """The rows of a class in a random order, the same for both sets where they have equally many.

    So a set that is compared with itself is split into two halves without a common image.
    """
    draws = torch.Generator().manual_seed(derive_seed(0, f"frechet/{label}", number))
    return rows[torch.randperm(len(rows), generator=draws)]


FRECHET = Measure(
    columns=(
        Column(
            key="fd_classifier",
            title="FD-classifier",
            unit="squared features",
            better="lower",
            decimals=2,
            source="Heusel et al. 2017 (distance) on features of a classifier trained here: not a published FID",
        ),
    ),
    function=_measure,
)
