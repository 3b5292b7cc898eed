"""What a measure is given, and what it gives back.

n pictures, m of them drawn with k seeds, c channels (1 or 3), h x w pixels: 8 bits, as a user gets them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

__all__ = ["Column", "Compared", "Figure", "Labels", "Measure", "as_rgb"]

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The true class of every pixel, and how the classes of a picture are found.

    Attributes:
        true: classes of the truth, at the size at which `classify` answers.
        count: how many classes there are.
        classify: pictures to classes: a segmenter, or the nearest colour of the palette.
    """

    true: Int64[Tensor, "n h w"]
    count: int
    classify: Callable[[UInt8[Tensor, "n c h w"]], Int64[Tensor, "n h w"]]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Pictures beside their targets, and what some measures need besides.

    Attributes:
        pictures: what is judged, 0..255.
        targets: what it should be.
        samples: some conditions drawn with several seeds each; None where there is no seed.
        labels: None where the data set has no labels.
        embed: pictures to feature vectors; None where the feature net is not installed.
    """

    pictures: UInt8[Tensor, "n c h w"]
    targets: UInt8[Tensor, "n c h w"]
    samples: UInt8[Tensor, "m k c h w"] | None = None
    labels: Labels | None = None
    embed: Callable[[UInt8[Tensor, "n c h w"]], Float[Tensor, "n d"]] | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number; for some measures with its spread (one standard deviation) or its value per picture."""

    value: float
    spread: float | None = None
    each: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Column:
    """How a figure is named, read and printed."""

    key: str
    title: str
    unit: str
    better: Better
    decimals: int


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Figures that are computed together, one for each column.

    Attributes:
        columns: what the figures are.
        source: the paper or formula.
        function: None as its result says that what the measure needs is absent.
    """

    columns: tuple[Column, ...]
    source: str
    function: Callable[[Compared], tuple[Figure, ...] | None]


def as_rgb(pictures: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n 3 h w"]:
    """Grey pictures as three equal channels; others as they are."""
    return pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
