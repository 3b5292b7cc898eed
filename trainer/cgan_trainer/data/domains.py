"""What the two sides of a dataset show, and the classes of a side that is a label map."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from cgan_runtime.errors import BadInputError
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.description import read_description
from cgan_trainer.palette import Palette

__all__ = ["MAX_DERIVED", "Domains", "palette_of", "read_domains"]

MAX_DERIVED = 64  # classes; more colours than this are a photograph, or labels blurred by JPEG


@dataclass(frozen=True, kw_only=True)
class Domains:
    """What A and B show, for the contract's `meaning`; the dataset's name; the classes of label maps, if told."""

    name: str
    a: str = "A"
    b: str = "B"
    palette_a: Palette | None = None
    palette_b: Palette | None = None


def read_domains(root: Path) -> Domains:
    """From the folder's `dataset.json` (for a list: the one beside it), else A and B.

    Palettes are under its key `palettes`: `{"A": {"names": ["sea", ...], "colors": [[0, 0, 255], ...]}}`.

    Raises:
        BadInputError: the file cannot be read, or does not say what it should.
    """
    told = read_description(root)
    return Domains(
        name=told.name,
        a=told.domains.get("A", "A"),
        b=told.domains.get("B", "B"),
        palette_a=told.palettes.get("A"),
        palette_b=told.palettes.get("B"),
    )


def palette_of(pixels: UInt8[Tensor, "n 3 h w"], side: Literal["A", "B"]) -> Palette:
    """The colours of a label map, the commonest first (of equals the darkest), each named by its hex value.

    Raises:
        BadInputError: more than 64 colours.
    """
    counts: Counter[int] = Counter()
    for image in pixels:
        red, green, blue = image.to(torch.int32)
        colors, times = torch.unique(red << 16 | green << 8 | blue, return_counts=True)
        counts.update(dict(zip(colors.tolist(), times.tolist(), strict=True)))
        if len(counts) > MAX_DERIVED:
            raise BadInputError(
                f"side {side} has {len(counts)} colours or more: not a label map (JPEG? antialiased?); at most "
                f'{MAX_DERIVED} exact colours are needed, or the classes under "palettes" in dataset.json.'
            )
    ordered = sorted(counts, key=lambda color: (-counts[color], color))
    return Palette(
        names=tuple(f"#{color:06x}" for color in ordered),
        colors=tuple((color >> 16, color >> 8 & 255, color & 255) for color in ordered),
    )
