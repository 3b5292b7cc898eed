"""The images of unpaired translation that show what the figures mean: input, translated, translated back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from cgan_trainer.evaluation.gallery import with_both_ends
from cgan_trainer.evaluation.judge import Exhibit, Gallery
from cgan_trainer.evaluation.translated import Translated, grey_levels

__all__ = ["unpaired_gallery"]

_SHOWN = 6  # of each way


def unpaired_gallery(ways: Mapping[str, Translated], files: Mapping[str, Sequence[str]]) -> Gallery:
    """Some images of each way, from the largest cycle error to the smallest, both included.

    Args:
        ways: what was translated, by the name of the graph. Where one has no way back, images are evenly spread.
        files: names of the inputs.
    """
    exhibits = []
    cyclic = all(translated.cycled is not None for translated in ways.values())
    for name, translated in ways.items():
        cycled = translated.cycled if cyclic else None
        errors = torch.zeros(len(translated.inputs)) if cycled is None else grey_levels(cycled, translated.inputs)
        ranked = errors.argsort(descending=True, stable=True).tolist()
        for place in with_both_ends(len(ranked), _SHOWN):
            index = ranked[place]
            caption, images = [name], [translated.inputs[index], translated.images[index]]
            if cycled is not None:
                caption.append(f"cycle error {errors[index]:.2f}")
                images.append(cycled[index])
            exhibits.append(Exhibit(caption=tuple(caption), images=tuple(images), file=files[name][index]))
    return Gallery(
        headings=("input", "translated", *(["translated back"] if cyclic else [])),
        exhibits=tuple(exhibits),
        legend=f"Up to {_SHOWN} judged images of each way, "
        f"{'from the largest cycle error to the smallest' if cyclic else 'evenly spread'}.",
    )
