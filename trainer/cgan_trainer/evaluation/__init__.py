"""One file per measure; a new one is one file and one line in the table."""

from __future__ import annotations

from cgan_trainer.evaluation.base import Column, Compared, Figure, Labels, Measure
from cgan_trainer.evaluation.diversity import DIVERSITY
from cgan_trainer.evaluation.fcn_score import FCN_SCORE
from cgan_trainer.evaluation.kid import KID
from cgan_trainer.evaluation.lab import LAB_INTERSECTION
from cgan_trainer.evaluation.pixel_error import PIXEL_ERROR
from cgan_trainer.evaluation.ssim import SSIM

__all__ = ["COLUMNS", "MEASURES", "Column", "Compared", "Figure", "Labels", "Measure", "measure_pictures"]

MEASURES: tuple[Measure, ...] = (PIXEL_ERROR, SSIM, LAB_INTERSECTION, FCN_SCORE, KID, DIVERSITY)
COLUMNS: dict[str, Column] = {column.key: column for measure in MEASURES for column in measure.columns}


def measure_pictures(compared: Compared) -> dict[str, Figure]:
    """Every figure that can be measured, by the key of its column; what lacks its means is left out.

    Raises:
        ValueError: pictures and targets differ in shape, or there are none.
    """
    if compared.pictures.shape != compared.targets.shape or len(compared.pictures) == 0:
        raise ValueError(
            f"pictures {tuple(compared.pictures.shape)} and targets {tuple(compared.targets.shape)} must have the "
            "same shape, with at least one picture."
        )
    figures: dict[str, Figure] = {}
    for measure in MEASURES:
        found = measure.function(compared)
        if found is not None:
            figures.update(zip((column.key for column in measure.columns), found, strict=True))
    return figures
