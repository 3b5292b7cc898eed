"""Which side of a data set is a label map, and who reads the classes off a picture."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.pairs import Pairs, read_domains
from cgan_trainer.evaluation.base import Labels, as_rgb
from cgan_trainer.evaluation.segmenter import shrink_classes, trained_segmenter
from cgan_trainer.palette import Palette

__all__ = ["find_labels", "read_palettes"]


def read_palettes(root: Path) -> dict[str, Palette]:
    """The palettes in `dataset.json` by side ("A", "B"); none where the file or the key is absent.

    Raises:
        BadInputError: the file cannot be read, or what it says is no palette.
    """
    domains = read_domains(root)
    palettes = {"A": domains.palette_a, "B": domains.palette_b}
    return {side: palette for side, palette in palettes.items() if palette is not None}


def find_labels(
    palettes: dict[str, Palette],
    *,
    source: str,
    target: str,
    conditions: UInt8[Tensor, "n 3 h w"],
    targets: UInt8[Tensor, "n 3 h w"],
    train: Pairs | None,
    cache: Path,
) -> tuple[Labels | None, str]:
    """The labels of a test set, or None; and one sentence on where they come from or why they are absent.

    Args:
        palettes: of the sides that are label maps.
        source: the side of the conditions, "A" or "B".
        target: the other side.
        conditions: of the test set, as RGB.
        targets: the same.
        train: what a segmenter learns from.
        cache: where segmenters are kept.
    """
    if target in palettes:  # photo -> labels: a picture is read by the nearest colour
        palette = palettes[target]

        def nearest(pictures: UInt8[Tensor, "n c h w"]) -> Tensor:
            return palette.classes(as_rgb(pictures))

        labels = Labels(true=palette.classes(targets), count=len(palette), classify=nearest)
        return labels, f"FCN-score: {len(palette)} classes by the nearest palette colour, no segmenter."
    if source not in palettes:
        return None, "FCN-score: not measured, for dataset.json names no palette: neither side is a label map."
    if train is None:
        return None, "FCN-score: not measured, for there are no training pictures to train the segmenter on."
    palette = palettes[source]
    drawn, photos = (train.a, train.b) if source == "A" else (train.b, train.a)
    segmenter = trained_segmenter(
        photos, palette.classes(drawn), len(palette), f"{train.sha256}/{source}/{palette.colors}", cache
    )
    labels = Labels(
        true=shrink_classes(palette.classes(conditions)), count=len(palette), classify=segmenter.classify
    )
    return labels, (
        f"FCN-score: {len(palette)} classes read by a small net trained here on {len(train)} real photographs, at "
        f"{labels.true.shape[-1]} px; the row `truth` is its score on real ones, the ceiling."
    )
