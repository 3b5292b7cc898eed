"""Which side of a dataset is a label map, and what reads the classes off an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Int64, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Labels, as_rgb
from cgan_trainer.evaluation.segmenter import shrink_classes, trained_segmenter
from cgan_trainer.palette import Palette

__all__ = ["Palettes", "TrainingPairs", "find_labels"]


@runtime_checkable
class Palettes(Protocol):
    """Facts of a dataset that say which side is a label map; None: it is not one."""

    @property
    def source_palette(self) -> Palette | None:
        """The palette of the side that is given to a generator."""

    @property
    def target_palette(self) -> Palette | None:
        """The palette of the side that is generated."""


@dataclass(frozen=True, kw_only=True)
class TrainingPairs:
    """What a segmenter learns from.

    Attributes:
        conditions: label maps.
        targets: the photographs that belong to them.
        digest: of both.
    """

    conditions: UInt8[Tensor, "n c h w"]
    targets: UInt8[Tensor, "n c2 h w"]
    digest: str


def find_labels(
    *,
    source: Palette | None,
    target: Palette | None,
    conditions: UInt8[Tensor, "n c h w"],
    targets: UInt8[Tensor, "n c2 h w"],
    train: TrainingPairs | None,
    cache: Path,
) -> tuple[Labels | None, str]:
    """The labels of a set of pairs, or None; and one sentence on where they come from or why they are absent.

    Args:
        source: the palette of the conditions.
        target: that of the targets.
        conditions: of the pairs that are judged.
        targets: the same.
        train: what a segmenter learns from; None: there is nothing.
        cache: where segmenters are kept.
    """
    if target is not None:  # photograph -> labels: an image is read by the nearest colour

        def nearest(images: UInt8[Tensor, "n c h w"]) -> Int64[Tensor, "n h w"]:
            return target.classes(as_rgb(images))

        labels = Labels(true=nearest(targets), count=len(target), classify=nearest)
        return labels, f"FCN-score: {len(target)} classes by the nearest palette colour, no segmenter."
    if source is None:
        return None, "FCN-score: not measured, for dataset.json names no palette: neither side is a label map."
    if train is None:
        return None, "FCN-score: not measured, for there are no training images to train the segmenter on."
    segmenter = trained_segmenter(
        train.targets,
        source.classes(as_rgb(train.conditions)),
        len(source),
        f"{train.digest}/{source.colors}",
        cache,
    )
    labels = Labels(
        true=shrink_classes(source.classes(as_rgb(conditions))), count=len(source), classify=segmenter.classify
    )
    return labels, (
        f"FCN-score: {len(source)} classes read by a small net trained here on {len(train.targets)} real "
        f"photographs, at {labels.true.shape[-1]} px; `truth` is its score on real ones, the ceiling."
    )
