"""Cycle error: what is lost when an image is translated and translated back (Zhu et al. 2017, section 3.2).

Both steps are taken as a user takes them, through 8 bits. A small error is no proof: networks hide the input in the
translation as faint noise (Chu et al. 2017), and two that change nothing have none.
"""

from __future__ import annotations

from cgan_trainer.evaluation.base import Column, Figure, Measure, as_rgb
from cgan_trainer.evaluation.fcn_score import confusion_matrix, scores
from cgan_trainer.evaluation.translated import Translated, grey_levels

__all__ = ["CYCLE", "CYCLE_LABELS"]


def _cycle(translated: Translated) -> tuple[Figure, ...] | None:
    if translated.cycled is None:
        return None
    each = grey_levels(translated.cycled, translated.inputs)
    return (Figure(value=each.mean().item(), each=tuple(each.tolist())),)


def _labels(translated: Translated) -> tuple[Figure, ...] | None:
    palette = translated.palette
    if translated.cycled is None or palette is None:
        return None
    true, found = (palette.classes(as_rgb(images)) for images in (translated.inputs, translated.cycled))
    pixel, _, iou = scores(confusion_matrix(true, found, len(palette)))
    return Figure(value=pixel), Figure(value=iou)


CYCLE = Measure(
    columns=(
        Column(
            key="cycle",
            title="cycle error",
            unit="grey levels, 0..255",
            better="lower",
            decimals=2,
            source="Zhu et al. 2017, equation 2, between 8-bit images: mean |F(G(x)) - x|",
        ),
    ),
    function=_cycle,
)
CYCLE_LABELS = Measure(
    columns=tuple(
        Column(
            key=f"cycle_{key}",
            title=f"labels kept, {title}",
            unit=unit,
            better="higher",
            decimals=3,
            source="scores of Long et al. 2015 between the classes of label maps and those of their round trip",
        )
        for key, title, unit in (("pixel", "pixel", "per-pixel accuracy"), ("iou", "IoU", "class IoU"))
    ),
    function=_labels,
)
